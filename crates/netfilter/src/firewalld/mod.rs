//! firewalld over D-Bus: which zone the packets of a source belong to.
//!
//! Changes are of the running configuration, and lost when firewalld reloads.

mod address;
mod bus;
mod wire;

use std::time::Duration;

use crate::error::{Error, Kind};
use bus::Bus;
use wire::{Call, Value};

const SERVICE: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const ZONE_INTERFACE: &str = "org.fedoraproject.FirewallD1.zone";

/// How long a call may take, that of libdbus.
const PATIENCE: Duration = Duration::from_secs(25);

/// A connection to the system bus that firewalld is on.
pub struct Firewalld {
    bus: Bus,
}

impl Firewalld {
    /// Connects to the system bus (`$DBUS_SYSTEM_BUS_ADDRESS`, else its usual
    /// place) and asks whether firewalld is on it. `None` if there is no bus, or
    /// no firewalld: it is not started for the asking.
    ///
    /// # Errors
    /// A bus that is there but does not serve us; a timeout if it does not
    /// answer within 25 seconds, nor later calls.
    pub fn find() -> Result<Option<Firewalld>, Error> {
        Firewalld::find_within(PATIENCE)
    }

    /// As [`Firewalld::find`], with another deadline, that of later calls, too.
    ///
    /// # Errors
    /// As [`Firewalld::find`].
    pub fn find_within(patience: Duration) -> Result<Option<Firewalld>, Error> {
        let mut bus = match Bus::connect(patience) {
            Ok(bus) => bus,
            Err(error) if is_absent(&error) => {
                log::debug!("no system bus: {error}");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let owner = bus.call(&Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "GetNameOwner",
            arguments: &[SERVICE],
        });
        match owner {
            Ok(_) => Ok(Some(Firewalld { bus })),
            Err(error) if error.bus_error() == Some(NO_OWNER) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a source (`address/length`) into a zone; one that is in it already
    /// stays.
    ///
    /// # Errors
    /// firewalld's refusal: no such zone, a source that is in another one.
    pub fn add_source(&mut self, zone: &str, source: &str) -> Result<(), Error> {
        #[cfg(feature = "fault-injection")]
        if let Some(error) = rtnl::netlink::injected_fault("add source") {
            return Err(error.into());
        }
        match self.zone("addSource", zone, source) {
            Err(error) if says(&error, "ZONE_ALREADY_SET") => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Takes a source out of a zone; one that is not in it stays out.
    ///
    /// # Errors
    /// firewalld's refusal.
    pub fn remove_source(&mut self, zone: &str, source: &str) -> Result<(), Error> {
        #[cfg(feature = "fault-injection")]
        if let Some(error) = rtnl::netlink::injected_fault("remove source") {
            return Err(error.into());
        }
        match self.zone("removeSource", zone, source) {
            Err(error) if says(&error, "UNKNOWN_SOURCE") => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Whether a source is in a zone.
    ///
    /// # Errors
    /// firewalld's refusal.
    pub fn query_source(&mut self, zone: &str, source: &str) -> Result<bool, Error> {
        match self.zone("querySource", zone, source)? {
            Some(Value::Bool(found)) => Ok(found),
            _ => Err(Error::new(
                Kind::Malformed {
                    problem: "no truth value",
                },
                "querySource",
            )),
        }
    }

    fn zone(&mut self, member: &str, zone: &str, source: &str) -> Result<Option<Value>, Error> {
        self.bus.call(&Call {
            destination: SERVICE,
            path: PATH,
            interface: ZONE_INTERFACE,
            member,
            arguments: &[zone, source],
        })
    }
}

const NO_OWNER: &str = "org.freedesktop.DBus.Error.NameHasNoOwner";

/// Whether nobody listens there.
fn is_absent(error: &Error) -> bool {
    use nix::libc::{ECONNREFUSED, ENOENT};
    matches!(error.errno(), Some(ENOENT | ECONNREFUSED))
}

/// firewalld tells its errors apart by the begin of their text alone.
fn says(error: &Error, word: &str) -> bool {
    matches!(error.kind(), Kind::Bus { text, .. } if text.contains(word))
}
