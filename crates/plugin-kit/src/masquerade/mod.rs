//! IP masquerade: source NAT of packets from a container to other networks.
//!
//! Chains, tables, rules and comments are those of upstream, so that each implementation finds the rules of the other.
//! DEL looks in both backends, since the configuration may have changed since ADD.

mod config;
mod iptables;
mod nftables;

use crate::FilterRecord;
use crate::failures::Failures;
use crate::{Container, Undo, ipv6, names, status};
use anyhow::Context;
use cni_core::confine::Needs;
use cni_core::quote::quote;
use cni_core::{Call, Cidr, Code, Command, Error, IpConfig};
use config::Options;
use netfilter::backend::Backend;
use netfilter::nft::Nft;
use std::net::IpAddr;

/// Topic of the filter record.
const TOPIC: &str = "masquerade";

const CHAIN_PREFIX: &str = "CNI-";
/// `XT_EXTENSION_MAXNAMELEN` (`linux/netfilter/x_tables.h`), without the zero.
const CHAIN_LENGTH: usize = 28;

/// The masquerade of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masquerade {
    /// `ipMasqBackend`; `None` selects the backend of the host.
    backend: Option<Backend>,
    options: Options,
}

/// The names of an attachment in the packet filters.
#[derive(Clone, Debug)]
struct Identity<'a> {
    network: &'a str,
    container_id: String,
    if_name: String,
    /// The iptables chain; all interfaces of a container in a network share it.
    chain: String,
    /// The comment of the iptables rules.
    comment: String,
    /// The beginning of the comments in nftables.
    hash: String,
}

impl<'a> Identity<'a> {
    fn of(call: &'a Call) -> Self {
        Identity::new(&call.name, call.container_id.clone(), call.if_name.clone())
    }

    fn new(network: &'a str, container_id: String, if_name: String) -> Self {
        Identity {
            chain: names::of_attachment(CHAIN_PREFIX, network, &container_id, CHAIN_LENGTH),
            comment: cut(
                Identity::comment_begin(network) + &quote(&container_id),
                netfilter::iptables::COMMENT_MAX,
            ),
            hash: names::attachment_hash(network, &container_id, &if_name),
            network,
            container_id,
            if_name,
        }
    }

    fn comment_begin(network: &str) -> String {
        format!("name: {} id: ", quote(network))
    }

    fn nft_comment(&self) -> String {
        let plain = |text: &str| text.replace('"', "");
        let comment = format!(
            "{}, net: {}, if: {}, id: {}",
            self.hash,
            plain(self.network),
            plain(&self.if_name),
            plain(&self.container_id)
        );
        cut(comment, netfilter::nft::COMMENT_MAX)
    }
}

