//! The gateways: the host's end has one for each address of the container.

use cni_core::{Cidr, Code, Error, IpConfig};
use std::net::IpAddr;

/// Requires a gateway of each address, of the same family and other than the address.
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

/// Returns each gateway once, with the first address that names it.
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
