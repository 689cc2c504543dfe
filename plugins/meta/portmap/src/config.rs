//! The configuration of the portmap plugin.

use crate::conditions::{self, Conditions};
use crate::mapping::{self, Mapping, RawMapping};
use anyhow::{Context, anyhow, bail};
use cni_core::quote::quote;
use cni_core::{Call, json};
use netfilter::backend::Backend;
use serde::Deserialize;
use serde_json::Value;

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `backend`, or else the one that other keys ask for; `None` leaves the choice to
    /// the plugin.
    pub backend: Option<Backend>,
    /// `rules`: how mappings are stored in nftables.
    pub form: Form,
    /// `snat`: whether connections are masqueraded whose answers would not pass the
    /// host otherwise: from localhost and from the container's own network.
    pub snat: bool,
    /// `masqAll`: whether all mapped connections are masqueraded; needs `snat`.
    pub masq_all: bool,
    /// `markMasqBit` as a mark: iptables masquerades packets that have it.
    pub mark: u32,
    /// `externalSetMarkChain`: another program's chain that marks packets to
    /// masquerade, in place of the plugin's own. iptables only.
    pub set_mark_chain: Option<String>,
    /// `conditionsV4`: additional matches, in the language of the backend.
    pub conditions_v4: Vec<String>,
    /// `conditionsV6`, likewise.
    pub conditions_v6: Vec<String>,
    /// `runtimeConfig.portMappings`.
    pub mappings: Vec<Mapping>,
}

/// How mappings are stored in nftables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A rule for each mapping, as with upstream.
    Rules,
    /// A map element for each mapping.
    Map,
}

/// The configuration as it is decoded.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    backend: Option<String>,
    rules: Option<String>,
    snat: Option<bool>,
    masq_all: bool,
    mark_masq_bit: Option<i64>,
    external_set_mark_chain: Option<String>,
    conditions_v4: Option<Vec<String>>,
    conditions_v6: Option<Vec<String>>,
    runtime_config: RuntimeConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    port_mappings: Vec<RawMapping>,
}

const DEFAULT_MARK_BIT: i64 = 13;

impl Config {
    /// Decodes and validates the configuration of `call`.
    ///
    /// # Errors
    /// If a value is invalid, unknown or contradicts another one; the text names the
    /// key.
    pub fn load(call: &Call) -> anyhow::Result<Config> {
        let raw: Raw = call
            .config()
            .context("failed to parse network configuration")?;
        let named = |name| {
            Backend::from_name(name).ok_or_else(|| anyhow!("unrecognized backend {}", quote(name)))
        };
        let backend = raw.backend.as_deref().map(named).transpose()?;
        let form = match raw.rules.as_deref() {
            None | Some("rules") => Form::Rules,
            Some("map") => Form::Map,
            Some(other) => bail!(
                "unrecognized rules {}: it must be \"rules\" or \"map\"",
                quote(other)
            ),
        };
        if raw.external_set_mark_chain.is_some() && raw.mark_masq_bit.is_some() {
            bail!("Cannot specify externalSetMarkChain and markMasqBit");
        }
        if let Some(name) = &raw.external_set_mark_chain
            && !is_chain_name(name)
        {
            bail!(
                "externalSetMarkChain {} is not a valid chain name: \
                 use 1 to {CHAIN_MAX} printable characters without blanks",
                quote(name)
            );
        }
        let bit = raw.mark_masq_bit.unwrap_or(DEFAULT_MARK_BIT);
        let bit = u32::try_from(bit).ok().filter(|bit| *bit < 32);
        let bit = bit.context("MasqMarkBit must be between 0 and 31")?;
        let mappings = raw.runtime_config.port_mappings.iter().enumerate();
        let mut config = Config {
            backend,
            form,
            snat: raw.snat.unwrap_or(true),
            masq_all: raw.masq_all,
            mark: 1 << bit,
            set_mark_chain: raw.external_set_mark_chain,
            conditions_v4: raw.conditions_v4.unwrap_or_default(),
            conditions_v6: raw.conditions_v6.unwrap_or_default(),
            mappings: mappings
                .map(|(number, raw)| mapping::validate(number, raw))
                .collect::<anyhow::Result<_>>()?,
        };
        config.validate_form()?;
        config.backend = config.backend.or_else(|| config.implied_backend());
        if let Some(backend) = config.backend {
            config.fits(backend)?;
        }
        Ok(config)
    }

