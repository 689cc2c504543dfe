//! Configuration of the tap plugin.

use cni_core::json;
use cni_core::quote::quote;
use cni_core::skel::validate_if_name;
use cni_core::{Call, Code, Dns, Error};
use plugin_kit::link_options::{LinkOptions, Mtu};
use plugin_kit::{MacAddress, parent, single_interface};
use rtnl::{Handle, Link, LinkChange};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// The configuration, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether a program may open several queues; `None` means no.
    pub multi_queue: Option<bool>,
    /// MTU of the link.
    pub mtu: Mtu,
    /// Link settings beyond upstream's.
    pub options: LinkOptions,
    /// Hardware address of the link.
    pub mac: Option<MacAddress>,
    /// UID that may open the link; `None` means privileged users only.
    pub owner: Option<u32>,
    /// GID that may open the link.
    pub group: Option<u32>,
    /// SELinux context to create the link in.
    pub selinux_context: Option<String>,
    /// The bridge in the container that the link becomes a port of.
    pub bridge: Option<String>,
    /// DNS settings of the result; those of IPAM are ignored.
    pub dns: Dns,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Raw {
    multi_queue: Option<bool>,
    mtu: Mtu,
    mac: String,
    owner: Option<u32>,
    group: Option<u32>,
    selinux_context: String,
    bridge: String,
    runtime_config: Mac,
    /// Must be an object, whatever is in it.
    #[serde(rename = "args")]
    _args: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mac {
    mac: String,
}

/// Returns whether the configuration asks for an SELinux context.
pub(crate) fn has_selinux_context(call: &Call) -> bool {
    json::get(&call.conf, "selinuxContext").is_some_and(|context| context != "")
}

impl Config {
    /// Decodes and validates the configuration of `call`, including `CNI_ARGS`.
    ///
    /// # Errors
    /// When a value is malformed or not supported.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let raw = loaded.own;
        // `runtimeConfig` has precedence over `CNI_ARGS`, and both over the key `mac`.
        let mut mac = raw.mac;
        if !call.args.is_empty() {
            let args = call.parse_args(&["MAC"])?;
            if let Some(given) = args.get("MAC").filter(|given| !given.is_empty()) {
                mac = given.to_owned();
            }
        }
        if !raw.runtime_config.mac.is_empty() {
            mac = raw.runtime_config.mac;
        }
        let given = |text: String| (!text.is_empty()).then_some(text);
        let bridge = given(raw.bridge);
        if let Some(bridge) = &bridge {
            validate_if_name(bridge).map_err(|e| {
                invalid(format!("invalid bridge name {}", quote(bridge)))
                    .with_details(e.to_string())
            })?;
        }
        if loaded.options.num_queues != 0 {
            return Err(Error::new(
                Code::UNSUPPORTED_FIELD,
                "the tap plugin does not support \"numQueues\"",
            )
            .with_details("the program that opens the tap makes the queues; see \"multiQueue\"")
            .into());
        }
        Ok(Config {
            multi_queue: raw.multi_queue,
            mtu: raw.mtu.in_range()?,
            options: loaded.options,
            mac: given(mac).map(|mac| mac.parse()).transpose()?,
            owner: raw.owner,
            group: raw.group,
            selinux_context: given(raw.selinux_context),
            bridge,
            dns: loaded.common.dns,
        })
    }

    /// The changes to a new tap, which becomes a port of `bridge`.
    ///
    /// # Errors
    /// When the MTU is `"auto"` and the host's links cannot be listed.
    pub(crate) fn properties(&self, bridge: Option<&Link>) -> anyhow::Result<LinkChange<'static>> {
        let given = |number: u32| (number != 0).then_some(number);
        let mtu = match self.mtu {
            // `load` has tested its range.
            Mtu::Bytes(bytes) => u32::try_from(bytes).ok().and_then(given),
            Mtu::Auto => {
                let egress = parent::egress_mtu(&Handle::open()?)?;
                egress.into_iter().chain(bridge.map(|b| b.mtu)).min()
            }
        };
        Ok(LinkChange {
            mtu,
            mac: self.mac.map(|mac| mac.0.to_vec()),
            master: bridge.map(|bridge| bridge.index),
            txqlen: given(self.options.tx_queue_len),
            gso_max_size: given(self.options.gso_max_size),
            gro_max_size: given(self.options.gro_max_size),
            ..LinkChange::default()
        })
    }
}

fn invalid(msg: String) -> Error {
    Error::new(Code::INVALID_NETWORK_CONFIG, msg)
}
