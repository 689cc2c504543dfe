//! Interoperability with upstream's plugins, which may be replaced while containers run.
//!
//! Each [`Case`](exchange::Case) is a network that both implementations know. Per version of the specification, it is
//! attached four times, each time on a host of its own:
//!
//! | ADD by | CHECK by | then |
//! |---|---|---|
//! | the peer | both | DEL by the peer: the reference |
//! | ours | both | DEL by the peer |
//! | the peer | both | DEL by ours |
//! | the peer | | GC by ours while the container lives, and after its end |
//!
//! The result, the calls, and the host and the container after each step must be the same as in the reference, object
//! by object: links with all their attributes, addresses, routes, rules, neighbours, VLANs of bridges, queueing
//! disciplines and filters, each chain of iptables and nftables, sysctls, and files with their content and mode.
//! A difference is expected only where the case names it ([`differences`]); one that is named and not seen is a failure,
//! too. `Documentation/compatibility.md` lists the same differences.
//!
//! The peer is Debian's `containernetworking-plugins` 1.1.1 in /usr/lib/cni, which supports the specification up to
//! 1.0.0, without GC and STATUS. `CNI_TEST_PEER_DIR` names the directory of another release.

mod bridge;
mod chained;
mod dhcp;
mod difference;
mod differences;
mod exchange;
mod ipam;
mod isolation;
mod leases;
mod messages;
mod mixed;
mod observe;
mod own_interface;
mod page;
mod portmap;
mod ptp;
mod shaping;
mod side;
mod site;