    fn validate_form(&self) -> anyhow::Result<()> {
        if self.form == Form::Rules {
            return Ok(());
        }
        if self.backend == Some(Backend::Iptables) {
            bail!("iptables backend was requested but \"rules\": \"map\" needs nftables");
        }
        for (key, conditions) in [
            ("conditionsV4", &self.conditions_v4),
            ("conditionsV6", &self.conditions_v6),
        ] {
            if !conditions.is_empty() {
                bail!("{key} cannot be combined with \"rules\": \"map\"");
            }
        }
        Ok(())
    }

    /// Tests that there are no options of the other backend only.
    fn fits(&self, backend: Backend) -> anyhow::Result<()> {
        let other = match backend {
            Backend::Iptables => Backend::Nftables,
            Backend::Nftables => Backend::Iptables,
        };
        let foreign: Vec<&str> = self
            .specific_options()
            .into_iter()
            .filter_map(|(key, of)| (of == Some(other)).then_some(key))
            .collect();
        if !foreign.is_empty() {
            bail!(
                "{} backend was requested but configuration contains {}-specific options [{}]",
                backend.as_str(),
                other.as_str(),
                foreign.join(" ")
            );
        }
        if backend == Backend::Nftables {
            self.nft_conditions(true)?;
            self.nft_conditions(false)?;
        }
        Ok(())
    }

    /// The keys that only one backend has, each with that backend if it is used.
    fn specific_options(&self) -> [(&'static str, Option<Backend>); 3] {
        let chain = self.set_mark_chain.as_ref().map(|_| Backend::Iptables);
        [
            ("externalSetMarkChain", chain),
            ("conditionsV4", conditions::language(&self.conditions_v4)),
            ("conditionsV6", conditions::language(&self.conditions_v6)),
        ]
    }

    /// Returns the backend that other keys ask for.
    fn implied_backend(&self) -> Option<Backend> {
        match self.form {
            Form::Map => Some(Backend::Nftables),
            Form::Rules => self.specific_options().into_iter().find_map(|(_, of)| of),
        }
    }

    /// Returns the conditions of a family as words.
    #[must_use]
    pub fn conditions(&self, ipv4: bool) -> &[String] {
        match ipv4 {
            true => &self.conditions_v4,
            false => &self.conditions_v6,
        }
    }

    /// Returns the conditions of a family in the language of nftables.
    ///
    /// # Errors
    /// For words that cannot be part of a rule.
    pub fn nft_conditions(&self, ipv4: bool) -> anyhow::Result<Conditions> {
        let key = if ipv4 { "conditionsV4" } else { "conditionsV6" };
        conditions::parse(self.conditions(ipv4), ipv4).context(key)
    }

    /// Returns whether conditions are left to the `nft` command.
    ///
    /// # Errors
    /// For words that cannot be part of a rule.
    pub fn needs_nft_command(&self) -> anyhow::Result<bool> {
        let [v4, v6] = [true, false].map(|ipv4| self.nft_conditions(ipv4));
        let is_script = |conditions| matches!(conditions, Conditions::Script(_));
        Ok(is_script(v4?) || is_script(v6?))
    }

    /// Returns the mappings for container addresses of a family.
    pub fn mappings_for(&self, ipv4: bool) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().filter(move |m| m.is_for(ipv4))
    }
}

/// `XT_EXTENSION_MAXNAMELEN` (`linux/netfilter/x_tables.h`), without the zero.
const CHAIN_MAX: usize = 28;

fn is_chain_name(name: &str) -> bool {
    let len = 1..=CHAIN_MAX;
    len.contains(&name.len())
        && !name.starts_with(['-', '!'])
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `conditionsV4` and `conditionsV6`, as far as they are words.
pub(crate) fn conditions_to_delete(conf: &Value) -> [Vec<String>; 2] {
    ["conditionsV4", "conditionsV6"].map(|key| {
        let words = json::get(conf, key).and_then(Value::as_array);
        let words = words.into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    })
}
