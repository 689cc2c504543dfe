//! Tables and chains: what they are called and how they are hooked in.

/// Address family of a table (`NFPROTO_*`, `linux/netfilter.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// Frames that pass a bridge.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

impl Family {
    /// The name that `nft` has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Bridge => "bridge",
            Family::Ip6 => "ip6",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Family> {
        [Family::Inet, Family::Ip, Family::Bridge, Family::Ip6]
            .into_iter()
            .find(|family| *family as u8 == number)
    }
}

/// A table, by its name.
///
/// A plain value: nothing is created by making one. Those that are known when
/// the program is built are best written as constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table<'a> {
    /// Its family.
    pub family: Family,
    /// Its name, 255 bytes at most.
    pub name: &'a str,
    /// What `nft` shows as its comment, 128 bytes at most. Kernels before 5.10
    /// do not keep it.
    pub comment: Option<&'a str>,
}

impl<'a> Table<'a> {
    /// The table `name` of a family.
    #[must_use]
    pub const fn new(family: Family, name: &'a str) -> Table<'a> {
        Table {
            family,
            name,
            comment: None,
        }
    }

    /// With a comment, given to it when it is created.
    #[must_use]
    pub const fn with_comment(mut self, comment: &'a str) -> Table<'a> {
        self.comment = Some(comment);
        self
    }

    /// A chain of this table that only rules lead to.
    #[must_use]
    pub const fn chain(self, name: &'a str) -> Chain<'a> {
        Chain {
            table: self,
            name,
            base: None,
            comment: None,
        }
    }

    /// A chain of this table that the kernel enters by itself.
    #[must_use]
    pub const fn base_chain(
        self,
        name: &'a str,
        kind: ChainType,
        hook: Hook,
        priority: i32,
    ) -> Chain<'a> {
        Chain {
            table: self,
            name,
            base: Some(Base {
                kind,
                hook,
                priority,
                policy: None,
            }),
            comment: None,
        }
    }
}

/// A chain, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain<'a> {
    /// The table it is in.
    pub table: Table<'a>,
    /// Its name, 255 bytes at most.
    pub name: &'a str,
    /// How the kernel enters it; `None` if only rules lead to it.
    pub base: Option<Base>,
    /// What `nft` shows as its comment, 128 bytes at most. Kernels before 5.10
    /// do not keep it.
    pub comment: Option<&'a str>,
}

impl<'a> Chain<'a> {
    /// With a comment, given to it when it is created.
    #[must_use]
    pub const fn with_comment(mut self, comment: &'a str) -> Chain<'a> {
        self.comment = Some(comment);
        self
    }

    /// With a policy; without effect on a chain that is no base chain. Sent
    /// only if given: the kernel's own is to accept.
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Chain<'a> {
        if let Some(base) = &mut self.base {
            base.policy = Some(policy);
        }
        self
    }
}

/// How the kernel enters a base chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Base {
    /// What the chain may do.
    pub kind: ChainType,
    /// Where packets enter it.
    pub hook: Hook,
    /// Its place among the chains of the hook, low ones first
    /// (`NF_IP_PRI_*`, `NF_BR_PRI_*`).
    pub priority: i32,
    /// What happens to a packet that no rule decided on.
    pub policy: Option<Policy>,
}

/// What a base chain may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainType {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees the first packet of a connection only.
    Nat,
}

impl ChainType {
    /// The kernel's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        }
    }
}

/// Where packets enter a base chain (`NF_INET_*`, `NF_BR_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Hook {
    /// As they come in.
    Prerouting = 0,
    /// Addressed to this host.
    Input = 1,
    /// On their way through this host.
    Forward = 2,
    /// Made by this host.
    Output = 3,
    /// As they go out.
    Postrouting = 4,
}

impl Hook {
    pub(crate) fn from_number(number: u32) -> Option<Hook> {
        [
            Hook::Prerouting,
            Hook::Input,
            Hook::Forward,
            Hook::Output,
            Hook::Postrouting,
        ]
        .into_iter()
        .find(|hook| *hook as u32 == number)
    }
}

/// What happens to a packet that no rule of a base chain decided on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Policy {
    /// It is dropped.
    Drop = 0,
    /// It goes on.
    Accept = 1,
}
