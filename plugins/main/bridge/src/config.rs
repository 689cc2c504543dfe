//! The configuration of the bridge plugin.

use cni_core::quote::quote;
use cni_core::skel::validate_if_name;
use cni_core::{Call, Code, Dns, Error, json};
use plugin_kit::dns::OwnDns;
use plugin_kit::link_options::{LinkOptions, Mtu};
use plugin_kit::mac::MacAddress;
use plugin_kit::{Masquerade, single_interface};
use serde::Deserialize;

use crate::ra_dhcp_guard::Guards;
use crate::trunk::TrunkElement;
use crate::vlan::{self, PortVlans};

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
    /// MTU of a new bridge and of both veth ends. Upstream takes a negative one for none.
    pub mtu: Mtu,
    /// Further options of both veth ends.
    pub link_options: LinkOptions,
    /// Frames may leave by the port they came in.
    pub hairpin_mode: bool,
    /// The bridge itself is promiscuous.
    pub promisc_mode: bool,
    /// IPv6 duplicate address detection on the container's interface.
    pub enable_dad: bool,
    /// The container's interface stays down.
    pub disable_container_interface: bool,
    /// The VLANs of the container's port; `None` without VLAN filtering.
    pub vlans: Option<PortVlans>,
    /// The port exchanges no frames with other isolated ports.
    pub port_isolation: bool,
    /// Packets of containers to other networks get an address of the host as their source.
    pub masquerade: Option<Masquerade>,
    /// Frames of the container with another source MAC address than its own are dropped.
    pub mac_spoof_check: bool,
    /// Frames of the container that are dropped because only routers and DHCP servers send
    /// them.
    pub guards: Guards,
    /// MAC address of the container's interface; `None` lets the kernel choose.
    pub mac: Option<MacAddress>,
    /// Replaces the DNS settings of the IPAM result if one of its members is given, be it an
    /// empty list.
    pub dns: Option<Dns>,
    /// CHECK puts back what is missing on the host before it compares.
    pub repair: bool,
}

/// The keys, before validation.
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
    mtu: Mtu,
    #[serde(default)]
    hairpin_mode: bool,
    #[serde(default)]
    promisc_mode: bool,
    #[serde(default)]
    enabledad: bool,
    #[serde(default)]
    disable_container_interface: bool,
    #[serde(default)]
    macspoofchk: bool,
    #[serde(default)]
    ra_guard: bool,
    #[serde(default)]
    dhcp_guard: bool,
    #[serde(default)]
    vlan: i64,
    vlan_trunk: Option<Vec<Option<TrunkElement>>>,
    #[serde(default)]
    preserve_default_vlan: bool,
    #[serde(default)]
    port_isolation: bool,
    #[serde(default)]
    dns: OwnDns,
    #[serde(default)]
    repair: bool,
    #[serde(default)]
    args: RawArgs,
    #[serde(default)]
    runtime_config: Mac,
}

fn default_bridge() -> String {
    "cni0".into()
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
    /// When a value is malformed or out of range, or keys contradict each other.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let raw = loaded.own;
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
        let vlans = vlan::validated(raw.vlan, raw.vlan_trunk, raw.preserve_default_vlan)?;
        let is_gateway = raw.is_gateway || raw.is_default_gateway;
        Ok(Config {
            bridge: raw.bridge,
            is_gateway,
            is_default_gateway: raw.is_default_gateway,
            force_address: raw.force_address,
            mtu: raw.mtu.non_negative().in_range()?,
            link_options: loaded.options,
            hairpin_mode: raw.hairpin_mode,
            promisc_mode: raw.promisc_mode,
            enable_dad: raw.enabledad,
            disable_container_interface: raw.disable_container_interface,
            vlans,
            port_isolation: raw.port_isolation,
            masquerade: Masquerade::load(call, "failed to load netconf")?,
            mac_spoof_check: raw.macspoofchk,
            guards: Guards {
                ra: raw.ra_guard,
                dhcp: raw.dhcp_guard,
            },
            mac: match mac.is_empty() {
                true => None,
                false => Some(mac.parse()?),
            },
            dns: raw.dns.given(),
            repair: raw.repair,
        })
    }
}

/// Whether a configuration may ask for the feature of `key`. DEL errs on the side of
/// looking again: a value of the wrong type counts as a yes.
pub(crate) fn may_ask_for(call: &Call, key: &str) -> bool {
    json::get(&call.conf, key).is_some_and(|given| given.as_bool() != Some(false))
}
