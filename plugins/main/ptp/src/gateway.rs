//! The gateways: the host's end of the connection has one address for each of the
//! container's.

use cni_core::{Cidr, Code, Error, IpConfig};
use std::net::IpAddr;

/// Refuses addresses that cannot be connected: each needs a gateway of its own
/// family which is not the address itself.
pub(crate) fn validate(ips: &[IpConfig]) -> Result<(), Error> {
    for ip in ips {
        let wrong = match ip.gateway {
            None => "has no gateway".to_owned(),
            Some(gateway) if gateway.is_ipv4() != ip.address.is_ipv4() => {
                format!("has the gateway {gateway}, which is of another family")
            }
            Some(gateway) if gateway == ip.address.addr() => "is its own gateway".to_owned(),
            Some(_) => continue,
        };
        return Err(Error::new(
            Code::INVALID_NETWORK_CONFIG,
            format!("address {} {wrong}", ip.address),
        )
        .with_details(
            "the host's end of a point-to-point connection gets the gateway's address: \
             name one in the ipam configuration",
        ));
    }
    Ok(())
}

/// Each different gateway, with the address that named it first.
pub(crate) fn distinct<'r>(ips: impl IntoIterator<Item = &'r IpConfig>) -> Vec<(IpAddr, Cidr)> {
    let mut gateways: Vec<(IpAddr, Cidr)> = Vec::new();
    for ip in ips {
        if let Some(gateway) = ip.gateway
            && gateways.iter().all(|(known, _)| *known != gateway)
        {
            gateways.push((gateway, ip.address));
        }
    }
    gateways
}
