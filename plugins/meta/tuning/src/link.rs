//! The attributes of the interface.

use crate::sysctl::Values;
use anyhow::{Context, anyhow, bail};
use cni_core::errno;
use cni_core::quote::quote;
use plugin_kit::chain::note;
use plugin_kit::{Container, MacAddress, Undo, sysctl};
use rtnl::{IFF_ALLMULTI, IFF_PROMISC, Link, LinkChange, Request};

/// Attributes of an interface; `None` means unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Hardware address.
    pub mac: Option<MacAddress>,
    /// Promiscuous mode.
    pub promisc: Option<bool>,
    /// Maximum transmission unit in bytes.
    pub mtu: Option<u32>,
    /// Reception of all multicast frames.
    pub allmulti: Option<bool>,
    /// Length of the transmit queue in packets.
    pub txqlen: Option<u32>,
}

impl Attributes {
    /// All attributes of a link. The two modes are those set by an administrator, without
    /// the users that the kernel counts, such as packet sniffers.
    pub(crate) fn of(link: &Link) -> Attributes {
        Attributes {
            mac: <[u8; 6]>::try_from(link.mac.as_slice())
                .ok()
                .map(MacAddress),
            promisc: Some(link.flags & IFF_PROMISC != 0),
            mtu: Some(link.mtu),
            allmulti: Some(link.flags & IFF_ALLMULTI != 0),
            txqlen: Some(link.txqlen),
        }
    }

    /// The attributes of `self` that are set in `other`.
    pub(crate) fn named_in(&self, other: &Attributes) -> Attributes {
        Attributes {
            mac: self.mac.filter(|_| other.mac.is_some()),
            promisc: self.promisc.filter(|_| other.promisc.is_some()),
            mtu: self.mtu.filter(|_| other.mtu.is_some()),
            allmulti: self.allmulti.filter(|_| other.allmulti.is_some()),
            txqlen: self.txqlen.filter(|_| other.txqlen.is_some()),
        }
    }

    /// Whether no attribute is set.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }

    /// Sets the attributes of `link` that differ.
    ///
    /// # Errors
    /// The first error of the kernel. The other attributes are set nevertheless.
    pub(crate) fn apply(&self, container: &Container, link: &Link) -> anyhow::Result<()> {
        let present = Attributes::of(link);
        let mut texts = Vec::new();
        let mut requests = Vec::new();
        let mut ask = |what: &str, change: LinkChange<'static>| {
            texts.push(format!("failed to set {what} of {}", quote(&link.name)));
            requests.push(Request::set_link(link.index, &change));
        };
        let none = LinkChange::default;
        if let Some(mac) = self.mac.filter(|_| self.mac != present.mac) {
            let mac = Some(mac.0.to_vec());
            ask("the hardware address", LinkChange { mac, ..none() });
        }
        if self.promisc.is_some() && self.promisc != present.promisc {
            let promisc = self.promisc;
            ask("promiscuous mode", LinkChange { promisc, ..none() });
        }
        if self.mtu.is_some() && self.mtu != present.mtu {
            let mtu = self.mtu;
            ask("the MTU", LinkChange { mtu, ..none() });
        }
        if self.allmulti.is_some() && self.allmulti != present.allmulti {
            let allmulti = self.allmulti;
            ask("all-multicast mode", LinkChange { allmulti, ..none() });
        }
        if self.txqlen.is_some() && self.txqlen != present.txqlen {
            let txqlen = self.txqlen;
            ask("the transmit queue length", LinkChange { txqlen, ..none() });
        }
        if requests.is_empty() {
            return Ok(());
        }
        let _announcement = match self.is_announced(link) {
            true => Some(Announcement::begin(container, &link.name)?),
            false => None,
        };
        let replies = container.rtnl.batch(requests);
        let failed = texts
            .into_iter()
            .zip(replies)
            .find_map(|(text, reply)| Some(anyhow!(reply.err()?).context(text)));
        failed.map_or(Ok(()), Err)
    }

    /// Whether setting the attributes changes the hardware address of `link`, and that is announced.
    fn is_announced(&self, link: &Link) -> bool {
        self.mac.is_some() && self.mac != Attributes::of(link).mac && link.is_up()
    }

    /// The sysctls that change while the attributes are being set, with their values in the calling thread's namespace: a
    /// killed ADD leaves them changed.
    pub(crate) fn announcing(&self, link: &Link) -> Values {
        if !self.is_announced(link) {
            return Values::new();
        }
        let keys = announcing_keys(&link.name).into_iter();
        let values = keys.filter_map(|key| sysctl::get(&key).ok().map(|value| (key, value)));
        values.collect()
    }

    /// Checks the attributes of `link`.
    ///
    /// # Errors
    /// Names the first difference.
    pub(crate) fn check(&self, link: &Link) -> anyhow::Result<()> {
        let present = Attributes::of(link);
        let name = &link.name;
        if let Some(mac) = self.mac.filter(|_| self.mac != present.mac) {
            bail!(
                "Error: Tuning configured Ethernet of {name} is {mac}, current value is {}",
                link.mac_string()
            );
        }
        if let Some(promisc) = self.promisc.filter(|_| self.promisc != present.promisc) {
            bail!(
                "Error: Tuning link {name} configured promisc is {promisc}, current value is {}",
                link.promiscuity
            );
        }
        if let Some(mtu) = self.mtu.filter(|_| self.mtu != present.mtu) {
            bail!(
                "Error: Tuning configured MTU of {name} is {mtu}, current value is {}",
                link.mtu
            );
        }
        if let (Some(wanted), Some(present)) = (self.allmulti, present.allmulti)
            && wanted != present
        {
            bail!(
                "Error: Tuning configured all-multicast mode of {name} is {wanted}, current value is {present}"
            );
        }
        if let Some(wanted) = self.txqlen.filter(|_| self.txqlen != present.txqlen) {
            bail!(
                "Error: Tuning configured Transmit Queue Length of {name} is {wanted}, current value is {}",
                link.txqlen
            );
        }
        Ok(())
    }
}

