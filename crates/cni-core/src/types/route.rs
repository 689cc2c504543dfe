//! The text form of a route.

use std::fmt;

use super::Route;

/// The form of upstream's messages: `{Dst:{IP:1.2.3.0 Mask:ffffff00} GW:1.2.3.1
/// MTU:0 AdvMSS:0 Priority:0 Table:<nil> Scope:<nil>}`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{Dst:{{IP:{} Mask:{}}}",
            self.dst.addr(),
            self.dst.mask_hex()
        )?;
        write!(f, " GW:{}", OrNil(self.gw))?;
        write!(
            f,
            " MTU:{} AdvMSS:{} Priority:{}",
            self.mtu, self.advmss, self.priority
        )?;
        write!(
            f,
            " Table:{} Scope:{}}}",
            OrNil(self.table),
            OrNil(self.scope)
        )
    }
}

/// Go's text for a missing value.
struct OrNil<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrNil<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("<nil>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_printed_as_by_go() {
        let route = Route {
            dst: "1.2.3.0/24".parse().unwrap(),
            gw: Some("1.2.3.1".parse().unwrap()),
            mtu: 1500,
            advmss: 1340,
            priority: 100,
            table: Some(50),
            scope: Some(253),
        };
        assert_eq!(
            route.to_string(),
            "{Dst:{IP:1.2.3.0 Mask:ffffff00} GW:1.2.3.1 MTU:1500 AdvMSS:1340 Priority:100 \
             Table:50 Scope:253}"
        );
        assert_eq!(
            Route::to("2001:db8::/32".parse().unwrap()).to_string(),
            "{Dst:{IP:2001:db8:: Mask:ffffffff000000000000000000000000} GW:<nil> MTU:0 AdvMSS:0 \
             Priority:0 Table:<nil> Scope:<nil>}"
        );
    }
}
