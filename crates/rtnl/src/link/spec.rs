//! Requests that create, change and delete links.

use std::os::fd::BorrowedFd;

use netlink_packet_route::link::LinkFlags;

use super::LinkKind;
use super::common::{CommonAttributes, change_flag, header, name_attribute, up_flags};
use crate::request::Request;
use crate::wire::*;

/// A link to be created, by [`Request::new_link`].
#[derive(Clone, Debug)]
pub struct LinkSpec<'fd> {
    /// Name, at most 15 bytes (the kernel refuses longer ones); empty lets the
    /// kernel choose.
    ///
    /// Older kernels (6.1, not 6.18) refuse a name that exists in the namespace
    /// of the *socket* even if `netns` is another one.
    pub name: String,
    /// What kind of link, with the options of that kind.
    pub kind: LinkKind<'fd>,
    /// MTU in bytes; `None` is the default of the kind.
    pub mtu: Option<u32>,
    /// MAC address, 6 bytes for Ethernet; `None` lets the kernel choose.
    pub mac: Option<Vec<u8>>,
    /// Index of the bridge or VRF to join.
    pub master: Option<u32>,
    /// Index of the parent link (`IFLA_LINK`) in the namespace of the socket.
    pub link: Option<u32>,
    /// The network namespace to create the link in; `None` is that of the socket.
    pub netns: Option<BorrowedFd<'fd>>,
    /// Whether to create the link up.
    pub up: bool,
    /// Length of the transmit queue in packets.
    pub txqlen: Option<u32>,
    /// Number of transmit queues.
    pub num_tx_queues: Option<u32>,
    /// Number of receive queues.
    pub num_rx_queues: Option<u32>,
    /// Largest segmentation-offload packet sent, in bytes.
    pub gso_max_size: Option<u32>,
    /// Largest receive-offload packet built, in bytes; Linux 5.19 and later.
    pub gro_max_size: Option<u32>,
}

impl<'fd> LinkSpec<'fd> {
    /// A link of the given name and kind with the kernel's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: LinkKind<'fd>) -> Self {
        LinkSpec {
            name: name.into(),
            kind,
            mtu: None,
            mac: None,
            master: None,
            link: None,
            netns: None,
            up: false,
            txqlen: None,
            num_tx_queues: None,
            num_rx_queues: None,
            gso_max_size: None,
            gro_max_size: None,
        }
    }
}

/// Changes to a link, by [`Request::set_link`]; `None` leaves an attribute unchanged.
///
/// The kernel applies several changes one after the other and stops at the first that
/// fails, without undoing those before it (`do_setlink`).
#[derive(Clone, Debug, Default)]
pub struct LinkChange<'fd> {
    /// New name, at most 15 bytes. Together with `netns`, the name in the other
    /// namespace, which may be in use in this one. Older kernels rename a link only
    /// while it is down.
    pub name: Option<String>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// MAC address.
    pub mac: Option<Vec<u8>>,
    /// Index of the bridge or VRF to join; 0 leaves the current one.
    pub master: Option<u32>,
    /// Network namespace to move to. The link loses its addresses, routes and
    /// master and arrives down.
    pub netns: Option<BorrowedFd<'fd>>,
    /// Up or down.
    pub up: Option<bool>,
    /// Promiscuous mode on or off (`IFF_PROMISC`).
    pub promisc: Option<bool>,
    /// Reception of all multicast on or off (`IFF_ALLMULTI`).
    pub allmulti: Option<bool>,
    /// Length of the transmit queue in packets.
    pub txqlen: Option<u32>,
    /// Largest segmentation-offload packet sent, in bytes.
    pub gso_max_size: Option<u32>,
    /// Largest receive-offload packet built, in bytes; Linux 5.19 and later.
    pub gro_max_size: Option<u32>,
    /// Alias, at most 255 bytes; empty removes it.
    pub alias: Option<String>,
}

