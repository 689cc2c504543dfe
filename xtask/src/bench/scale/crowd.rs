//! Rules as thousands of containers leave them, in one go.

use std::fmt::Write as _;
use std::fs;

use testkit::Host;
use testkit::Node;

use crate::Outcome;

/// The address of a container, and its network.
fn address(number: u32) -> String {
    format!("10.200.{}.{}", number / 250, number % 250 + 1)
}

const NETWORK: &str = "10.200.0.0/16";

/// Above the ports that the cases map.
fn port(number: u32) -> u32 {
    10_000 + number
}

/// A container ID as runtimes make them.
fn id(number: u32) -> String {
    format!("{number:064x}")
}

/// Appends a line.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        // A string takes everything.
        let _ = writeln!($text, $($format)*);
    };
}

fn load(host: &Host, program: &[&str], text: &str) -> Outcome {
    let file = host.dir().join("crowd");
    fs::write(&file, text).map_err(|err| format!("{}: {err}", file.display()))?;
    let file = file.display().to_string();
    let words: Vec<&str> = program.iter().copied().chain([file.as_str()]).collect();
    host.try_command(&words).map(drop)
}

fn load_nft(host: &Host, text: &str) -> Outcome {
    load(host, &["nft", "-f"], text)
}

fn load_iptables(host: &Host, rules: &str) -> Outcome {
    let text = format!("*nat\n{rules}COMMIT\n");
    load(host, &["iptables-restore", "--noflush"], &text)
}

pub(super) fn masquerade_nftables(host: &Host, size: u32) -> Outcome {
    let mut text = String::new();
    for n in 0..size {
        let comment = format!(
            "0123456789abcdef-{n:016x}, net: crowd, if: eth0, id: {}",
            id(n)
        );
        line!(
            text,
            "add rule inet cni_plugins_masquerade masq_checks ip saddr {} ip daddr != {NETWORK} masquerade comment \"{comment}\"",
            address(n)
        );
    }
    load_nft(host, &text)
}

pub(super) fn masquerade_iptables(host: &Host, size: u32) -> Outcome {
    let mut text = String::new();
    for n in 0..size {
        let comment = format!(
            "-m comment --comment \"name: \\\"crowd\\\" id: \\\"{}\\\"\"",
            id(n)
        );
        let chain = format!("CNI-{n:024x}");
        line!(text, ":{chain} - [0:0]");
        line!(text, "-A {chain} -d {NETWORK} {comment} -j ACCEPT");
        line!(text, "-A {chain} ! -d 224.0.0.0/4 {comment} -j MASQUERADE");
        line!(
            text,
            "-A POSTROUTING -s {}/32 {comment} -j {chain}",
            address(n)
        );
    }
    load_iptables(host, &text)
}

pub(super) fn portmap_nftables(host: &Host, size: u32) -> Outcome {
    let mut text = String::new();
    for n in 0..size {
        let (address, port, id) = (address(n), port(n), id(n));
        let table = "add rule ip cni_hostport";
        line!(
            text,
            "{table} hostports tcp dport {port} dnat to {address}:80 comment \"{id}\""
        );
        line!(
            text,
            "{table} masquerading ip saddr {NETWORK} ip daddr {address} ct status dnat masquerade comment \"{id}\""
        );
        line!(
            text,
            "{table} masquerading ip saddr 127.0.0.1 ip daddr {address} masquerade comment \"{id}\""
        );
    }
    load_nft(host, &text)
}

pub(super) fn portmap_map(host: &Host, size: u32) -> Outcome {
    let mut text = String::new();
    for n in 0..size {
        let (address, port, id) = (address(n), port(n), id(n));
        let element = |set: &str, key: &str, data: &str| {
            format!("add element ip cni_portmap {set} {{ {key} comment \"{id}\"{data} }}\n")
        };
        text += &element(
            "by_port",
            &format!("tcp . {port}"),
            &format!(" : {address} . 80"),
        );
        text += &element("from_localhost", &address, "");
        text += &element("from_network_16", &format!("10.200.0.0 . {address}"), "");
    }
    load_nft(host, &text)
}

pub(super) fn portmap_iptables(host: &Host, size: u32) -> Outcome {
    let mut text = String::new();
    for n in 0..size {
        let (address, port) = (address(n), port(n));
        let comment = format!(
            "-m comment --comment \"dnat name: \\\"crowd\\\" id: \\\"{}\\\"\"",
            id(n)
        );
        let chain = format!("CNI-DN-{n:021x}");
        let tcp = format!("-p tcp -m tcp --dport {port}");
        line!(text, ":{chain} - [0:0]");
        for source in [NETWORK, "127.0.0.1/32"] {
            line!(text, "-A {chain} -s {source} {tcp} -j CNI-HOSTPORT-SETMARK");
        }
        line!(
            text,
            "-A {chain} {tcp} -j DNAT --to-destination {address}:80"
        );
        line!(
            text,
            "-A CNI-HOSTPORT-DNAT -p tcp {comment} -m multiport --dports {port} -j {chain}"
        );
    }
    load_iptables(host, &text)
}
