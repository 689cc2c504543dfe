//! Order of the plugins of a network, and keys that depend on each other.

use cni_core::Version;

use super::document::{Node, join};
use super::finding::{Finding, Severity};
use super::network::{Element, Network};

/// Plugins of this set that create the container's interface.
const INTERFACE: [&str; 9] = [
    "bridge",
    "dummy",
    "flannel",
    "host-device",
    "ipvlan",
    "macvlan",
    "ptp",
    "tap",
    "vlan",
];
/// Plugins of this set that need the result of an earlier one.
const CHAINED: [&str; 6] = ["bandwidth", "firewall", "portmap", "sbr", "tuning", "vrf"];
/// Plugins of this set that allocate addresses.
pub(super) const IPAM: [&str; 3] = ["dhcp", "host-local", "static"];
/// Capabilities that runtimes know, in the conventions of the specification.
const CAPABILITIES: [&str; 10] = [
    "aliases",
    "bandwidth",
    "cgroupPath",
    "deviceID",
    "dns",
    "infinibandGUID",
    "ipRanges",
    "ips",
    "mac",
    "portMappings",
];
/// The oldest version of the specification that a plugin supports, if that is not 0.1.0.
const SINCE: [(&str, Version); 3] = [
    ("bandwidth", Version::V0_3_0),
    ("firewall", Version::V0_4_0),
    ("vrf", Version::V0_3_1),
];

/// The names of all plugins of this set.
pub(super) fn plugin_names() -> impl Iterator<Item = &'static str> {
    INTERFACE
        .into_iter()
        .chain(CHAINED)
        .chain(IPAM)
        .chain(["loopback"])
}

/// A plugin whose name is nearly that of one of this set.
pub(super) fn misspelled(element: &Element<'_>) -> Option<(usize, Finding)> {
    let kind = element.kind();
    let near = super::schema::nearest(kind, plugin_names())
        .filter(|near| *near != kind && !kind.is_empty())?;
    let texts = (
        format!("{kind} is not a plugin of this set"),
        format!("write \"{near}\" if that is meant"),
    );
    Some(element.finding(Severity::Warning, "plugin", "type", texts))
}

/// Checks one network.
pub(super) fn check(network: &Network<'_>) -> Vec<(usize, Finding)> {
    let mut findings = Vec::new();
    findings.extend(missing_name(network));
    findings.extend(no_plugins(network));
    order(network, &mut findings);
    for element in &network.plugins {
        roles(element, &mut findings);
        capabilities(element, &mut findings);
        findings.extend(version(network, element));
        findings.extend(without_ipam(element));
        masquerade(element, &mut findings);
    }
    findings
}

fn missing_name(network: &Network<'_>) -> Option<(usize, Finding)> {
    // A list without a name is reported by its schema.
    let single = network
        .plugins
        .first()
        .filter(|first| first.pointer.is_empty())?;
    let texts = (
        "the network has no name".to_owned(),
        "add \"name\"".to_owned(),
    );
    let is_own = single.file == network.file && network.root.get("name").is_none();
    is_own.then(|| single.finding(Severity::Error, "missing-key", "name", texts))
}

fn no_plugins(network: &Network<'_>) -> Option<(usize, Finding)> {
    if !network.plugins.is_empty() || network.root.get_exactly("plugins").is_some() {
        return None;
    }
    let help = match network.root.get("plugins") {
        Some(_) => "write \"plugins\" in lower case: the case of keys counts here",
        None => "add \"plugins\"",
    };
    let finding = Finding {
        severity: Severity::Error,
        rule: "missing-key",
        span: network.root.start(),
        pointer: String::new(),
        what: "the network list has no plugins".into(),
        help: help.into(),
    };
    Some((network.file, finding))
}

/// The order of the plugins that create an interface, and that need one.
fn order(network: &Network<'_>, findings: &mut Vec<(usize, Finding)>) {
    let is_known = |element: &Element<'_>| plugin_names().any(|name| name == element.kind());
    let creates = |element: &Element<'_>| INTERFACE.contains(&element.kind());
    let mut creator: Option<&Element<'_>> = None;
    let mut foreign = false;
    for (number, element) in network.plugins.iter().enumerate() {
        let kind = element.kind();
        if CHAINED.contains(&kind) && creator.is_none() && !foreign {
            let later = network.plugins[number + 1..]
                .iter()
                .find(|later| creates(later) || !is_known(later));
            let texts = match later {
                Some(later) => (
                    format!("{kind} runs before {}, and needs its result", later.kind()),
                    format!("move it behind {}", later.kind()),
                ),
                None => (
                    format!(
                        "{kind} needs the result of a plugin that creates the interface, and there is none"
                    ),
                    "put one before it, such as \"bridge\"".to_owned(),
                ),
            };
            findings.push(element.finding(Severity::Error, "order", "type", texts));
        }
        // An ipvlan without a master takes the interface of the plugin before it.
        let takes_previous = kind == "ipvlan" && element.node.get("master").is_none();
        match creator {
            Some(first) if creates(element) && !takes_previous => {
                let first = first.kind();
                let what =
                    format!("{first} has already created the interface that {kind} would create");
                let help = format!("make two networks of them, or remove {first} or {kind}");
                findings.push(element.finding(Severity::Error, "order", "type", (what, help)));
            }
            None if creates(element) => creator = Some(element),
            _ => foreign |= !is_known(element) && !kind.is_empty(),
        }
    }
}

