//! Configuration: the object `ipam`, and `CNI_ARGS`.

use crate::client::Mac;
use crate::v4::options;
use crate::{duration, identity, v6};
use anyhow::{Context, bail};
use cni_core::quote::quote;
use cni_core::{Code, Error, Route, json};
use cni_state::Owner;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Where the daemon listens unless the configuration says otherwise.
pub(crate) const SOCKET_PATH: &str = "/run/cni/dhcp.sock";

/// Longest value of an option that can be provided, in bytes.
const LONGEST_VALUE: usize = 255;

/// Longest time of a conflict probe: the caller waits for it.
const LONGEST_PROBE: Duration = Duration::from_secs(30);

/// The parameter request list if nothing is requested, that of upstream's DHCP library.
const LIBRARY_LIST: &[u8] = &[
    options::SUBNET_MASK,
    options::ROUTERS,
    options::DOMAIN_NAME,
    options::NAME_SERVERS,
];

/// What the daemon does for an attachment.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The parameter request list, option 55.
    pub(crate) parameter_list: Vec<u8>,
    /// Options that the configuration requests by itself.
    requested: Vec<u8>,
    /// Options that are sent, by number.
    pub(crate) provided: Vec<(u8, Vec<u8>)>,
    /// Metric of all routes of the server; 0 leaves it out.
    pub(crate) priority: i64,
    /// Whether the result has neither gateway nor default route of the server.
    pub(crate) suppress_gateway: bool,
    /// Routes in addition to those of the server.
    pub(crate) routes: Vec<Route>,
    /// Whether there is to be an IPv4 address.
    pub(crate) ipv4: bool,
    /// How an IPv6 address is acquired, if there is to be one.
    pub(crate) ipv6: Option<v6::Settings>,
    /// The form of the client identifier.
    client_id: ClientId,
    /// How long to listen for other users of an address before it is accepted.
    pub(crate) probe: Option<Duration>,
}

/// The form of the client identifier, option 61.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ClientId {
    /// Upstream's, see [`identity::of_attachment`].
    #[default]
    Attachment,
    /// Hardware type and address (RFC 2132, section 9.14).
    Mac,
    /// IAID and DUID-LL (RFC 4361).
    Duid,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSocket {
    ipam: Option<RawSocketPath>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSocketPath {
    daemon_socket_path: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    request: Vec<Request>,
    provide: Vec<Provide>,
    priority: i64,
    suppress: Vec<String>,
    routes: Vec<Route>,
    #[serde(rename = "clientID")]
    client_id: String,
    probe: String,
    ipv4: Option<bool>,
    ipv6: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    skip_default: bool,
    option: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Provide {
    option: String,
    value: String,
    from_arg: String,
}

/// Returns the path of the daemon's socket in the configuration of a network.
///
/// # Errors
/// When the value is not a string.
pub(crate) fn socket_path(conf: &Value) -> anyhow::Result<String> {
    let raw: RawSocket = json::decode(conf)
        .context("error parsing socket path conf")
        .context("error obtaining socketPath")?;
    let path = raw.ipam.unwrap_or_default().daemon_socket_path;
    Ok(match path.is_empty() {
        true => SOCKET_PATH.to_owned(),
        false => path,
    })
}

/// Returns the object `ipam` of the configuration of a network.
///
/// # Errors
/// When there is none.
pub(crate) fn ipam(conf: &Value) -> Result<&Value, Error> {
    json::get(conf, "ipam")
        .filter(|ipam| ipam.is_object())
        .ok_or_else(|| {
            Error::new(
                Code::INVALID_NETWORK_CONFIG,
                "the network configuration has no object \"ipam\"",
            )
        })
}

impl Config {
    /// Reads the object `ipam`; `args` is `CNI_ARGS`.
    ///
    /// # Errors
    /// When something is malformed; the texts for options are upstream's.
    pub(crate) fn load(ipam: &Value, args: &str) -> anyhow::Result<Config> {
        let raw: Raw = json::decode(ipam).context("error parsing netconf")?;
        let requested = requested(&raw.request)?;
        let skips_default = raw.request.iter().any(|request| request.skip_default);
        let mut parameter_list = requested.clone();
        if !skips_default {
            for code in [options::ROUTERS, options::SUBNET_MASK] {
                if !parameter_list.contains(&code) {
                    parameter_list.push(code);
                }
            }
        }
        if parameter_list.is_empty() {
            parameter_list = LIBRARY_LIST.to_vec();
        }
        let (ipv4, ipv6) = (raw.ipv4.unwrap_or(true), v6::Settings::load(&raw.ipv6)?);
        if !ipv4 && ipv6.is_none() {
            let msg = "ipam.ipv4 is false, and ipam.ipv6 does not ask for IPv6";
            return Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg).into());
        }
        refuse_routes_without_addresses(&raw.routes, ipv4, ipv6.is_some())?;
        Ok(Config {
            parameter_list,
            requested,
            provided: provided(&raw.provide, args)?,
            priority: raw.priority,
            suppress_gateway: suppresses_gateway(&raw.suppress)?,
            routes: raw.routes,
            ipv4,
            ipv6,
            client_id: client_id(&raw.client_id)?,
            probe: probe(&raw.probe)?,
        })
    }

    /// Returns whether the configuration itself requests an option.
    pub(crate) fn requests(&self, code: u8) -> bool {
        self.requested.contains(&code)
    }

    /// Returns the value of the client identifier, option 61.
    pub(crate) fn client_id(&self, owner: &Owner, mac: Option<Mac>) -> Vec<u8> {
        let own = self
            .provided
            .iter()
            .find(|(code, _)| *code == options::CLIENT_ID);
        if let Some((_, value)) = own {
            return value.clone();
        }
        match (self.client_id, mac) {
            (ClientId::Mac, Some(mac)) => [&[1], &mac[..]].concat(),
            (ClientId::Duid, Some(mac)) => {
                let iaid = identity::iaid(owner).to_be_bytes();
                [&[255], &iaid[..], &identity::duid_ll(mac)].concat()
            }
            _ => [&[0], identity::of_attachment(owner).as_bytes()].concat(),
        }
    }
}