/// Cuts a text to at most `max` bytes, between two characters.
fn cut(mut text: String, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

impl Masquerade {
    /// Returns the addresses that are masqueraded.
    fn masqueraded<'i>(&self, ips: impl IntoIterator<Item = &'i IpConfig>) -> Vec<&'i IpConfig> {
        let mut masqueraded: Vec<&IpConfig> = Vec::new();
        for ip in ips {
            let of_family = match ip.address.is_ipv4() {
                true => self.options.ipv4,
                false => self.options.ipv6,
            };
            if of_family && !masqueraded.iter().any(|known| known.address == ip.address) {
                masqueraded.push(ip);
            }
        }
        masqueraded
    }

    /// Returns the excluded networks of the address's family.
    fn excluded(&self, address: IpAddr) -> impl Iterator<Item = &Cidr> {
        let networks = self.options.exclude.iter();
        networks.filter(move |network| network.is_ipv4() == address.is_ipv4())
    }

    /// Returns the configured source address; `None` for the address of the output interface.
    fn snat_ip(&self, address: IpAddr) -> Option<IpAddr> {
        let mut given = self.options.snat_ip.0.iter().copied();
        given.find(|given| given.is_ipv4() == address.is_ipv4())
    }

    /// Checks, without changing anything, that the backend can be used. To be called before ADD changes anything.
    ///
    /// # Errors
    /// When it cannot, with the reason.
    pub fn require(&self) -> anyhow::Result<Ready> {
        match self.backend {
            Some(Backend::Nftables) => return nftables::Client::open().map(Ready::nftables),
            Some(Backend::Iptables) => iptables::require(self)?,
            None if iptables::require(self).is_ok() => {}
            None => {
                return nftables::Client::open()
                    .map(Ready::nftables)
                    .context("ipMasq: there is no iptables, and no nftables");
            }
        }
        Ok(Ready::default())
    }

    /// Returns the plan of the rules for the addresses `ips`; `None` if none are masqueraded.
    /// Rules of an earlier ADD, known from `record`, must have been deleted.
    ///
    /// Nothing is changed except the record. `undo` deletes the rules, even if only some
    /// were added; shared tables and chains stay.
    pub fn plan<'p, 'u: 'p>(
        &'p self,
        call: &'u Call,
        ips: &[IpConfig],
        ready: Ready,
        mut record: FilterRecord,
        undo: &mut Undo<'u>,
    ) -> Option<Plan<'p>> {
        let ips: Vec<IpConfig> = self.masqueraded(ips).into_iter().cloned().collect();
        if ips.is_empty() {
            return None;
        }
        record.begin();
        let known = Known {
            addresses: ips.iter().map(|ip| ip.address).collect(),
            container_gone: false,
        };
        undo.push("remove the masquerade rules", move || {
            delete(
                Nft::open().ok().as_ref(),
                call,
                &FilterRecord::of(call),
                &known,
            )
        });
        Some(Plan {
            masquerade: self,
            identity: Identity::of(call),
            ips,
            ready,
            record,
        })
    }

    /// Checks that the rules for the addresses `ips` exist.
    ///
    /// # Errors
    /// The first missing rule.
    pub fn check<'i>(
        &self,
        call: &Call,
        ips: impl IntoIterator<Item = &'i IpConfig>,
    ) -> anyhow::Result<()> {
        let ips = self.masqueraded(ips);
        if ips.is_empty() {
            return Ok(());
        }
        let identity = Identity::of(call);
        let record = FilterRecord::of(call);
        let recorded = Recorded::of(&record);
        let backend = match (&recorded, self.backend) {
            (Recorded::Nftables(_), _) => Backend::Nftables,
            (Recorded::Iptables(_), _) => Backend::Iptables,
            // Added by upstream, whose older releases ignore `ipMasqBackend`.
            (Recorded::Nothing, _) if nftables::is_there(&identity) => Backend::Nftables,
            (Recorded::Nothing, _) => Backend::Iptables,
        };
        match (backend, recorded) {
            (Backend::Iptables, _) => iptables::check(self, &identity, &ips),
            (_, Recorded::Nftables(handles)) => nftables::check(self, &identity, &handles, &ips),
            _ => nftables::check(self, &identity, &[], &ips),
        }
    }

    /// STATUS: checks that an ADD could create the rules.
    ///
    /// # Errors
    /// Code 50, with the reason.
    pub fn status(&self, call: &Call) -> anyhow::Result<()> {
        let backend = self.backend.unwrap_or_else(Backend::choose);
        let needs_ipv6 = self.options.ipv6 && ipv6::is_configured(&call.conf);
        backend.probe(needs_ipv6).map_err(|e| {
            let msg = format!("ipMasq is not possible: {} is not usable", backend.as_str());
            let refusal = Error::new(Code::PLUGIN_NOT_AVAILABLE, msg);
            let way_out = status::way_out_of_filter(backend);
            refusal.with_details(format!("{e}; {way_out}")).into()
        })
    }
}

/// The netlink socket opened by [`Masquerade::require`], if any.
#[derive(Debug, Default)]
pub struct Ready {
    nftables: Option<nftables::Client>,
}

impl Ready {
    fn nftables(client: nftables::Client) -> Ready {
        Ready {
            nftables: Some(client),
        }
    }
}

/// Rules to be added.
#[derive(Debug)]
pub struct Plan<'a> {
    masquerade: &'a Masquerade,
    identity: Identity<'a>,
    ips: Vec<IpConfig>,
    ready: Ready,
    record: FilterRecord,
}

