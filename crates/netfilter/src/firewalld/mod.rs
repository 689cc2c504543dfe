//! firewalld over D-Bus: the sources of zones.
//!
//! Changes are made in the runtime configuration, which a reload of firewalld discards.

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

/// Time limit of a call, libdbus' default.
const TIMEOUT: Duration = Duration::from_secs(25);

/// The signal after a reload.
const RELOADED: &str = "Reloaded";
/// How long one wait for it takes at most.
const RELOAD_WAIT: Duration = Duration::from_secs(86400);

/// A connection to firewalld on the system bus.
pub struct Firewalld {
    bus: Bus,
}

impl Firewalld {
    /// Connects to the system bus (`$DBUS_SYSTEM_BUS_ADDRESS`, or its usual socket).
    /// `None` if there is no bus, or firewalld is not running; it is not started.
    ///
    /// # Errors
    /// The bus refuses the connection, or does not answer within 25 seconds. Calls have
    /// the same time limit.
    pub fn find() -> Result<Option<Firewalld>, Error> {
        Firewalld::find_within(TIMEOUT)
    }

    fn find_within(timeout: Duration) -> Result<Option<Firewalld>, Error> {
        let mut bus = match Bus::connect(timeout) {
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

    /// Adds a source (`address/length`) to a zone; succeeds if it is in the zone already.
    ///
    /// # Errors
    /// firewalld's refusal: no such zone, or the source is in another zone.
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

    /// Removes a source from a zone; succeeds if it is not in the zone.
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

    /// Returns whether a source is in a zone.
    ///
    /// # Errors
    /// firewalld's refusal.
    pub fn query_source(&mut self, zone: &str, source: &str) -> Result<bool, Error> {
        match self.zone("querySource", zone, source)? {
            Some(Value::Bool(found)) => Ok(found),
            _ => Err(Error::new(
                Kind::Malformed {
                    problem: "no boolean",
                },
                "querySource",
            )),
        }
    }

    /// Asks the bus for the signal of reloads.
    ///
    /// # Errors
    /// The bus refuses, or does not answer.
    pub fn watch_reloads(&mut self) -> Result<(), Error> {
        let rule = format!("type='signal',interface='{SERVICE}',path='{PATH}',member='{RELOADED}'");
        self.bus.call(&Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "AddMatch",
            arguments: &[&rule],
        })?;
        Ok(())
    }

    /// Waits until firewalld has reloaded after [`Firewalld::watch_reloads`]; a reload since
    /// the last call counts.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn wait_for_reload(&mut self) -> Result<(), Error> {
        loop {
            match self.bus.wait_for_signal(RELOADED, RELOAD_WAIT) {
                Err(error) if error.is_timeout() => {}
                result => return result,
            }
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

/// Returns whether there is no bus at the address.
fn is_absent(error: &Error) -> bool {
    use nix::libc::{ECONNREFUSED, ENOENT};
    matches!(error.errno(), Some(ENOENT | ECONNREFUSED))
}

/// Returns whether an error of firewalld has this code, with which its text begins.
fn says(error: &Error, word: &str) -> bool {
    matches!(error.kind(), Kind::Bus { text, .. } if text.contains(word))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    const SOCKET: &str = "/run/dbus/system_bus_socket";

    /// A bus that sends `answers` in turn, each after it has read something, and then
    /// nothing more.
    fn misbehaving(answers: &'static [&'static [u8]]) {
        fs::create_dir_all("/run/dbus").unwrap();
        let _ = fs::remove_file(SOCKET);
        let listener = UnixListener::bind(SOCKET).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            for answer in answers {
                let _ = stream.read(&mut buffer);
                let _ = stream.write_all(answer);
            }
            // Until the client closes.
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
    }

    #[test]
    fn a_bus_that_misbehaves_is_an_error_in_time() {
        let _host = testkit::Host::new();
        let begin = Instant::now();
        let find = || Firewalld::find_within(Duration::from_millis(300));
        let error = |answers| {
            misbehaving(answers);
            find().err().expect("an error")
        };
        assert!(error(&[]).is_timeout());
        assert!(error(&[b"OK"]).is_timeout());
        assert!(error(&[b"OK 1234\r\n"]).is_timeout());
        let refused = error(&[b"REJECTED EXTERNAL\r\n"]);
        assert!(
            refused.to_string().contains("REJECTED EXTERNAL"),
            "{refused}"
        );
        let endless = error(&[&[b'x'; 4000]]);
        assert!(endless.to_string().contains("endless"), "{endless}");
        let garbage = error(&[b"OK 1234\r\n", &[b'l'; 4096]]);
        assert!(
            garbage.to_string().contains("invalid D-Bus message"),
            "{garbage}"
        );
        assert!(begin.elapsed() < Duration::from_secs(10));
        // A socket without a listener.
        fs::remove_file(SOCKET).unwrap();
        drop(UnixListener::bind(SOCKET).unwrap());
        assert!(find().unwrap().is_none());
    }
}