fn option_number(name: &str) -> anyhow::Result<u8> {
    options::number(name).map_err(|text| {
        let details = format!("known names: {}; others by their number", options::names());
        Error::new(Code::INTERNAL, text)
            .with_details(details)
            .into()
    })
}

fn requested(requests: &[Request]) -> anyhow::Result<Vec<u8>> {
    let mut codes = Vec::new();
    for request in requests.iter().filter(|request| !request.option.is_empty()) {
        let code = option_number(&request.option)?;
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    Ok(codes)
}

fn provided(list: &[Provide], args: &str) -> anyhow::Result<Vec<(u8, Vec<u8>)>> {
    let mut provided: Vec<(u8, Vec<u8>)> = Vec::new();
    for entry in list {
        let code = option_number(&entry.option)?;
        let (option, value) = (quote(&entry.option), quote(&entry.value));
        if entry.value.len() > LONGEST_VALUE {
            bail!("value too long for option {option}: {value}");
        }
        let from_args = argument(args, &entry.from_arg);
        if from_args.is_some_and(|value| value.len() > LONGEST_VALUE) {
            let key = quote(&entry.from_arg);
            bail!("value too long for option {option} from CNI_ARGS {key}: {value}");
        }
        let value = from_args.unwrap_or(&entry.value);
        if from_args.is_some() || !value.is_empty() {
            provided.retain(|(other, _)| *other != code);
            provided.push((code, value.into()));
        }
    }
    Ok(provided)
}

/// Returns the value of a key of `CNI_ARGS`.
fn argument<'a>(args: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = args.split(';').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| !key.is_empty() && *name == key)
        .map(|(_, value)| value)
}

/// Refuses routes of a family of which there will be no address.
fn refuse_routes_without_addresses(routes: &[Route], ipv4: bool, ipv6: bool) -> Result<(), Error> {
    let has_address = |route: &&Route| if route.dst.is_ipv4() { ipv4 } else { ipv6 };
    let Some(route) = routes.iter().find(|route| !has_address(route)) else {
        return Ok(());
    };
    let (family, key) = match route.dst.is_ipv4() {
        true => ("IPv4", "ipam.ipv4 is false"),
        false => ("IPv6", "ipam.ipv6 does not ask for IPv6"),
    };
    let msg = format!("ipam.routes has {} of {family}, but {key}", route.dst);
    Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg))
}

fn suppresses_gateway(suppress: &[String]) -> Result<bool, Error> {
    if let Some(unknown) = suppress.iter().find(|word| *word != "gateway") {
        let msg = format!(
            "ipam.suppress has {}: only \"gateway\" can be suppressed",
            quote(unknown)
        );
        return Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg));
    }
    Ok(!suppress.is_empty())
}

fn client_id(text: &str) -> Result<ClientId, Error> {
    match text {
        "" | "attachment" => Ok(ClientId::Attachment),
        "mac" => Ok(ClientId::Mac),
        "duid" => Ok(ClientId::Duid),
        other => {
            let msg = format!(
                "ipam.clientID {} is none of \"attachment\", \"mac\" and \"duid\"; any other \
                 identifier can be set by \"provide\", option 61",
                quote(other)
            );
            Err(Error::new(Code::INVALID_NETWORK_CONFIG, msg))
        }
    }
}

fn probe(text: &str) -> Result<Option<Duration>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let refused =
        |why: String| Error::new(Code::INVALID_NETWORK_CONFIG, format!("ipam.probe {why}"));
    let time = duration::parse(text).map_err(refused)?;
    match time <= LONGEST_PROBE {
        true => Ok((!time.is_zero()).then_some(time)),
        false => Err(refused(format!("{} is more than 30s", quote(text)))),
    }
}