/// Sets attributes of `link` and registers the undo.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn tune<'c>(
    container: &'c Container,
    link: &Link,
    wanted: Attributes,
    undo: &mut Undo<'c>,
) -> anyhow::Result<()> {
    let before = Attributes::of(link).named_in(&wanted);
    let index = link.index;
    // If one attribute fails, others are set.
    undo.push("restore the interface", move || {
        let link = container
            .rtnl
            .link_by_index(index)
            .context("failed to find the interface")?;
        before.apply(container, &link)
    });
    wanted.apply(container, link)
}

fn announcing_keys(name: &str) -> [String; 2] {
    [
        format!("net/ipv4/conf/{name}/arp_notify"),
        format!("net/ipv6/conf/{name}/ndisc_notify"),
    ]
}

/// While this value exists, the kernel announces a change of the interface's hardware
/// address by gratuitous ARP and unsolicited neighbour advertisement (`arp_notify` and
/// `ndisc_notify` of the kernel's `networking/ip-sysctl`).
struct Announcement<'c> {
    container: &'c Container,
    before: Vec<(String, String)>,
}

impl<'c> Announcement<'c> {
    fn begin(container: &'c Container, name: &str) -> anyhow::Result<Self> {
        let before = container.run(|| {
            let mut before = Vec::new();
            for key in announcing_keys(name) {
                // Without IPv6 the kernel lacks ndisc_notify.
                let Ok(was) = sysctl::get(&key) else { continue };
                match sysctl::ensure(&key, "1") {
                    Ok(()) => before.push((key, was)),
                    Err(e) => note(&format!(
                        "failed to announce the new hardware address: {key}: {}",
                        errno::of(&e)
                    )),
                }
            }
            before
        })?;
        Ok(Announcement { container, before })
    }
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        let restored = self.container.run(|| {
            for (key, was) in &self.before {
                if let Err(e) = sysctl::ensure(key, was) {
                    note(&format!("failed to restore {key}: {}", errno::of(&e)));
                }
            }
        });
        if let Err(e) = restored {
            note(&format!("failed to restore arp_notify: {e}"));
        }
    }
}
