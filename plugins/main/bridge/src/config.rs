//! What may be asked of the bridge plugin.

use anyhow::Context;
use cni_core::quote::quote;
use cni_core::skel::validate_if_name;
use cni_core::types::NetConf;
use cni_core::{Call, Code, Dns, Error};
use plugin_kit::mac::MacAddress;
use serde::Deserialize;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the bridge.
    pub bridge: String,
    /// The bridge carries the gateway addresses and the host forwards.
    pub is_gateway: bool,
    /// A default route through the gateway, per address family.
    pub is_default_gateway: bool,
    /// A conflicting address on the bridge is replaced.
    pub force_address: bool,
    /// MTU in bytes of a new bridge and of both veth ends; `None` leaves it to the kernel.
    pub mtu: Option<u32>,
    /// Frames may leave by the port they came in.
    pub hairpin_mode: bool,
    /// The bridge itself is promiscuous.
    pub promisc_mode: bool,
    /// IPv6 duplicate address detection on the container's interface.
    pub enable_dad: bool,
    /// The container's interface stays down.
    pub disable_container_interface: bool,
    /// Hardware address of the container's interface.
    pub mac: Option<MacAddress>,
    /// Replaces the IPAM result's name service when a member is given, an empty
    /// list included.
    pub dns: Option<Dns>,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default = "default_bridge")]
    bridge: String,
    #[serde(default)]
    is_gateway: bool,
    #[serde(default)]
    is_default_gateway: bool,
    #[serde(default)]
    force_address: bool,
    #[serde(default)]
    mtu: i64,
    #[serde(default)]
    hairpin_mode: bool,
    #[serde(default)]
    promisc_mode: bool,
    #[serde(default)]
    enabledad: bool,
    #[serde(default)]
    disable_container_interface: bool,
    #[serde(default)]
    ip_masq: bool,
    #[serde(default)]
    macspoofchk: bool,
    #[serde(default)]
    vlan: i64,
    vlan_trunk: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    preserve_default_vlan: bool,
    #[serde(default)]
    port_isolation: bool,
    #[serde(default)]
    dns: RawDns,
    #[serde(default)]
    args: RawArgs,
    #[serde(default)]
    runtime_config: Mac,
}

fn default_bridge() -> String {
    "cni0".into()
}

/// `dns` with "not given" and "given, but empty" kept apart.
#[derive(Default, Deserialize)]
struct RawDns {
    nameservers: Option<Vec<String>>,
    #[serde(default)]
    domain: String,
    search: Option<Vec<String>>,
    options: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct RawArgs {
    #[serde(default)]
    cni: Mac,
}

#[derive(Default, Deserialize)]
struct Mac {
    #[serde(default)]
    mac: String,
}

impl Config {
    /// Decodes and validates the configuration of `call`, `CNI_ARGS` included.
    ///
    /// # Errors
    /// When something asked for is malformed, contradictory, or not supported.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        // The keys of every plugin: an "ipam" of the wrong type must not pass for none.
        call.config::<NetConf>().context("failed to load netconf")?;
        let raw: Raw = call.config().context("failed to load netconf")?;
        let mut mac = raw.args.cni.mac.clone();
        if !call.args.is_empty() {
            let args = call.parse_args(&["MAC"])?;
            if mac.is_empty() {
                mac = args.get("MAC").unwrap_or_default().to_owned();
            }
        }
        if !raw.runtime_config.mac.is_empty() {
            mac = raw.runtime_config.mac.clone();
        }
        raw.refuse_unsupported()?;
        validate_if_name(&raw.bridge).map_err(|e| {
            let msg = format!("invalid bridge name {}", quote(&raw.bridge));
            Error::new(Code::INVALID_NETWORK_CONFIG, msg).with_details(e.to_string())
        })?;
        if call.ipam_type().is_some() && raw.disable_container_interface {
            anyhow::bail!("cannot use IPAM when DisableContainerInterface flag is set");
        }
        if raw.hairpin_mode && raw.promisc_mode {
            anyhow::bail!("cannot set hairpin mode and promiscuous mode at the same time");
        }
        Ok(Config {
            bridge: raw.bridge,
            is_gateway: raw.is_gateway || raw.is_default_gateway,
            is_default_gateway: raw.is_default_gateway,
            force_address: raw.force_address,
            mtu: mtu(raw.mtu)?,
            hairpin_mode: raw.hairpin_mode,
            promisc_mode: raw.promisc_mode,
            enable_dad: raw.enabledad,
            disable_container_interface: raw.disable_container_interface,
            mac: match mac.is_empty() {
                true => None,
                false => Some(mac.parse()?),
            },
            dns: raw.dns.given(),
        })
    }
}

/// Zero and negative mean "not given", as upstream has it.
fn mtu(mtu: i64) -> anyhow::Result<Option<u32>> {
    if mtu <= 0 {
        return Ok(None);
    }
    let mtu = u32::try_from(mtu).map_err(|_| {
        Error::new(
            Code::INVALID_NETWORK_CONFIG,
            format!("mtu {mtu} is beyond what an interface has"),
        )
    })?;
    Ok(Some(mtu))
}

impl Raw {
    /// What this version does not do is refused, never silently left out.
    fn refuse_unsupported(&self) -> Result<(), Error> {
        let refuse = |key: &str| {
            Err(Error::new(
                Code::UNSUPPORTED_FIELD,
                format!(
                    "the bridge plugin does not support \"{key}\" yet; remove it from the configuration"
                ),
            ))
        };
        match () {
            () if self.ip_masq => refuse("ipMasq"),
            () if self.macspoofchk => refuse("macspoofchk"),
            () if self.vlan != 0 => refuse("vlan"),
            () if self.vlan_trunk.is_some() => refuse("vlanTrunk"),
            () if self.preserve_default_vlan => refuse("preserveDefaultVlan"),
            () if self.port_isolation => refuse("portIsolation"),
            () => Ok(()),
        }
    }
}

impl RawDns {
    fn given(self) -> Option<Dns> {
        let given = self.nameservers.is_some()
            || !self.domain.is_empty()
            || self.search.is_some()
            || self.options.is_some();
        given.then(|| Dns {
            nameservers: self.nameservers.unwrap_or_default(),
            domain: self.domain,
            search: self.search.unwrap_or_default(),
            options: self.options.unwrap_or_default(),
        })
    }
}