impl<'fd> Request<'fd> {
    /// Creates a link (`RTM_NEWLINK`, CREATE and EXCL). On an error the link does not
    /// exist; the kernel deletes it again if it cannot join its master.
    ///
    /// Errors: `EEXIST` for a name in use, `EOPNOTSUPP` for a kind the kernel lacks or a
    /// master that cannot have ports, `ENODEV` for a missing parent, `EINVAL` for a
    /// missing master.
    #[must_use]
    pub fn new_link(spec: &LinkSpec<'fd>) -> Request<'fd> {
        let mut header = header(0);
        up_flags(&mut header, spec.up);
        let mut body = Builder::new(&header);
        CommonAttributes {
            name: &spec.name,
            netns: spec.netns,
            mac: spec.mac.as_deref(),
            mtu: spec.mtu,
            txqlen: spec.txqlen,
            num_tx_queues: spec.num_tx_queues,
            num_rx_queues: spec.num_rx_queues,
            gso_max_size: spec.gso_max_size,
            gro_max_size: spec.gro_max_size,
        }
        .encode(&mut body);
        body.opt_u32(IFLA_MASTER, spec.master);
        body.opt_u32(IFLA_LINK, spec.link);
        spec.kind.encode(&mut body);
        let what = format!("create {} link {:?}", spec.kind.name(), spec.name);
        let mut flags = NLM_F_CREATE | NLM_F_EXCL;
        // The kernel sends the echo into the namespace of the new link: in another
        // namespace, a socket of the same port number would get it.
        if spec.netns.is_none() {
            flags |= NLM_F_ECHO;
        }
        Request::new(RTM_NEWLINK, flags, body, what)
    }

    /// Changes the link with the index `index` (`RTM_SETLINK`).
    ///
    /// Errors: `ENODEV` if it does not exist; those of each change.
    #[must_use]
    pub fn set_link(index: u32, change: &LinkChange<'fd>) -> Request<'fd> {
        let mut header = header(index);
        change_flag(&mut header, LinkFlags::Up, change.up);
        change_flag(&mut header, LinkFlags::Promisc, change.promisc);
        change_flag(&mut header, LinkFlags::Allmulti, change.allmulti);
        let mut body = Builder::new(&header);
        CommonAttributes {
            name: change.name.as_deref().unwrap_or_default(),
            netns: change.netns,
            mac: change.mac.as_deref(),
            mtu: change.mtu,
            txqlen: change.txqlen,
            num_tx_queues: None,
            num_rx_queues: None,
            gso_max_size: change.gso_max_size,
            gro_max_size: change.gro_max_size,
        }
        .encode(&mut body);
        body.opt_u32(IFLA_MASTER, change.master);
        if let Some(alias) = &change.alias {
            body.raw(IFLA_IFALIAS, alias.as_bytes());
        }
        Request::new(RTM_SETLINK, 0, body, format!("change link {index}"))
    }

    /// Sets the alias of the link named `name` (`RTM_SETLINK`), at most 255 bytes; an empty
    /// one removes it.
    ///
    /// The kernel ignores an alias at creation (`rtnl_create_link`). In one batch with
    /// [`Request::new_link`], this leaves no moment at which a killed process could leave
    /// the link without its alias. If the creation fails because the name is in use, the
    /// alias is that of another link.
    ///
    /// Errors: `ENODEV` if there is no such link.
    #[must_use]
    pub fn set_alias(name: &str, alias: &str) -> Request<'static> {
        let mut body = Builder::new(&header(0));
        body.text(name_attribute(name), name);
        body.raw(IFLA_IFALIAS, alias.as_bytes());
        let what = format!("set the alias of link {name:?}");
        Request::new(RTM_SETLINK, 0, body, what)
    }

    /// Changes the options of `kind` that are given of the link with the index `index`,
    /// which is of this kind already (`RTM_NEWLINK` without CREATE).
    ///
    /// Errors: `ENODEV` if it does not exist, `EOPNOTSUPP` if it is of another kind or the
    /// kernel lacks an option.
    #[must_use]
    pub fn change_kind(index: u32, kind: &LinkKind<'fd>) -> Request<'fd> {
        let mut body = Builder::new(&header(index));
        kind.encode(&mut body);
        let what = format!("change {} link {index}", kind.name());
        Request::new(RTM_NEWLINK, 0, body, what)
    }

    /// Deletes the link with the index `index` (`RTM_DELLINK`), and with it its
    /// peer if it is a veth.
    ///
    /// Errors: `ENODEV` if it does not exist, `EOPNOTSUPP` for hardware.
    #[must_use]
    pub fn del_link(index: u32) -> Request<'fd> {
        let what = format!("delete link {index}");
        Request::new(RTM_DELLINK, 0, Builder::new(&header(index)), what)
    }

    /// Deletes the link named `name` (`RTM_DELLINK`) without a lookup.
    ///
    /// Errors: `ENODEV` if it does not exist, `EOPNOTSUPP` for hardware.
    #[must_use]
    pub fn del_link_by_name(name: &str) -> Request<'fd> {
        let mut body = Builder::new(&header(0));
        body.text(name_attribute(name), name);
        Request::new(RTM_DELLINK, 0, body, format!("delete link {name:?}"))
    }
}
