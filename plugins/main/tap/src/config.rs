//! What may be asked of the tap plugin.

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
    /// Several queues may be opened.
    pub multi_queue: bool,
    /// MTU of the link.
    pub mtu: Mtu,
    /// Further properties of the link.
    pub link_keys: LinkOptions,
    /// Hardware address of the link.
    pub mac: Option<MacAddress>,
    /// The user who may open the link; `None` is every privileged one.
    pub owner: Option<u32>,
    /// The group whose members may open the link.
    pub group: Option<u32>,
    /// The SELinux context that the link is created in.
    pub selinux_context: Option<String>,
    /// The bridge in the container that the link joins.
    pub bridge: Option<String>,
    /// The result's name service; IPAM's has no part in it.
    pub dns: Dns,
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Raw {
    multi_queue: bool,
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

impl Config {
    /// Decodes and validates the configuration of `call`, `CNI_ARGS` included.
    ///
    /// # Errors
    /// When something asked for is malformed or not supported.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let loaded = single_interface::load::<Raw>(call, "failed to load netconf")?;
        let raw = loaded.own;
        // Of several the last: what is written down, the operator's, the runtime's.
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
        if let Mtu::Bytes(bytes) = raw.mtu {
            u32::try_from(bytes)
                .map_err(|_| invalid(format!("mtu {bytes} is none that an interface has")))?;
        }
        if loaded.keys.num_queues != 0 {
            return Err(Error::new(
                Code::UNSUPPORTED_FIELD,
                "the tap plugin does not support \"numQueues\"",
            )
            .with_details("the program that opens the tap makes the queues; see \"multiQueue\"")
            .into());
        }
        Ok(Config {
            multi_queue: raw.multi_queue,
            mtu: raw.mtu,
            link_keys: loaded.keys,
            mac: given(mac).map(|mac| mac.parse()).transpose()?,
            owner: raw.owner,
            group: raw.group,
            selinux_context: given(raw.selinux_context),
            bridge,
            dns: loaded.common.dns,
        })
    }

    /// What is to be set on a new tap that joins `bridge`.
    ///
    /// # Errors
    /// When the host's way out is asked for and cannot be found out.
    pub(crate) fn properties(&self, bridge: Option<&Link>) -> anyhow::Result<LinkChange<'static>> {
        let given = |number: u32| (number != 0).then_some(number);
        let mtu = match self.mtu {
            // It was tested when it was loaded.
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
            txqlen: given(self.link_keys.tx_queue_len),
            gso_max_size: given(self.link_keys.gso_max_size),
            gro_max_size: given(self.link_keys.gro_max_size),
            ..LinkChange::default()
        })
    }
}

fn invalid(msg: String) -> Error {
    Error::new(Code::INVALID_NETWORK_CONFIG, msg)
}
