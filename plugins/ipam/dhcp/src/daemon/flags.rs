//! The command line of the daemon, upstream's.

use crate::config::SOCKET_PATH;
use crate::duration;
use crate::v4::client::Timing;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Help for `-h`.
pub(crate) const USAGE: &str = "\
usage: dhcp daemon [flags]
Keeps the DHCP leases of containers. Flags have one or two dashes, and take -flag value or
-flag=value:
  -socketpath PATH         socket to listen on (/run/cni/dhcp.sock)
  -hostprefix PATH         prefix of the socket's path and of the paths of network namespaces
  -pidfile PATH            file for the process ID, an absolute path
  -broadcast               ask servers to answer by broadcast
  -timeout DURATION        longest first wait for an answer, at most 4s are waited (10s)
  -resendmax DURATION      longest wait between two messages (62s)
  -resendtimeout DURATION  longest time to acquire a lease (208s)
A socket that systemd passes (LISTEN_FDS) is used in place of -socketpath.
";

/// The flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) pid_file: Option<PathBuf>,
    /// Prefix of the paths of the host.
    pub(crate) host_prefix: String,
    pub(crate) socket_path: String,
    pub(crate) broadcast: bool,
    timeout: Duration,
    resend_max: Duration,
    resend_timeout: Duration,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            pid_file: None,
            host_prefix: String::new(),
            socket_path: SOCKET_PATH.to_owned(),
            broadcast: false,
            timeout: Duration::from_secs(10),
            resend_max: Duration::from_secs(62),
            resend_timeout: Duration::from_secs(208),
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Run(Flags),
    Help,
}

impl Flags {
    /// Reads the arguments after `daemon`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(arguments: &[OsString]) -> Result<Line, String> {
        let mut flags = Flags::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let argument = argument.to_string_lossy();
            let Some(flag) = argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))
            else {
                return Err(format!("unexpected argument {argument}"));
            };
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "h" | "help" => return Ok(Line::Help),
                "broadcast" => flags.broadcast = boolean(given.as_deref())?,
                "pidfile" | "hostprefix" | "socketpath" | "timeout" | "resendmax"
                | "resendtimeout" => {
                    let next = || {
                        rest.next()
                            .map(|value| value.to_string_lossy().into_owned())
                    };
                    let value = given.or_else(next);
                    let value = value.ok_or_else(|| format!("flag needs an argument: -{name}"))?;
                    flags.set(name, value)?;
                }
                _ => return Err(format!("flag provided but not defined: -{name}")),
            }
        }
        Ok(Line::Run(flags))
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let duration = |value: &str| {
            let time = duration::parse(value);
            time.map_err(|why| format!("invalid value for flag -{name}: {why}"))
        };
        match name {
            "pidfile" => self.pid_file = Some(value.into()),
            "hostprefix" => self.host_prefix = value.trim_end_matches('/').to_owned(),
            "socketpath" => self.socket_path = value,
            "timeout" => self.timeout = duration(&value)?,
            "resendmax" => self.resend_max = duration(&value)?,
            _ => self.resend_timeout = duration(&value)?,
        }
        Ok(())
    }

    /// Returns the waits for answers. None is shorter than 10 ms, so that nothing can make
    /// the daemon flood the network.
    pub(crate) fn timing(&self) -> Timing {
        let shortest = Duration::from_millis(10);
        Timing {
            timeout: self.timeout.max(shortest),
            resend_max: self.resend_max.max(shortest),
            resend_timeout: self.resend_timeout,
        }
    }

    /// Returns the path of a file of the host.
    pub(crate) fn on_host(&self, path: &str) -> PathBuf {
        format!("{}{path}", self.host_prefix).into()
    }
}

/// Go's boolean flags: without a value they are true.
fn boolean(value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("invalid boolean value {other} for -broadcast")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Line, String> {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        Flags::parse(&words)
    }

    #[test]
    fn flags_are_upstreams() {
        assert_eq!(parse(""), Ok(Line::Run(Flags::default())));
        let all = "-pidfile /p --hostprefix=/host -socketpath=/s -broadcast -timeout 1s \
                   --resendmax 1m2s -resendtimeout=3s";
        let flags = Flags {
            pid_file: Some("/p".into()),
            host_prefix: "/host".into(),
            socket_path: "/s".into(),
            broadcast: true,
            timeout: Duration::from_secs(1),
            resend_max: Duration::from_secs(62),
            resend_timeout: Duration::from_secs(3),
        };
        assert_eq!(flags.on_host("/x"), PathBuf::from("/host/x"));
        assert_eq!(parse(all), Ok(Line::Run(flags)));
        assert_eq!(parse("-broadcast=false"), Ok(Line::Run(Flags::default())));
        assert_eq!(parse("-h"), Ok(Line::Help));
        for (line, part) in [
            ("x", "unexpected argument x"),
            ("-frob", "flag provided but not defined: -frob"),
            ("-pidfile", "flag needs an argument: -pidfile"),
            ("-timeout 5", "invalid value for flag -timeout"),
            ("-broadcast=x", "invalid boolean"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
