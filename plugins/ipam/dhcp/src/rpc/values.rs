//! Arguments and results of calls, and their form on the wire.

use super::gob::Value;
use super::{EMPTY, RESULT, TEXT};
use cni_core::{AddResult, Cidr, Dns, IpConfig, Route};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The argument of a call: what the plugin was called with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_NETNS`, absolute.
    pub(crate) netns: String,
    /// `CNI_IFNAME`.
    pub(crate) if_name: String,
    /// `CNI_ARGS`.
    pub(crate) args: String,
    /// Standard input.
    pub(crate) stdin: Vec<u8>,
}

/// What a call returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Of [`super::RELEASE`] and [`super::COLLECT`].
    Nothing,
    /// Of [`super::ALLOCATE`] and [`super::CHECK`]: addresses, routes and DNS.
    Result(Box<AddResult>),
    /// Of [`super::LIST`].
    Text(String),
}

pub(super) fn structure<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Struct(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

pub(super) fn text(text: &str) -> Value {
    Value::Bytes(text.into())
}

impl Arguments {
    pub(super) fn from_value(value: &Value) -> Arguments {
        Arguments {
            container_id: value.text("ContainerID"),
            netns: value.text("Netns"),
            if_name: value.text("IfName"),
            args: value.text("Args"),
            stdin: value.bytes("StdinData").to_vec(),
        }
    }

    pub(super) fn to_value(&self) -> Value {
        structure([
            ("ContainerID", text(&self.container_id)),
            ("Netns", text(&self.netns)),
            ("IfName", text(&self.if_name)),
            ("Args", text(&self.args)),
            ("StdinData", Value::Bytes(self.stdin.clone())),
        ])
    }
}

impl Reply {
    pub(super) fn from_value(value: &Value) -> Result<Reply, &'static str> {
        if value.field("Text").is_some() {
            return Ok(Reply::Text(value.text("Text")));
        }
        if *value == Value::Struct(Vec::new()) {
            return Ok(Reply::Nothing);
        }
        let ips: Option<Vec<IpConfig>> = value.list("IPs").iter().map(ip_config).collect();
        let routes: Option<Vec<Route>> = value.list("Routes").iter().map(route).collect();
        let dns = value.field("DNS").map(dns).unwrap_or_default();
        match (ips, routes) {
            (Some(ips), Some(routes)) => Ok(Reply::Result(Box::new(AddResult {
                ips,
                routes,
                dns,
                ..AddResult::default()
            }))),
            _ => Err("the result has a malformed address"),
        }
    }

    pub(super) fn to_value(&self) -> (i64, Value) {
        match self {
            Reply::Nothing => (EMPTY, Value::Struct(Vec::new())),
            Reply::Text(content) => (TEXT, structure([("Text", text(content))])),
            Reply::Result(result) => (RESULT, of_result(result)),
        }
    }
}

fn of_result(result: &AddResult) -> Value {
    let texts = |list: &[String]| Value::List(list.iter().map(|item| text(item)).collect());
    let ips = result.ips.iter().map(|ip| {
        structure([
            ("Address", of_cidr(ip.address)),
            ("Gateway", of_address(ip.gateway)),
        ])
    });
    let routes = result.routes.iter().map(|route| {
        structure([
            ("Dst", of_cidr(route.dst)),
            ("GW", of_address(route.gw)),
            ("MTU", Value::Int(route.mtu)),
            ("AdvMSS", Value::Int(route.advmss)),
            ("Priority", Value::Int(route.priority)),
            ("Table", Value::Int(route.table.unwrap_or_default())),
            ("Scope", Value::Int(route.scope.unwrap_or_default())),
        ])
    });
    let dns = structure([
        ("Nameservers", texts(&result.dns.nameservers)),
        ("Domain", text(&result.dns.domain)),
        ("Search", texts(&result.dns.search)),
        ("Options", texts(&result.dns.options)),
    ]);
    structure([
        ("IPs", Value::List(ips.collect())),
        ("Routes", Value::List(routes.collect())),
        ("DNS", dns),
    ])
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn of_address(address: Option<IpAddr>) -> Value {
    Value::Bytes(address.map(octets).unwrap_or_default())
}

fn of_cidr(cidr: Cidr) -> Value {
    let mut mask = octets(cidr.addr());
    let mut left = cidr.prefix();
    for byte in &mut mask {
        let ones = left.min(8);
        *byte = !(0xff_u16 >> ones) as u8;
        left -= ones;
    }
    structure([
        ("IP", Value::Bytes(octets(cidr.addr()))),
        ("Mask", Value::Bytes(mask)),
    ])
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    // Go keeps IPv4 addresses in this form, too.
    Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
}

fn cidr(value: &Value) -> Option<Cidr> {
    let address = address(value.bytes("IP"))?;
    let mask = value.bytes("Mask");
    let mask = match address.is_ipv4() && mask.len() == 16 {
        true => &mask[12..],
        false => mask,
    };
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let is_mask = mask.len() == octets(address).len();
    Cidr::new(address, u8::try_from(ones).ok()?).filter(|_| is_mask)
}

fn ip_config(value: &Value) -> Option<IpConfig> {
    Some(IpConfig {
        interface: None,
        address: cidr(value.field("Address")?)?,
        gateway: address(value.bytes("Gateway")),
    })
}

fn route(value: &Value) -> Option<Route> {
    Some(Route {
        gw: address(value.bytes("GW")),
        mtu: value.int("MTU").unwrap_or_default(),
        advmss: value.int("AdvMSS").unwrap_or_default(),
        priority: value.int("Priority").unwrap_or_default(),
        table: value.int("Table"),
        scope: value.int("Scope"),
        ..Route::to(cidr(value.field("Dst")?)?)
    })
}

fn dns(value: &Value) -> Dns {
    let texts = |name| {
        let item = |item: &Value| match item {
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        value.list(name).iter().map(item).collect()
    };
    Dns {
        nameservers: texts("Nameservers"),
        domain: value.text("Domain"),
        search: texts("Search"),
        options: texts("Options"),
    }
}
