//! rtnetlink operations on the link that was found last.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use rtnl::{
    AddressSpec, Exclusivity, Handle, LinkChange, LinkKind, LinkSpec, Macvlan, PeerSpec, Request,
    RouteFilter, RouteSpec, Scope, Veth, Vlan,
};

use crate::{Outcome, Waits};

/// How long to wait for the end of a link.
const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Network {
    /// The namespace in which the process started.
    home: File,
    /// The socket in the host's namespace.
    host: Option<Handle>,
    /// The socket in the namespace that was entered.
    container: Option<Handle>,
    /// The link that was found last, and the one that it refers to (a peer, a lower link).
    index: u32,
    refers_to: Option<u32>,
    /// Requests for the next batch.
    queue: Vec<Request<'static>>,
}

impl Network {
    pub(crate) fn new() -> Outcome<Network> {
        Ok(Network {
            home: File::open("/proc/self/ns/net")?,
            host: None,
            container: None,
            index: 0,
            refers_to: None,
            queue: Vec::new(),
        })
    }

    /// Runs one operation.
    pub(crate) fn run(&mut self, operation: &[&str], waits: &mut Waits) -> Outcome {
        match operation {
            ["open"] => self.host = Some(Handle::open()?),
            ["enter", netns] => {
                setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
                self.container = Some(Handle::open()?);
            }
            ["leave"] => {
                setns(&self.home, CloneFlags::CLONE_NEWNET)?;
                self.container = Some(Handle::open()?);
            }
            ["find", name] => {
                let link = self.handle()?.link_by_name(name)?;
                (self.index, self.refers_to) = (link.index, link.link);
            }
            ["addresses"] => drop(self.handle()?.addresses(self.index, None)?),
            ["routes"] => drop(self.handle()?.routes(&RouteFilter::default())?),
            ["peer"] => {
                let host = self.host.as_ref().ok_or("no socket of the host")?;
                host.link_by_index(self.refers_to.ok_or("the link has no peer")?)?;
            }
            ["delete", name] => self.delete(name, waits)?,
            ["veth", name, netns, master @ ..] => self.new_veth(name, netns, !master.is_empty())?,
            ["link", kind, netns] => self.new_link(kind, netns)?,
            ["move", netns, name] => self.move_link(netns, name)?,
            ["up"] => self.queue.push(self.set_up(true)),
            ["down"] => self.queue.push(self.set_up(false)),
            ["address", cidr] => {
                let (address, prefix) = network(cidr)?;
                let mut spec = AddressSpec::new(address, prefix);
                spec.nodad = address.is_ipv6();
                self.queue.push(Request::add_address(self.index, &spec));
            }
            ["route", destination, via] => {
                let (address, prefix) = network(destination)?;
                let mut route = RouteSpec::new(address, prefix);
                route.oif = Some(self.index);
                match *via {
                    "link" => route.scope = Some(Scope::LINK),
                    gateway => route.gateway = Some(gateway.parse()?),
                }
                self.queue
                    .push(Request::add_route(&route, Exclusivity::Shared));
            }
            ["send"] => {
                let queue = std::mem::take(&mut self.queue);
                for reply in self.handle()?.batch(queue) {
                    reply?;
                }
            }
            _ => return Err("no such operation".into()),
        }
        Ok(())
    }

    /// The socket in the current namespace.
    fn handle(&self) -> Outcome<&Handle> {
        let handle = self.container.as_ref().or(self.host.as_ref());
        handle.ok_or_else(|| "no socket is open".into())
    }

    fn request(&self, request: Request<'_>) -> Outcome {
        self.handle()?.request(request)?;
        Ok(())
    }

    /// Deletes a link in a thread, until the kernel reports it gone. The call returns some RCU grace periods later.
    fn delete(&mut self, name: &str, waits: &mut Waits) -> Outcome {
        let handle = self.container.take().ok_or("no namespace was entered")?;
        let index = handle.link_by_name(name)?.index;
        let mut events = Handle::subscribe_links()?;
        thread::scope(|scope| {
            let deletion = scope.spawn(move || handle.request(Request::del_link_by_name(name)));
            let gone = events.wait(index, Instant::now() + DEADLINE, |_| false);
            waits
                .during(|| deletion.join())
                .map_err(|_| "the thread that deletes the link panicked")??;
            match gone {
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error.into()),
                Ok(_) => Err("the link still exists".into()),
            }
        })
    }

    fn set_up(&self, up: bool) -> Request<'static> {
        let change = LinkChange {
            up: Some(up),
            ..LinkChange::default()
        };
        Request::set_link(self.index, &change)
    }

    /// Creates a veth pair, both ends up: `name` here, with `is_port` as a port of the bridge that was found last, and
    /// `eth0` in `netns`.
    fn new_veth(&self, name: &str, netns: &str, is_port: bool) -> Outcome {
        let netns = File::open(netns)?;
        let peer = PeerSpec {
            name: "eth0".into(),
            netns: Some(netns.as_fd()),
            ..PeerSpec::default()
        };
        let mut link = LinkSpec::new(name, LinkKind::Veth(Veth { peer }));
        link.master = is_port.then_some(self.index);
        link.up = true;
        self.request(Request::new_link(&link))
    }

    /// Creates `eth0` of this kind in `netns`, on the link that was found last.
    fn new_link(&self, kind: &str, netns: &str) -> Outcome {
        let netns = File::open(netns)?;
        let kind = match kind {
            "macvlan" => LinkKind::Macvlan(Macvlan::default()),
            "ipvlan" => LinkKind::Ipvlan(Default::default()),
            "vlan" => LinkKind::Vlan(Vlan {
                id: 7,
                protocol: None,
            }),
            "dummy" => LinkKind::Dummy,
            _ => return Err("no such kind of link".into()),
        };
        let mut link = LinkSpec::new("eth0", kind);
        link.netns = Some(netns.as_fd());
        link.link = Some(self.index).filter(|index| *index != 0);
        self.request(Request::new_link(&link))
    }

    /// Moves the link that was found last to another namespace and renames it.
    fn move_link(&self, netns: &str, name: &str) -> Outcome {
        let netns = match netns {
            "home" => self.home.try_clone()?,
            path => File::open(path)?,
        };
        let change = LinkChange {
            netns: Some(netns.as_fd()),
            name: Some(name.into()),
            ..LinkChange::default()
        };
        self.request(Request::set_link(self.index, &change))
    }
}

/// Parses an address and its prefix length.
fn network(text: &str) -> Outcome<(IpAddr, u8)> {
    let (address, prefix) = text
        .split_once('/')
        .ok_or("an address lacks its prefix length")?;
    Ok((address.parse()?, prefix.parse()?))
}
