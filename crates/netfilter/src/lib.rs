//! Packet filters of the Linux kernel: nf_tables ([`nft`]) and connection tracking
//! ([`conntrack`]) over netlink, [firewalld] over D-Bus, and [`iptables`] through its
//! commands, mostly one process per change. [`backend`] chooses between nftables and
//! iptables.
//!
//! Nothing here knows about containers or CNI.
//!
//! # nftables
//!
//! Tables and chains are constants, and changes are committed in a batch: all or none.
//! This adds masquerade rules in upstream's form, in place of those of an earlier call,
//! which are found by their comment:
//!
//! ```no_run
//! use std::net::IpAddr;
//! use netfilter::Error;
//! use netfilter::nft::{Batch, Chain, ChainType, Family, Hook, NatFlags, Nft, Prefix, Table};
//!
//! const TABLE: Table<'_> = Table::new(Family::Inet, "cni_plugins_masquerade")
//!     .with_comment("Masquerading for plugins from github.com/containernetworking/plugins");
//! const CHECKS: Chain<'_> = TABLE.chain("masq_checks").with_comment(
//!     "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet",
//! );
//! const POSTROUTING: Chain<'_> =
//!     TABLE.base_chain("postrouting", ChainType::Nat, Hook::Postrouting, 100);
//!
//! fn masquerade(addresses: &[(IpAddr, u8)], instance: &str, comment: &str) -> Result<(), Error> {
//!     Nft::open()?.transaction(|nft| {
//!         let old = nft.find_rules(&CHECKS, |rule| {
//!             rule.comment.is_some_and(|text| text.starts_with(instance))
//!         })?;
//!         let mut batch = Batch::new();
//!         batch.add_table(&TABLE).add_chain(&CHECKS).add_chain(&POSTROUTING);
//!         batch.flush_chain(&POSTROUTING);
//!         for multicast in [Prefix::new([224, 0, 0, 0].into(), 4), Prefix::new([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8)] {
//!             batch.add_rule(&POSTROUTING.rule().daddr(multicast).return_());
//!         }
//!         batch.add_rule(&POSTROUTING.rule().goto("masq_checks"));
//!         for rule in &old {
//!             batch.delete_rule(&CHECKS, rule.handle);
//!         }
//!         for (address, len) in addresses {
//!             // ip saddr ADDRESS ip daddr != NETWORK/LEN masquerade comment "…"
//!             batch.add_rule(
//!                 &CHECKS
//!                     .rule()
//!                     .saddr(*address)
//!                     .not_daddr((*address, *len))
//!                     .masquerade(NatFlags::NONE)
//!                     .comment(comment),
//!             );
//!         }
//!         Ok(batch)
//!     })?;
//!     Ok(())
//! }
//! ```
//!
//! A port mapping, as a rule or as an element of a map that one rule looks up:
//!
//! ```
//! use netfilter::nft::{
//!     Batch, Chain, Element, Family, Field, Protocol, Set, Table, Type, Value,
//! };
//!
//! const TABLE: Table<'_> = Table::new(Family::Ip, "cni_hostport");
//! const HOSTPORTS: Chain<'_> = TABLE.chain("hostports");
//! const MAP: Set<'_> = TABLE.map(
//!     "mappings",
//!     &[Type::Protocol, Type::Port],
//!     &[Type::Ipv4Addr, Type::Port],
//! );
//! let to = ([10, 0, 0, 2], 80).into();
//! let mut batch = Batch::new();
//!
//! // tcp dport 8080 dnat to 10.0.0.2:80 comment "one"; because of echo() the commit
//! // returns the rule with its handle.
//! let rule = HOSTPORTS.rule().dport(Protocol::Tcp, 8080).dnat(to).comment("one");
//! batch.echo().add_rule(&rule);
//!
//! // dnat ip to meta l4proto . th dport map @mappings, with an element
//! // tcp . 8080 comment "one" : 10.0.0.2 . 80
//! batch.add_set(&MAP);
//! batch.add_rule(&HOSTPORTS.rule().dnat_map(&[Field::L4Proto, Field::Dport], &MAP));
//! let key = [Value::Protocol(Protocol::Tcp), Value::Port(8080)];
//! batch.add_elements(&MAP, [Element::new(&key).data(&Value::socket(to)).comment("one")]);
//! ```
//!
//! # iptables
//!
//! A [`Change`](iptables::Change) states how a table is afterwards, so applying it twice
//! is the same as applying it once:
//!
//! ```no_run
//! use netfilter::iptables::{Change, Family, Iptables, Rule, Table};
//!
//! # fn main() -> Result<(), netfilter::Error> {
//! let chain = "CNI-2bbe0c48b91a7d1b8a6753a8";
//! let rule = || Rule::new().comment("name: \"test\" id: \"1234\"");
//! let change = Change::new(Table::Nat)
//!     .own_chain(chain)
//!     .append(chain, rule().destination([10, 0, 0, 2].into(), 24).jump("ACCEPT"))
//!     .append(chain, rule().not_destination([224, 0, 0, 0].into(), 4).jump("MASQUERADE"))
//!     .append("POSTROUTING", rule().source([10, 0, 0, 2].into(), 32).jump(chain));
//! Iptables::find(Family::V4)?.apply(&change)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Fault injection
//!
//! With the feature `fault-injection`, each committed batch, each `iptables-restore`, each
//! deletion of connections and each change of firewalld is counted together with the
//! requests of `rtnl`: `RTNL_FAIL_AT=<n>` makes the n-th fail, `RTNL_KILL_AT=<n>` aborts
//! the process before it.
#![cfg(target_os = "linux")]

pub mod backend;
pub mod conntrack;
mod error;
pub mod firewalld;
pub mod iptables;
mod nfnetlink;
pub mod nft;
mod process;

pub use error::Error;
