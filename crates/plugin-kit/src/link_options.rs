//! Link options that upstream does not have: queue and offload settings, an automatic MTU,
//! and the MTU in results.

use crate::parent;
use anyhow::bail;
use cni_core::{Call, Code, Error as CniError, Interface, Version};
use rtnl::{Handle, Link, LinkSpec};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The key `mtu`: a number, or `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mtu {
    /// Bytes, as configured; 0 selects the kernel's default.
    Bytes(i64),
    /// The MTU of the default route.
    Auto,
}

impl Default for Mtu {
    fn default() -> Self {
        Mtu::Bytes(0)
    }
}

impl<'de> Deserialize<'de> for Mtu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Mtu;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or \"auto\"")
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Mtu, E> {
                Ok(Mtu::Bytes(bytes))
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Mtu, E> {
                let bytes = i64::try_from(bytes);
                bytes.map(Mtu::Bytes).map_err(|_| E::custom("out of range"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Mtu, E> {
                match text {
                    "auto" => Ok(Mtu::Auto),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer
            .deserialize_any(Either)
            .map_err(D::Error::custom)
    }
}

impl Mtu {
    /// The smallest and the largest MTU of an interface in bytes, `ETH_MIN_MTU` and
    /// `ETH_MAX_MTU` of linux/if_ether.h.
    const RANGE: std::ops::RangeInclusive<i64> = 68..=65535;

    /// Returns the MTU, with a negative number replaced by 0.
    #[must_use]
    pub fn non_negative(self) -> Mtu {
        match self {
            Mtu::Bytes(bytes) => Mtu::Bytes(bytes.max(0)),
            Mtu::Auto => Mtu::Auto,
        }
    }

    /// Returns the MTU if it is in the range of Ethernet interfaces.
    ///
    /// # Errors
    /// Code 7 if it is not, with the range.
    pub fn in_range(self) -> Result<Mtu, CniError> {
        match self {
            Mtu::Bytes(bytes) if bytes != 0 && !Mtu::RANGE.contains(&bytes) => {
                let (min, max) = Mtu::RANGE.into_inner();
                let msg = format!("mtu {bytes} is out of range ({min} to {max})");
                Err(CniError::new(Code::INVALID_NETWORK_CONFIG, msg))
            }
            mtu => Ok(mtu),
        }
    }

    /// Returns the MTU in bytes of a new link on `master`; with `None` the kernel copies
    /// that of the master. `handle` is a socket in the master's namespace.
    ///
    /// # Errors
    /// For a number that is negative or exceeds the master's MTU.
    pub fn on(self, handle: &Handle, master: &Link) -> anyhow::Result<Option<u32>> {
        match self {
            Mtu::Bytes(0) => Ok(None),
            Mtu::Bytes(bytes) => match u32::try_from(bytes) {
                Ok(mtu) if mtu <= master.mtu => Ok(Some(mtu)),
                _ => bail!(
                    "invalid MTU {bytes}, must be [0, master MTU({})]",
                    master.mtu
                ),
            },
            Mtu::Auto => Ok(Some(parent::path_mtu(handle, master)?)),
        }
    }

    /// Compares the MTU of the container's interface with the recorded one, or with the
    /// configured one if none is recorded. The recorded one takes precedence, since a later
    /// plugin of the chain may have changed it. Without a configured MTU any is accepted,
    /// since it follows that of the master.
    ///
    /// # Errors
    /// When they differ.
    pub fn check(self, recorded: &Interface, link: &Link) -> anyhow::Result<()> {
        let wanted = match self {
            Mtu::Bytes(bytes) if bytes <= 0 => return Ok(()),
            _ if recorded.mtu > 0 => recorded.mtu,
            Mtu::Bytes(bytes) => bytes,
            Mtu::Auto => return Ok(()),
        };
        if i64::from(link.mtu) != wanted {
            bail!(
                "Error: Tuning configured MTU of {} is {wanted}, current value is {}",
                link.name,
                link.mtu
            );
        }
        Ok(())
    }
}

/// Options of a new link. 0 stands for an absent key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinkOptions {
    /// `txQueueLen`: length of the transmit queue in packets.
    pub tx_queue_len: u32,
    /// `numQueues`: number of transmit and of receive queues.
    pub num_queues: u32,
    /// `gsoMaxSize`: largest segmentation-offload packet sent, in bytes.
    pub gso_max_size: u32,
    /// `groMaxSize`: largest receive-offload packet built, in bytes.
    pub gro_max_size: u32,
}

impl LinkOptions {
    /// Adds the options to the specification of a new link.
    pub fn apply(&self, spec: &mut LinkSpec<'_>) {
        let given = |number: u32| (number != 0).then_some(number);
        spec.txqlen = given(self.tx_queue_len);
        spec.num_tx_queues = given(self.num_queues);
        spec.num_rx_queues = given(self.num_queues);
        spec.gso_max_size = given(self.gso_max_size);
        spec.gro_max_size = given(self.gro_max_size);
    }

    /// Compares a link with the options, except for the number of receive queues, which a
    /// kernel without SMP does not report.
    ///
    /// # Errors
    /// The first option that differs, with its key.
    pub fn check(&self, link: &Link) -> anyhow::Result<()> {
        for (key, wanted, present) in [
            ("txQueueLen", self.tx_queue_len, link.txqlen),
            ("numQueues", self.num_queues, link.num_tx_queues),
            ("gsoMaxSize", self.gso_max_size, link.gso_max_size),
            ("groMaxSize", self.gro_max_size, link.gro_max_size),
        ] {
            if wanted != 0 && present != wanted {
                bail!(
                    "Interface {} has {present} where {key} is {wanted}",
                    link.name
                );
            }
        }
        Ok(())
    }
}

/// Returns `link` as an interface of a result, in `sandbox` (empty for the host). The MTU
/// is included from specification 1.1.0 on, the first that has a key for it.
pub fn interface(call: &Call, link: &Link, sandbox: String) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.mac_string(),
        mtu: match call.version >= Version::V1_1_0 {
            true => link.mtu.into(),
            false => 0,
        },
        sandbox,
        ..Interface::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cni_core::json;

    #[derive(Debug, Deserialize)]
    struct Conf {
        #[serde(default)]
        mtu: Mtu,
    }

    fn decode(text: &str) -> Result<Mtu, String> {
        let document = json::parse(text.as_bytes()).unwrap();
        let conf: Result<Conf, _> = json::decode(&document);
        conf.map(|conf| conf.mtu).map_err(|e| e.to_string())
    }

    #[test]
    fn mtu_is_a_number_or_auto() {
        assert_eq!(decode("{}"), Ok(Mtu::Bytes(0)));
        assert_eq!(decode(r#"{"mtu": null}"#), Ok(Mtu::Bytes(0)));
        assert_eq!(decode(r#"{"MTU": 1400}"#), Ok(Mtu::Bytes(1400)));
        assert_eq!(decode(r#"{"mtu": -1}"#), Ok(Mtu::Bytes(-1)));
        assert_eq!(decode(r#"{"mtu": "auto"}"#), Ok(Mtu::Auto));
        for (text, error) in [
            (r#""1500""#, r#"expected an integer or "auto", got "1500""#),
            ("true", r#"expected an integer or "auto", got bool"#),
            ("1500.0", r#"expected an integer or "auto", got number"#),
            ("18446744073709551615", "out of range"),
        ] {
            let got = decode(&format!(r#"{{"mtu": {text}}}"#)).unwrap_err();
            assert_eq!(got, format!("mtu: {error}"));
        }
    }

    #[test]
    fn the_recorded_mtu_takes_precedence() {
        let link = |mtu| Link {
            name: "eth0".into(),
            mtu,
            ..Link::default()
        };
        let recorded = |mtu| Interface {
            mtu,
            ..Interface::default()
        };
        assert!(Mtu::Bytes(0).check(&recorded(1500), &link(1400)).is_ok());
        assert!(Mtu::Auto.check(&recorded(0), &link(1400)).is_ok());
        assert!(Mtu::Auto.check(&recorded(1500), &link(1400)).is_err());
        assert!(Mtu::Bytes(1500).check(&recorded(0), &link(1400)).is_err());
        assert!(Mtu::Bytes(1500).check(&recorded(1400), &link(1400)).is_ok());
    }
}