impl Plan<'_> {
    /// Creates the rules and records them.
    ///
    /// # Errors
    /// The refusal of the kernel or of iptables.
    pub fn create(mut self) -> anyhow::Result<()> {
        match self.masquerade.backend {
            Some(Backend::Nftables) => self.create_with_nftables(),
            Some(Backend::Iptables) => self.create_with_iptables(),
            // Probing iptables takes as many processes as using it.
            None => self
                .create_with_iptables()
                .or_else(|e| match Backend::choose() {
                    Backend::Nftables => self.create_with_nftables(),
                    Backend::Iptables => Err(e),
                }),
        }
    }

    fn create_with_nftables(&mut self) -> anyhow::Result<()> {
        let ips: Vec<&IpConfig> = self.ips.iter().collect();
        let client = match self.ready.nftables.take() {
            Some(client) => client,
            None => nftables::Client::open()?,
        };
        let handles = client
            .create(self.masquerade, &self.identity, &ips)
            .with_context(|| failed("set up", Backend::Nftables))?;
        self.note(
            Backend::Nftables,
            handles.iter().map(u64::to_string).collect(),
        );
        Ok(())
    }

    fn create_with_iptables(&mut self) -> anyhow::Result<()> {
        let ips: Vec<&IpConfig> = self.ips.iter().collect();
        iptables::create(self.masquerade, &self.identity, &ips)
            .with_context(|| failed("set up", Backend::Iptables))?;
        let addresses = self.ips.iter().map(|ip| ip.address.to_string());
        self.note(Backend::Iptables, addresses.collect());
        Ok(())
    }

    fn note(&mut self, backend: Backend, mut words: Vec<String>) {
        words.insert(0, backend.as_str().to_owned());
        self.record.set(TOPIC, &words);
    }
}

fn failed(what: &str, backend: Backend) -> String {
    format!("failed to {what} masquerade with {}", backend.as_str())
}

/// The masquerade entry of an attachment's record.
enum Recorded {
    Nothing,
    /// Handles of the rules.
    Nftables(Vec<u64>),
    /// The addresses.
    Iptables(Vec<Cidr>),
}

impl Recorded {
    fn of(record: &FilterRecord) -> Recorded {
        let words = record.get(TOPIC).unwrap_or_default();
        let Some((backend, words)) = words.split_first() else {
            return Recorded::Nothing;
        };
        match Backend::from_name(backend) {
            Some(Backend::Nftables) => {
                Recorded::Nftables(words.iter().filter_map(|word| word.parse().ok()).collect())
            }
            Some(Backend::Iptables) => {
                Recorded::Iptables(words.iter().filter_map(|word| word.parse().ok()).collect())
            }
            None => Recorded::Nothing,
        }
    }
}

/// Returns whether an attachment may have masquerade rules.
#[must_use]
pub fn may_have_rules(call: &Call, record: &FilterRecord) -> bool {
    config::is_asked_for(call) || record.get(TOPIC).is_some()
}

/// Returns `needs` with those of masquerade rules and records: DEL, GC and the undo of ADD
/// look for rules in both backends, and so may execute iptables.
pub fn needs(needs: Needs, call: &Call) -> Needs {
    let needs = needs.write("/run/cni");
    match call.command == Command::Gc || may_have_rules(call, &FilterRecord::of(call)) {
        true => needs.executing(),
        false => needs,
    }
}

/// What DEL knows about an attachment besides its names.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The addresses, if neither the record nor `prevResult` has them.
    addresses: Vec<Cidr>,
    /// Whether the container is gone with all its attachments.
    container_gone: bool,
}

impl Known {
    /// Returns what is known. To be called before the container's interface is deleted.
    #[must_use]
    pub fn of(call: &Call, record: &FilterRecord) -> Known {
        let mut known = Known {
            addresses: Vec::new(),
            container_gone: !call.has_netns(),
        };
        let is_known = !matches!(Recorded::of(record), Recorded::Nothing)
            || matches!(call.prev_result(), Ok(Some(previous)) if !previous.ips.is_empty());
        if !is_known && let Ok(Some(container)) = Container::open_for_del(call) {
            known.addresses = live_addresses(&container, &call.if_name);
        }
        known
    }
}