/// IPAM plugins where others belong, and the reverse.
fn roles(element: &Element<'_>, findings: &mut Vec<(usize, Finding)>) {
    let (kind, ipam) = (element.kind(), element.ipam_kind());
    if IPAM.contains(&kind) {
        let what = format!("{kind} is an IPAM plugin, which creates no interface");
        let help = format!(
            "write \"ipam\": {{ \"type\": \"{kind}\", … }} in the plugin that creates the interface"
        );
        findings.push(element.finding(Severity::Error, "order", "type", (what, help)));
    }
    if INTERFACE.contains(&ipam) || CHAINED.contains(&ipam) || ipam == "loopback" {
        let what = format!("{ipam} is not an IPAM plugin");
        let help = "write \"host-local\", \"static\" or \"dhcp\"".to_owned();
        findings.push(element.finding(Severity::Error, "order", "ipam", (what, help)));
    }
}

fn capabilities(element: &Element<'_>, findings: &mut Vec<(usize, Finding)>) {
    let given = element.node.get("capabilities");
    let has =
        |name: &str| given.is_some_and(|given| given.get_exactly(name).is_some_and(Node::is_true));
    for member in given.map_or(&[][..], Node::members) {
        let near = super::schema::nearest(&member.key, CAPABILITIES);
        if let Some(near) = near.filter(|near| *near != member.key) {
            findings.push((
                element.file,
                Finding {
                    severity: Severity::Warning,
                    rule: "capability",
                    span: member.key_span.clone(),
                    pointer: join(&join(&element.pointer, "capabilities"), &member.key),
                    what: format!(
                        "runtimes know no capability \"{}\"; the case counts",
                        member.key
                    ),
                    help: format!("write \"{near}\""),
                },
            ));
        }
    }
    let asks = |keys: &[&str]| keys.iter().any(|key| element.node.get(key).is_some());
    let missing = match element.kind() {
        "portmap" if !has("portMappings") => ("portMappings", "maps no ports"),
        "bandwidth" if !has("bandwidth") && !asks(&["ingressRate", "egressRate"]) => {
            ("bandwidth", "limits nothing")
        }
        _ => return,
    };
    if asks(&["runtimeConfig"]) {
        return;
    }
    let (capability, effect) = missing;
    let what = format!(
        "{} {effect} without the capability {capability}",
        element.kind()
    );
    let help = format!("add \"capabilities\": {{ \"{capability}\": true }}");
    findings.push(element.finding(
        Severity::Warning,
        "capability",
        "capabilities",
        (what, help),
    ));
}

/// The version that a runtime chooses.
pub(super) fn selected(network: &Network<'_>) -> Option<Version> {
    let text = |node: &Node| node.text().and_then(Version::from_text);
    let several = network
        .root
        .get_exactly("cniVersions")
        .map_or(&[][..], Node::elements);
    let one = network.root.get("cniVersion");
    several
        .iter()
        .chain(one)
        .filter_map(text)
        .max()
        .or_else(|| one.is_none().then_some(Version::V0_1_0))
}

fn version(network: &Network<'_>, element: &Element<'_>) -> Option<(usize, Finding)> {
    let (_, since) = SINCE
        .into_iter()
        .find(|(kind, _)| *kind == element.kind())?;
    let version = selected(network).filter(|version| *version < since)?;
    let what = format!(
        "{} does not support version {version} of the specification",
        element.kind()
    );
    let help = format!("set cniVersion to \"1.0.0\", or at least to \"{since}\"");
    Some(element.finding(Severity::Error, "version", "type", (what, help)))
}

fn without_ipam(element: &Element<'_>) -> Option<(usize, Finding)> {
    let is_down = element
        .node
        .get("disableContainerInterface")
        .is_some_and(Node::is_true);
    let ipam = element.node.get("ipam");
    if element.kind() != "bridge" || is_down || ipam.is_some_and(|ipam| ipam.get("type").is_some())
    {
        return None;
    }
    let (what, key) = match ipam {
        Some(_) => ("ipam has no type: containers get no addresses", "ipam"),
        None => ("containers get no addresses without ipam", "ipam"),
    };
    let help =
        "add \"ipam\": { \"type\": \"host-local\", … }, unless it is to be layer 2 only".to_owned();
    Some(element.finding(Severity::Warning, "ipam", key, (what.to_owned(), help)))
}

/// Masquerade that cannot have the intended effect.
fn masquerade(element: &Element<'_>, findings: &mut Vec<(usize, Finding)>) {
    let has = |key: &str| element.node.get(key).is_some_and(Node::is_true);
    let asked = element
        .node
        .get("ipMasq")
        .is_some_and(|value| value.is_true() || !value.members().is_empty());
    if !asked || element.kind() != "bridge" {
        return;
    }
    if !has("isGateway") && !has("isDefaultGateway") {
        let what =
            "ipMasq has no effect while the bridge is not the gateway of the containers".to_owned();
        let help = "add \"isGateway\": true, or remove ipMasq".to_owned();
        findings.push(element.finding(Severity::Warning, "masquerade", "ipMasq", (what, help)));
        return;
    }
    let Some(ipam) = element
        .node
        .get("ipam")
        .filter(|_| element.ipam_kind() != "dhcp")
    else {
        return;
    };
    let is_default = |route: &Node| {
        let destination = route.get("dst").and_then(Node::text);
        destination.is_some_and(|text| text.ends_with("/0"))
    };
    let routes = ipam.get("routes").map_or(&[][..], Node::elements);
    if !has("isDefaultGateway")
        && IPAM.contains(&element.ipam_kind())
        && !routes.iter().any(is_default)
    {
        let what =
            "containers get no default route, so that they reach no network to masquerade for"
                .to_owned();
        let help = "write isDefaultGateway for isGateway, or add \"routes\": [{ \"dst\": \"0.0.0.0/0\" }] to ipam".to_owned();
        findings.push(element.finding(Severity::Warning, "masquerade", "ipMasq", (what, help)));
    }
}
