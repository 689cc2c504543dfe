//! Tables and chains.

/// Address family of a table (`NFPROTO_*`, `linux/netfilter.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// Frames on a bridge.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

impl Family {
    /// Returns the name in `nft`.
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
/// A plain value that creates nothing; best defined as a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table<'a> {
    /// The family.
    pub family: Family,
    /// The name, at most 255 bytes.
    pub name: &'a str,
    /// The comment, at most 128 bytes. Kernels before 5.10 do not keep it.
    pub comment: Option<&'a str>,
}

impl<'a> Table<'a> {
    /// Returns the table `name` of a family.
    #[must_use]
    pub const fn new(family: Family, name: &'a str) -> Table<'a> {
        Table {
            family,
            name,
            comment: None,
        }
    }

    /// Adds a comment, which the table gets when it is created.
    #[must_use]
    pub const fn with_comment(mut self, comment: &'a str) -> Table<'a> {
        self.comment = Some(comment);
        self
    }

    /// Returns a regular chain of this table.
    #[must_use]
    pub const fn chain(self, name: &'a str) -> Chain<'a> {
        Chain {
            table: self,
            name,
            base: None,
            comment: None,
        }
    }

    /// Returns a base chain of this table, which is attached to a hook.
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
    /// The table.
    pub table: Table<'a>,
    /// The name, at most 255 bytes.
    pub name: &'a str,
    /// Type, hook and priority of a base chain; `None` for a regular chain.
    pub base: Option<Base>,
    /// The comment, at most 128 bytes. Kernels before 5.10 do not keep it.
    pub comment: Option<&'a str>,
}

impl<'a> Chain<'a> {
    /// Adds a comment, which the chain gets when it is created.
    #[must_use]
    pub const fn with_comment(mut self, comment: &'a str) -> Chain<'a> {
        self.comment = Some(comment);
        self
    }

    /// Sets the policy of a base chain; the kernel's default is to accept.
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Chain<'a> {
        if let Some(base) = &mut self.base {
            base.policy = Some(policy);
        }
        self
    }
}

/// Type, hook, priority and policy of a base chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Base {
    /// The type.
    pub kind: ChainType,
    /// The hook.
    pub hook: Hook,
    /// The priority among the chains of the hook, lowest first (`NF_IP_PRI_*`,
    /// `NF_BR_PRI_*`).
    pub priority: i32,
    /// The verdict for packets that no rule decides on.
    pub policy: Option<Policy>,
}

/// The type of a base chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainType {
    /// `filter`: accepts and drops packets.
    Filter,
    /// `nat`: translates addresses; only the first packet of a connection passes it.
    Nat,
}

impl ChainType {
    /// Returns the kernel's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        }
    }
}

/// The hook of a base chain (`NF_INET_*`, `NF_BR_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Hook {
    /// Received packets, before routing.
    Prerouting = 0,
    /// Packets for this host.
    Input = 1,
    /// Forwarded packets.
    Forward = 2,
    /// Packets of this host.
    Output = 3,
    /// Outgoing packets, after routing.
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

/// The policy of a base chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Policy {
    /// Drop the packet.
    Drop = 0,
    /// Accept the packet.
    Accept = 1,
}