/// Returns the addresses of a container's interface; none if it does not exist.
fn live_addresses(container: &Container, name: &str) -> Vec<Cidr> {
    let link = container.rtnl.link_by_name(name);
    let list = link.and_then(|link| container.rtnl.addresses(link.index, None));
    list.unwrap_or_default()
        .iter()
        .filter_map(|address| Cidr::new(address.addr, address.prefix))
        .collect()
}

/// Deletes all rules of the attachment of `call` in both backends. Neither its namespace
/// nor its link nor `prevResult` is needed.
///
/// `nft` should be closed late, since closing waits until the kernel has freed the deleted
/// rules. `None` stands for a kernel without nf_tables.
///
/// # Errors
/// The first rules that cannot be deleted; the others are deleted.
pub fn delete(
    nft: Option<&Nft>,
    call: &Call,
    record: &FilterRecord,
    known: &Known,
) -> anyhow::Result<()> {
    let identity = Identity::of(call);
    let from_nftables = |handles: &[u64]| match nft {
        Some(nft) => nftables::delete(nft, &identity.hash, handles),
        None => Ok(()),
    };
    let from_iptables = |addresses: &[Cidr]| {
        let deletion = iptables::Deletion {
            addresses,
            container_gone: known.container_gone,
        };
        iptables::delete(&identity, &deletion)
    };
    // iptables first: its commands would wait until the kernel has freed the rules that
    // the other backend deleted.
    let (iptables, nftables) = match Recorded::of(record) {
        Recorded::Nftables(handles) => (Ok(()), from_nftables(&handles)),
        Recorded::Iptables(addresses) => (from_iptables(&addresses), Ok(())),
        Recorded::Nothing => {
            let mut addresses = known.addresses.clone();
            if let Ok(Some(previous)) = call.prev_result() {
                addresses.extend(previous.ips.iter().map(|ip| ip.address));
            }
            (from_iptables(&addresses), from_nftables(&[]))
        }
    };
    outcome("remove", nftables, iptables)
}

/// GC: deletes the rules of all attachments of the network that are not valid. Does
/// nothing if the runtime did not pass the valid attachments.
///
/// # Errors
/// The first rules that cannot be deleted; the others are deleted.
pub fn collect(call: &Call) -> anyhow::Result<()> {
    let Some(valid) = call.valid_attachments()? else {
        return Ok(());
    };
    let identities: Vec<Identity<'_>> = valid
        .into_iter()
        .map(|a| Identity::new(&call.name, a.container_id, a.if_name))
        .collect();
    let hashes: Vec<String> = identities
        .iter()
        .map(|identity| identity.hash.clone())
        .collect();
    outcome(
        "collect",
        Nft::open()
            .and_then(|nft| nftables::collect(&nft, &names::network_prefix(&call.name), &hashes)),
        iptables::collect(&Identity::comment_begin(&call.name), &identities),
    )
}

/// Joins the outcomes of both backends. Missing support of nf_tables is not an error, since
/// there are no rules then.
fn outcome(
    what: &str,
    nftables: Result<(), netfilter::Error>,
    iptables: Result<(), netfilter::Error>,
) -> anyhow::Result<()> {
    let nftables = match nftables {
        Err(e) if e.is_unsupported() => Ok(()),
        done => done,
    };
    let mut failures = Failures::default();
    failures.add(nftables.with_context(|| failed(what, Backend::Nftables)));
    failures.add(iptables.with_context(|| failed(what, Backend::Iptables)));
    failures.result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_upstream() {
        let identity = Identity::new("test", "1234".to_owned(), "eth0".to_owned());
        assert_eq!(identity.chain, "CNI-2bbe0c48b91a7d1b8a6753a8");
        assert_eq!(identity.comment, r#"name: "test" id: "1234""#);
        let identity = Identity::new("unit-test", "one".to_owned(), "eth0".to_owned());
        assert_eq!(
            identity.nft_comment(),
            "6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one"
        );
    }

    #[test]
    fn a_long_comment_is_cut() {
        let identity = Identity::new("n", "c".repeat(200), "\"é\"".to_owned());
        let comment = identity.nft_comment();
        assert_eq!(comment.len(), 128);
        assert!(comment.contains(", if: é, id: ccc"));
        let identity = Identity::new("n", "é".repeat(200), "eth0".to_owned());
        assert!(identity.nft_comment().len() >= 127);
    }
}
