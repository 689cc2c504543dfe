//! The gateway addresses of a result, and its default routes.

use crate::Config;
use cni_core::{AddResult, Cidr, Code, Error, IpConfig, Route};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Completes the addresses and routes of `result`. Returns the gateway addresses of the
/// bridge, each once.
///
/// # Errors
/// For an address that has no possible gateway.
pub(crate) fn derive(result: &mut AddResult, config: &Config) -> Result<Vec<Cidr>, Error> {
    let mut gateways = Vec::new();
    for ip in &mut result.ips {
        ip.interface = Some(crate::CONTAINER_INTERFACE as i64);
        if !config.is_gateway {
            continue;
        }
        let gateway = gateway_of(ip)?;
        ip.gateway = Some(gateway.addr());
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
        }
    }
    if config.is_default_gateway {
        for ip in &result.ips {
            result
                .routes
                .extend(missing_default(&result.routes, ip.gateway));
        }
    }
    Ok(gateways)
}

/// The gateway of an address, with the prefix length of its network.
fn gateway_of(ip: &IpConfig) -> Result<Cidr, Error> {
    let invalid = |msg: String| Error::new(Code::INVALID_NETWORK_CONFIG, msg);
    let gateway = match ip.gateway {
        Some(gateway) => gateway,
        None => first_of_network(ip)?,
    };
    if gateway == ip.address.addr() {
        return Err(
            invalid(format!("address {} is its own gateway", ip.address))
                .with_details("let ipam hand out another address, or set isGateway to false"),
        );
    }
    Cidr::new(gateway, ip.address.prefix())
        .filter(|cidr| cidr.is_ipv4() == ip.address.is_ipv4())
        .ok_or_else(|| {
            let address = ip.address;
            invalid(format!(
                "gateway {gateway} is of another family than address {address}"
            ))
        })
}

/// The default route through `gateway`, unless `routes` have one of its family. One of
/// the main table without a next hop gets this gateway later.
fn missing_default(routes: &[Route], gateway: Option<IpAddr>) -> Option<Route> {
    let gateway = gateway?;
    let is_present = routes.iter().any(|route| {
        let is_default = route.dst.is_default() && route.dst.is_ipv4() == gateway.is_ipv4();
        is_default && (route.gw.is_some() || is_main(route.table))
    });
    (!is_present).then(|| default_route(gateway))
}

/// Whether a route's table is the main one: the kernel takes 0, unspecified, for it.
fn is_main(table: Option<i64>) -> bool {
    table.is_none_or(|table| table == 0 || table == i64::from(rtnl::RT_TABLE_MAIN))
}

fn default_route(gateway: IpAddr) -> Route {
    let any: IpAddr = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A prefix length of 0 is valid for both families.
    Route {
        gw: Some(gateway),
        ..Route::to(Cidr::new(any, 0).unwrap_or(Cidr::host(any)))
    }
}

/// The default gateway of a network: its address plus one.
fn first_of_network(ip: &IpConfig) -> Result<IpAddr, Error> {
    let first: IpAddr = match ip.address.network() {
        IpAddr::V4(n) => Ipv4Addr::from(u32::from(n).wrapping_add(1)).into(),
        IpAddr::V6(n) => Ipv6Addr::from(u128::from(n).wrapping_add(1)).into(),
    };
    if !ip.address.contains(first) {
        return Err(Error::new(
            Code::INVALID_NETWORK_CONFIG,
            format!("network {} leaves no room for a gateway", ip.address),
        )
        .with_details("name a gateway in the ipam configuration, or set isGateway to false"));
    }
    Ok(first)
}
