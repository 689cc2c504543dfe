//! The key `ipv6` of the configuration.

use cni_core::quote::quote;
use cni_core::{Code, Error, json};
use serde::Deserialize;
use serde_json::Value;

/// Where IPv6 addresses come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Router advertisements say: DHCPv6 with the M flag, prefixes with the A flag.
    #[default]
    Auto,
    /// DHCPv6, whatever routers say.
    Dhcp,
    /// Prefixes of router advertisements; DHCPv6 only for other information, with the O flag.
    Slaac,
}

/// Validated settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    /// Whether a server may answer a Solicit with a lease at once.
    pub(crate) rapid_commit: bool,
    /// Whether addresses are probed before use.
    pub(crate) dad: bool,
    /// Prefix length of DHCPv6 addresses, which DHCPv6 does not transport.
    pub(crate) prefix_length: u8,
    /// Whether ADD fails without an IPv6 address.
    pub(crate) required: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    mode: String,
    rapid_commit: Option<bool>,
    dad: Option<bool>,
    prefix_length: Option<i64>,
    required: Option<bool>,
}

impl Settings {
    /// Reads the value of `ipv6`: `true` or an object for IPv6, `false` for none.
    ///
    /// # Errors
    ///
    /// When a value has the wrong type or is out of range.
    pub(crate) fn load(value: &Value) -> Result<Option<Settings>, Error> {
        let raw: Raw = match value {
            Value::Null | Value::Bool(false) => return Ok(None),
            Value::Bool(true) => Raw::default(),
            object => json::decode(object).map_err(|error| refused(&error.to_string()))?,
        };
        let mode = match raw.mode.as_str() {
            "" | "auto" => Mode::Auto,
            "dhcp" => Mode::Dhcp,
            "slaac" => Mode::Slaac,
            other => {
                let found = quote(other);
                return Err(refused(&format!(
                    "mode {found} is none of \"auto\", \"dhcp\" and \"slaac\""
                )));
            }
        };
        let given = raw.prefix_length.unwrap_or(128);
        let prefix_length = u8::try_from(given).ok().filter(|n| (1..=128).contains(n));
        let prefix_length = prefix_length
            .ok_or_else(|| refused(&format!("prefixLength {given} is out of range (1 to 128)")))?;
        Ok(Some(Settings {
            mode,
            rapid_commit: raw.rapid_commit.unwrap_or(true),
            dad: raw.dad.unwrap_or(true),
            prefix_length,
            required: raw.required.unwrap_or(true),
        }))
    }
}

fn refused(why: &str) -> Error {
    Error::new(Code::INVALID_NETWORK_CONFIG, format!("ipam.ipv6: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_validated() {
        assert_eq!(Settings::load(&json!(false)), Ok(None));
        let all = Settings::load(&json!(true)).expect("valid").expect("IPv6");
        assert_eq!((all.mode, all.prefix_length), (Mode::Auto, 128));
        assert!(all.rapid_commit && all.dad && all.required);
        let given = json!({"Mode": "dhcp", "rapidCommit": false, "prefixLength": 64});
        let given = Settings::load(&given).expect("valid").expect("IPv6");
        assert_eq!((given.mode, given.prefix_length), (Mode::Dhcp, 64));
        assert!(!given.rapid_commit);
        for bad in [
            json!({"mode": "radvd"}),
            json!({"prefixLength": 129}),
            json!({"prefixLength": 0}),
            json!({"dad": 1}),
            json!("auto"),
            json!([]),
        ] {
            let error = Settings::load(&bad).expect_err("invalid");
            assert!(error.to_string().contains("ipam.ipv6"), "{bad}: {error}");
        }
    }
}
