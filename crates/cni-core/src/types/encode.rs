//! Encodes results in every version of the specification.

use serde_json::{Map, Value};

use super::family::Family;
use super::{AddResult, Dns, Interface, IpConfig, Route};
use crate::{Code, Error, Version, json};

impl AddResult {
    /// Returns the result as a document of `version`, with members in upstream's order.
    ///
    /// # Errors
    /// As [`AddResult::to_json`].
    pub fn to_value(&self, version: Version) -> Result<Value, Error> {
        let mut object = Map::new();
        object.insert("cniVersion".into(), version.as_str().into());
        match Family::of(version) {
            Family::V020 => self.put_020(&mut object)?,
            Family::V040 => self.put_040(&mut object),
            Family::V100 => self.put_100(&mut object),
        }
        Ok(object.into())
    }

    /// Returns the document of `version` that ADD prints, with four spaces of indentation
    /// and no final newline.
    ///
    /// Older versions cannot express everything. Before 1.0.0, an interface has no `mtu`,
    /// `socketPath` and `pciID`. Before 0.3.0, there are also no interfaces, only the first
    /// address of each IP family, no routes of a family without an address, and of a route
    /// only `dst` and `gw`.
    ///
    /// # Errors
    /// `cannot convert: no valid IP addresses` before 0.3.0, whose results need one.
    ///
    /// ```
    /// use cni_core::{AddResult, IpConfig, Version};
    ///
    /// let result = AddResult {
    ///     ips: vec![IpConfig {
    ///         interface: None,
    ///         address: "10.1.0.5/16".parse()?,
    ///         gateway: Some("10.1.0.1".parse()?),
    ///     }],
    ///     ..AddResult::default()
    /// };
    /// assert_eq!(result.to_json(Version::V0_2_0)?, r#"{
    ///     "cniVersion": "0.2.0",
    ///     "ip4": {
    ///         "ip": "10.1.0.5/16",
    ///         "gateway": "10.1.0.1"
    ///     },
    ///     "dns": {}
    /// }"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_json(&self, version: Version) -> Result<String, Error> {
        self.to_value(version)
            .map(|value| json::to_string_pretty(&value))
    }

    fn put_020(&self, object: &mut Map<String, Value>) -> Result<(), Error> {
        if self.ips.is_empty() {
            return Err(Error::new(
                Code::INTERNAL,
                "cannot convert: no valid IP addresses",
            ));
        }
        for (key, is_ipv4) in [("ip4", true), ("ip6", false)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.is_ipv4() == is_ipv4) else {
                continue;
            };
            let mut slot = Map::new();
            slot.insert("ip".into(), ip.address.to_string().into());
            put_ip(&mut slot, "gateway", ip.gateway);
            let routes = self
                .routes
                .iter()
                .filter(|route| route.dst.is_ipv4() == is_ipv4);
            put_list(&mut slot, "routes", routes.map(route_020));
            object.insert(key.into(), slot.into());
        }
        object.insert("dns".into(), dns_040(&self.dns).into());
        Ok(())
    }

    fn put_040(&self, object: &mut Map<String, Value>) {
        put_list(
            object,
            "interfaces",
            self.interfaces.iter().map(interface_040),
        );
        put_list(object, "ips", self.ips.iter().map(ip_040));
        put_list(object, "routes", self.routes.iter().map(route_040));
        object.insert("dns".into(), dns_040(&self.dns).into());
    }

    /// Adds the members from 1.0.0 on. All objects are in alphabetical order, since upstream
    /// prints them from a sorted map.
    fn put_100(&self, object: &mut Map<String, Value>) {
        if !self.dns.is_empty() {
            object.insert("dns".into(), dns_100(&self.dns).into());
        }
        put_list(
            object,
            "interfaces",
            self.interfaces.iter().map(interface_100),
        );
        put_list(object, "ips", self.ips.iter().map(ip_100));
        put_list(object, "routes", self.routes.iter().map(route_100));
    }
}

