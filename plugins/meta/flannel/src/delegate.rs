//! The delegate and its configuration.

#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::subnet_env::SubnetEnv;
use anyhow::{Context, anyhow};
use cni_core::{Call, Cidr, Command, Route, invoke, json};
use serde_json::{Map, Value};

/// A plugin and its configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Delegate {
    /// Its executable.
    pub(crate) kind: String,
    conf: Map<String, Value>,
}

impl Delegate {
    /// Generates the delegate from `config` and the daemon's subnets. Without subnets it
    /// has no ranges, which is enough for DEL and GC.
    ///
    /// # Errors
    /// When `ipam.routes` cannot be extended.
    pub(crate) fn generate(
        call: &Call,
        config: &Config,
        subnets: Option<&SubnetEnv>,
    ) -> anyhow::Result<Delegate> {
        let mut conf = config.delegate.clone();
        if let Some(runtime_config) = &config.runtime_config {
            conf.insert("runtimeConfig".into(), runtime_config.clone().into());
        }
        if let Some(args) = &config.args {
            default(&mut conf, "args", args.clone());
        }
        conf.insert("name".into(), call.name.as_str().into());
        default(&mut conf, "type", "bridge".into());
        if let Some(subnets) = subnets {
            // Either the daemon or the delegate masquerades.
            default(&mut conf, "ipMasq", (!subnets.ip_masq).into());
            default(&mut conf, "mtu", subnets.mtu.into());
        }
        let kind = conf.get("type").and_then(Value::as_str);
        let kind = kind.context("delegate.type is no string")?.to_owned();
        if kind == "bridge" {
            default(&mut conf, "isGateway", true.into());
        }
        let version = json::get(&call.conf, "cniVersion").and_then(Value::as_str);
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            conf.insert("cniVersion".into(), version.into());
        }
        let ipam = ipam(&config.ipam, subnets).context("failed to assemble Delegate IPAM")?;
        conf.insert("ipam".into(), ipam.into());
        Ok(Delegate { kind, conf })
    }

    /// Decodes the record of ADD; `None` if it is no configuration.
    pub(crate) fn decode(text: &[u8]) -> Option<Delegate> {
        let Value::Object(conf) = json::parse(text).ok()? else {
            return None;
        };
        let kind = conf.get("type")?.as_str()?.to_owned();
        Some(Delegate { kind, conf })
    }

    /// The name of its network.
    pub(crate) fn network(&self) -> &str {
        self.conf
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Sets the runtime's `prevResult` and `cniVersion`, which may have changed since ADD.
    pub(crate) fn with_prev_result(mut self, call: &Call) -> Delegate {
        self.take(call, "prevResult");
        self.take(call, "cniVersion");
        self
    }

    /// Sets the runtime's list of valid attachments.
    pub(crate) fn with_attachments(mut self, call: &Call) -> Delegate {
        self.take(call, "cni.dev/valid-attachments");
        self.take(call, "cni.dev/attachments");
        self
    }

    fn take(&mut self, call: &Call, key: &str) {
        // `null` is passed on: as a list of attachments it has a meaning.
        if json::has_key(&call.conf, key) {
            let value = json::get(&call.conf, key).cloned();
            self.conf.insert(key.into(), value.unwrap_or_default());
        }
    }

    /// The configuration, compact and with its keys sorted.
    pub(crate) fn text(&self) -> String {
        json::to_string(&sorted(self.conf.clone().into()))
    }

    /// Carries out `verb` by the delegate.
    ///
    /// # Errors
    /// The delegate's own.
    pub(crate) fn run(&self, call: &Call, verb: Command) -> anyhow::Result<()> {
        invoke::delegate(&self.call(call), &self.kind, verb)
    }

    /// `call` with the delegate's configuration in place of flannel's.
    pub(crate) fn call(&self, call: &Call) -> Call {
        Call {
            stdin: self.text().into_bytes(),
            conf: self.conf.clone().into(),
            ..call.clone()
        }
    }
}

/// Sets a member unless the object has it, even as `null`.
fn default(object: &mut Map<String, Value>, key: &str, value: Value) {
    if !object.contains_key(key) {
        object.insert(key.into(), value);
    }
}

/// Returns `ipam` with the node's subnets as ranges, and with routes to the networks of
/// all nodes after the configured ones.
fn ipam(
    given: &Map<String, Value>,
    subnets: Option<&SubnetEnv>,
) -> anyhow::Result<Map<String, Value>> {
    let mut ipam = given.clone();
    default(&mut ipam, "type", "host-local".into());
    let mut routes = routes(given).context("failed to read IPAM routes")?;
    let Some(subnets) = subnets else {
        return Ok(ipam);
    };
    let member = |key: &str, cidr: &Cidr| {
        Value::Object(Map::from_iter([(key.to_owned(), cidr.to_string().into())]))
    };
    let both = [subnets.subnet, subnets.ipv6_subnet];
    let ranges = both
        .iter()
        .flatten()
        .map(|subnet| vec![member("subnet", subnet)].into());
    ipam.insert("ranges".into(), ranges.collect::<Vec<Value>>().into());
    let networks = subnets.networks.iter().chain(&subnets.ipv6_networks);
    routes.extend(networks.map(|network| member("dst", network)));
    ipam.insert("routes".into(), routes.into());
    Ok(ipam)
}

/// The configured routes, validated.
fn routes(ipam: &Map<String, Value>) -> anyhow::Result<Vec<Value>> {
    let parse = "failed to parse ipam.routes";
    match ipam.get("routes") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(routes)) => {
            for (number, route) in routes.iter().enumerate() {
                json::decode::<Route>(route)
                    .map_err(|e| anyhow!("{e}: ipam.routes[{number}]"))
                    .context(parse)?;
            }
            Ok(routes.clone())
        }
        Some(_) => Err(anyhow!("ipam.routes: expected an array").context(parse)),
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut members: Vec<(String, Value)> = object.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            let members = members.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(members.collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}
