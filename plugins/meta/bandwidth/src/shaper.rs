//! The qdisc that limits the rate of a link, with its classes, filters and queue.

use crate::config::Config;
use crate::subnets::{Direction, SHAPED, Subnets, UNSHAPED};
use anyhow::{anyhow, bail};
use plugin_kit::{Undo, detailed};
use rtnl::{
    Handle, Htb, HtbClass, Link, Qdisc, QdiscInfo, QdiscKind, QdiscSpec, Request, Tbf, TcHandle,
};

/// Handle of the root qdisc, the same as upstream's.
const FIRST: TcHandle = TcHandle::new(1, 0);
/// Handle of the queue below, if it is configured.
const QUEUE: TcHandle = TcHandle::new(2, 0);
/// The class of a token bucket filter.
const BUCKET: TcHandle = TcHandle::new(1, 1);

/// Rate of packets that are not shaped, in bytes per second; faster than any link.
const UNLIMITED: u64 = 100_000_000_000;
/// Bucket of that rate: one millisecond in ticks of 64 ns.
const UNLIMITED_BUFFER: u32 = 15_625;
/// Quantum of a class in bytes. The kernel warns of larger ones and of those smaller than
/// a packet.
const QUANTUM: std::ops::RangeInclusive<u64> = 1_500..=200_000;

/// The shaping of one direction.
#[derive(Clone, Copy)]
pub(crate) struct Shaper<'c> {
    bucket: Tbf,
    direction: Direction,
    subnets: Option<&'c Subnets>,
    queue: Option<QdiscKind>,
}

impl<'c> Shaper<'c> {
    /// Shapes packets to the container, if configured.
    pub(crate) fn ingress(config: &'c Config) -> Option<Self> {
        Shaper::new(config, config.ingress?, Direction::Ingress)
    }

    /// Shapes packets from the container, if configured.
    pub(crate) fn egress(config: &'c Config) -> Option<Self> {
        Shaper::new(config, config.egress?, Direction::Egress)
    }

    fn new(config: &'c Config, bucket: Tbf, direction: Direction) -> Option<Self> {
        let subnets = config.subnets.as_ref();
        // A token bucket filter limits its queue, a class does not.
        let plain = (subnets.is_some() && config.has_latency).then_some(QdiscKind::Bfifo {
            limit: bucket.limit,
        });
        Some(Shaper {
            bucket,
            direction,
            subnets,
            queue: config.queue.or(plain),
        })
    }

    /// Whether the queues have the link's transmit queue length.
    pub(crate) fn uses_link_queue(&self) -> bool {
        self.subnets.is_some()
    }

    fn root(&self) -> QdiscKind {
        match self.subnets {
            None => QdiscKind::Tbf(self.bucket),
            Some(subnets) => QdiscKind::Htb(Htb {
                default_class: subnets.default_class().0 & 0xffff,
                rate2quantum: 10,
            }),
        }
    }

    /// The classes; empty for a token bucket filter.
    fn classes(&self) -> Vec<(TcHandle, HtbClass)> {
        if self.subnets.is_none() {
            return Vec::new();
        }
        let quantum = |rate: u64| (rate / 10).clamp(*QUANTUM.start(), *QUANTUM.end()) as u32;
        let Tbf { rate, buffer, .. } = self.bucket;
        let shaped = HtbClass {
            rate,
            // Without a parent class to borrow from, the ceiling is not reached.
            ceil: rate.saturating_mul(2),
            buffer,
            cbuffer: buffer,
            quantum: quantum(rate),
        };
        let unshaped = HtbClass {
            rate: UNLIMITED,
            ceil: UNLIMITED,
            buffer: UNLIMITED_BUFFER,
            cbuffer: UNLIMITED_BUFFER,
            quantum: quantum(UNLIMITED),
        };
        vec![(SHAPED, shaped), (UNSHAPED, unshaped)]
    }

    /// The class of shaped packets.
    fn leaf(&self) -> TcHandle {
        if self.subnets.is_some() {
            SHAPED
        } else {
            BUCKET
        }
    }