fn interface_040(interface: &Interface) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("name".into(), interface.name.as_str().into());
    put_text(&mut object, "mac", &interface.mac);
    put_text(&mut object, "sandbox", &interface.sandbox);
    object
}

fn interface_100(interface: &Interface) -> Map<String, Value> {
    let mut object = Map::new();
    put_text(&mut object, "mac", &interface.mac);
    put_number(&mut object, "mtu", interface.mtu);
    object.insert("name".into(), interface.name.as_str().into());
    put_text(&mut object, "pciID", &interface.pci_id);
    put_text(&mut object, "sandbox", &interface.sandbox);
    put_text(&mut object, "socketPath", &interface.socket_path);
    object
}

fn ip_040(ip: &IpConfig) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert(
        "version".into(),
        if ip.address.is_ipv4() { "4" } else { "6" }.into(),
    );
    put_option(&mut object, "interface", ip.interface);
    object.insert("address".into(), ip.address.to_string().into());
    put_ip(&mut object, "gateway", ip.gateway);
    object
}

fn ip_100(ip: &IpConfig) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("address".into(), ip.address.to_string().into());
    put_ip(&mut object, "gateway", ip.gateway);
    put_option(&mut object, "interface", ip.interface);
    object
}

fn route_020(route: &Route) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("dst".into(), route.dst.to_string().into());
    put_ip(&mut object, "gw", route.gw);
    object
}

fn route_040(route: &Route) -> Map<String, Value> {
    let mut object = route_020(route);
    put_number(&mut object, "mtu", route.mtu);
    put_number(&mut object, "advmss", route.advmss);
    put_number(&mut object, "priority", route.priority);
    put_option(&mut object, "table", route.table);
    put_option(&mut object, "scope", route.scope);
    object
}

fn route_100(route: &Route) -> Map<String, Value> {
    let mut object = Map::new();
    put_number(&mut object, "advmss", route.advmss);
    object.insert("dst".into(), route.dst.to_string().into());
    put_ip(&mut object, "gw", route.gw);
    put_number(&mut object, "mtu", route.mtu);
    put_number(&mut object, "priority", route.priority);
    put_option(&mut object, "scope", route.scope);
    put_option(&mut object, "table", route.table);
    object
}

fn dns_040(dns: &Dns) -> Map<String, Value> {
    let mut object = Map::new();
    put_texts(&mut object, "nameservers", &dns.nameservers);
    put_text(&mut object, "domain", &dns.domain);
    put_texts(&mut object, "search", &dns.search);
    put_texts(&mut object, "options", &dns.options);
    object
}

fn dns_100(dns: &Dns) -> Map<String, Value> {
    let mut object = Map::new();
    put_text(&mut object, "domain", &dns.domain);
    put_texts(&mut object, "nameservers", &dns.nameservers);
    put_texts(&mut object, "options", &dns.options);
    put_texts(&mut object, "search", &dns.search);
    object
}

fn put_text(object: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.into(), text.into());
    }
}

fn put_texts(object: &mut Map<String, Value>, key: &str, texts: &[String]) {
    if !texts.is_empty() {
        object.insert(key.into(), texts.into());
    }
}

/// Adds a number unless it is 0, which means unset.
fn put_number(object: &mut Map<String, Value>, key: &str, number: i64) {
    if number != 0 {
        object.insert(key.into(), number.into());
    }
}

/// Adds a number if it is set; 0 is a valid value.
fn put_option(object: &mut Map<String, Value>, key: &str, number: Option<i64>) {
    if let Some(number) = number {
        object.insert(key.into(), number.into());
    }
}

fn put_ip(object: &mut Map<String, Value>, key: &str, ip: Option<std::net::IpAddr>) {
    if let Some(ip) = ip {
        object.insert(key.into(), crate::cidr::canonical(ip).to_string().into());
    }
}

fn put_list<I>(object: &mut Map<String, Value>, key: &str, members: I)
where
    I: Iterator<Item = Map<String, Value>>,
{
    let list: Vec<Value> = members.map(Value::Object).collect();
    if !list.is_empty() {
        object.insert(key.into(), list.into());
    }
}