    /// Installs the shaping on `link`.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is left behind after `undo`.
    pub(crate) fn install<'h>(
        &self,
        host: &'h Handle,
        link: &Link,
        undo: &mut Undo<'h>,
    ) -> anyhow::Result<()> {
        let index = link.index;
        let root = QdiscSpec {
            handle: FIRST,
            parent: TcHandle::ROOT,
            kind: self.root(),
        };
        match host.request(Request::add_qdisc(index, &root)) {
            Ok(_) => undo.push("delete the qdisc", move || remove(host, index)),
            Err(e) => return Err(self.refused(&e, link, root.kind)),
        }
        let mut requests = Vec::new();
        for (number, class) in self.classes() {
            requests.push(Request::add_htb_class(index, number, FIRST, &class));
        }
        if let Some(subnets) = self.subnets {
            let filters = subnets.filters(FIRST, self.direction);
            requests.extend(filters.iter().map(|f| Request::add_u32_filter(index, f)));
        }
        // Each depends on those before it, and the deletion of the root qdisc deletes
        // them all.
        let results = host.batch(requests);
        results
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| anyhow!("{}{}: {e}", self.prefix(), e.what()))?;
        if let Some(kind) = self.queue {
            let spec = QdiscSpec {
                handle: QUEUE,
                parent: self.leaf(),
                kind,
            };
            host.request(Request::add_qdisc(index, &spec))
                .map_err(|e| self.refused(&e, link, kind))?;
        }
        Ok(())
    }

    /// Upstream's error prefix, which distinguishes the two qdiscs.
    fn prefix(&self) -> &'static str {
        match self.direction {
            Direction::Ingress => "",
            Direction::Egress => "create ifb qdisc: ",
        }
    }

    /// The error for a qdisc of `kind` that the kernel refuses for `link`.
    fn refused(&self, e: &rtnl::Error, link: &Link, kind: QdiscKind) -> anyhow::Error {
        let msg = format!("{}create qdisc: {e}", self.prefix());
        let name = kind.name();
        if e.is_exists() {
            let details = "has a qdisc already; delete the attachment first";
            return detailed(msg, format!("link {} {details}", link.name));
        }
        if !e.is_unknown_qdisc() {
            return anyhow!(msg);
        }
        detailed(
            msg,
            format!(
                "the kernel lacks {name}: load the module sch_{name} (CONFIG_NET_SCH_{})",
                name.to_uppercase()
            ),
        )
    }

    /// Whether the root qdisc `qdisc` is of this configuration.
    pub(crate) fn is_made_of(&self, qdisc: &Qdisc) -> bool {
        qdisc.handle == FIRST
            && match (self.root(), qdisc.info) {
                (QdiscKind::Tbf(wanted), QdiscInfo::Tbf(present)) => wanted == present,
                (QdiscKind::Htb(wanted), QdiscInfo::Htb(present)) => wanted == present,
                _ => false,
            }
    }

    /// Checks the shaping of `link`.
    ///
    /// # Errors
    /// Names the first difference with both values.
    pub(crate) fn check(&self, host: &Handle, link: &Link) -> anyhow::Result<()> {
        let name = &link.name;
        let wanted = self.root();
        let Some(present) = host.qdisc(link.index, TcHandle::ROOT)? else {
            return Err(detailed(
                "Failed to find qdisc",
                format!("link {name} has none"),
            ));
        };
        match (wanted, present.info) {
            (QdiscKind::Tbf(wanted), QdiscInfo::Tbf(present)) => {
                for (what, wanted, present) in [
                    ("Rate", wanted.rate, present.rate),
                    ("Limit", wanted.limit.into(), present.limit.into()),
                    ("Buffer", wanted.buffer.into(), present.buffer.into()),
                ] {
                    if wanted != present {
                        return Err(detailed(
                            format!("{what} doesn't match"),
                            format!("qdisc of link {name} has {present}, not {wanted}"),
                        ));
                    }
                }
            }
            (QdiscKind::Htb(wanted), QdiscInfo::Htb(present)) => {
                if wanted.default_class != present.default_class {
                    bail!(
                        "qdisc of link {name} puts other traffic into class 1:{:x}, not 1:{:x}",
                        present.default_class,
                        wanted.default_class
                    );
                }
                self.check_classes(host, link)?;
            }
            _ => {
                return Err(detailed(
                    "Failed to find qdisc",
                    format!("link {name} has {}, not {}", present.kind, wanted.name()),
                ));
            }
        }
        self.check_queue(host, link)
    }

    fn check_classes(&self, host: &Handle, link: &Link) -> anyhow::Result<()> {
        let name = &link.name;
        let present = host.classes(link.index)?;
        for (number, wanted) in self.classes() {
            let class = present.iter().find(|class| class.handle == number);
            let Some(class) = class.and_then(|class| class.htb) else {
                bail!("class {number} of link {name} is missing");
            };
            for (what, wanted, present) in [
                ("Rate", wanted.rate, class.rate),
                ("Ceiling", wanted.ceil, class.ceil),
                ("Buffer", wanted.buffer.into(), class.buffer.into()),
                (
                    "Ceiling's buffer",
                    wanted.cbuffer.into(),
                    class.cbuffer.into(),
                ),
            ] {
                if wanted != present {
                    return Err(detailed(
                        format!("{what} doesn't match"),
                        format!("class {number} of link {name} has {present}, not {wanted}"),
                    ));
                }
            }
        }
        let Some(subnets) = self.subnets else {
            return Ok(());
        };
        let present = host.filters(link.index, FIRST)?;
        let wanted = subnets.filters(FIRST, self.direction);
        for (filter, subnet) in wanted.iter().zip(subnets.names()) {
            if !present.iter().any(|present| present.filter == *filter) {
                bail!(
                    "link {name} has no filter that puts {subnet} into class {}",
                    filter.class
                );
            }
        }
        Ok(())
    }

    fn check_queue(&self, host: &Handle, link: &Link) -> anyhow::Result<()> {
        let Some(wanted) = self.queue else {
            return Ok(());
        };
        let present = host.qdisc(link.index, self.leaf())?;
        let present = present.map_or("a plain queue".into(), |qdisc| qdisc.kind);
        if present != wanted.name() {
            return Err(detailed(
                "queue doesn't match",
                format!(
                    "link {} has {present} at {}, not {}",
                    link.name,
                    self.leaf(),
                    wanted.name()
                ),
            ));
        }
        Ok(())
    }
}

/// Deletes the root qdisc of the link `index`, if it exists.
pub(crate) fn remove(host: &Handle, index: u32) -> anyhow::Result<()> {
    match host.request(Request::del_qdisc(index, FIRST, TcHandle::ROOT)) {
        Err(e) if !e.is_not_found() => {
            Err(anyhow!(e).context(format!("failed to delete the qdisc of link {index}")))
        }
        _ => Ok(()),
    }
}
