//! The operator's list of allowed sysctls.

use crate::common::{assert_same, attached, config, state, tuning};
use serde_json::json;
use std::fs;
use std::path::Path;
use testkit::{Container, Host, Node};

const KEY: &str = "net.ipv4.conf.IFNAME.arp_filter";

/// A host with an allow list and an attached container.
fn with_list(text: &str) -> (Host, Container) {
    let (host, container) = attached();
    fs::create_dir_all("/etc/cni").unwrap();
    host.mount_tmpfs(Path::new("/etc/cni"), "size=1m");
    fs::create_dir("/etc/cni/tuning").unwrap();
    fs::write("/etc/cni/tuning/allowlist.conf", text).unwrap();
    (host, container)
}

fn one_sysctl() -> serde_json::Value {
    config(
        json!({"cniVersion": "1.0.0", "prevResult": crate::common::prev("1.0.0"), "sysctl": {KEY: "1"}}),
    )
}

/// The expected results are those of `grep -P`, whose syntax includes these expressions.
#[test]
fn regular_expressions() {
    let (host, container) = with_list("");
    for pattern in [
        r"^net\.ipv4\.conf\.IFNAME\.[a-z_]*$",
        r"^net\.ipv4\.conf\.eth0\.",
        r"arp_filter",
        r"^arp_filter",
        r"net.ipv4",
        r"net/ipv4",
        r"(?i)ifname",
        r"(?i:NET)\.ipv4",
        r"IFNAM[[:alpha:]]\.",
        r"[^[:lower:]]{6}",
        r"[^[:lower:]]{9,}",
        r"\w+\.\w+\.\w+\.\w+\.\w+$",
        r"^(\w+\.){4}\w+$",
        r"^(\w+\.){5}",
        r"\bconf\b|nothing",
        r"\Bconf",
        r"net\x2eipv4",
        r"net\x{2e}ipv4",
        r"(?P<a>net)\.",
        r"(?:net)(?:\.)(ipv[46])",
        r"r{1,2}p_f",
        r"r{2}",
        r"(n|ne|net)\.ipv4",
        r"arp_filter\z",
        r"\Aarp",
        r"[a-]rp[_-]filter",
        r"[]n]et",
        r"[\d\-.]conf",
        r"\D\.conf",
        r"x*?$",
        r"^$",
        // Invalid.
        r"(",
        r"[",
        r"*",
        r"a**",
        r"\8",
        r"a{3,1}",
        r"[b-a]",
        r"[[:x:]]",
        r"net)",
        "\\",
    ] {
        let list = format!("  {pattern}  \n\n");
        fs::write("/etc/cni/tuning/allowlist.conf", list).unwrap();
        let key = host.write("key", KEY);
        let judged = host.try_command(&["grep", "-qP", "-e", pattern, key.to_str().unwrap()]);
        let ours = tuning().add(&container, &one_sysctl());
        assert_eq!(ours.is_ok(), judged.is_ok(), "{pattern}\n{}", ours.report());
        if let Err(why) = judged {
            // 1 means no match, 2 an invalid expression.
            let words = match why.contains("exit status: 1") {
                true => "Sysctl net.ipv4.conf.IFNAME.arp_filter is not allowed. Only",
                false => "is not a supported regular expression: ",
            };
            ours.expect_error(999).mentions(words);
        }
        tuning().del(&container, &one_sysctl()).expect_ok();
    }
}

#[test]
fn what_is_not_allowed_is_refused() {
    for (list, words) in [
        (
            "^net.core\n\n  ^net.ipv6  \n",
            "Sysctl net.ipv4.conf.IFNAME.arp_filter is not allowed. Only the following sysctls are allowed: \
             [^net.core ^net.ipv6]",
        ),
        ("\n", "Only the following sysctls are allowed: []"),
        (
            "net.core\n(\n",
            "\"(\" is not a supported regular expression: ",
        ),
    ] {
        let (host, container) = with_list(list);
        let before = state(&host, &container);
        let mut config = one_sysctl();
        config["sysctl"]["net.core.somaxconn"] = "5".into();
        config["mtu"] = 1400.into();
        tuning()
            .add(&container, &config)
            .expect_error(999)
            .mentions(words);
        assert_same(&before, &state(&host, &container));
        config["cniVersion"] = "1.1.0".into();
        tuning().status(&config).expect_error(50).mentions(words);
        // The settings of a container are checked, too.
        let mut config = one_sysctl();
        config["args"] = json!({"cni": {"sysctl": config["sysctl"]}});
        config["sysctl"] = json!(null);
        tuning()
            .add(&container, &config)
            .expect_error(999)
            .mentions(words);
        assert_same(&before, &state(&host, &container));
    }
}

/// An invalid line after the one that matches is not an error.
#[test]
fn lines_are_read_as_they_are_reached() {
    let (_host, container) = with_list("^net\n(\n");
    tuning().add(&container, &one_sysctl()).expect_ok();
}

/// The list applies to ADD only.
#[test]
fn other_verbs_and_other_keys() {
    let (_host, container) = with_list("");
    fs::write("/etc/cni/tuning/allowlist.conf", "^net").unwrap();
    let run = tuning().add(&container, &one_sysctl()).expect_ok();
    fs::write("/etc/cni/tuning/allowlist.conf", "").unwrap();
    tuning().check(&container, &run.with_prev()).expect_ok();
    tuning().del(&container, &run.with_prev()).expect_ok();
    let config = config(json!({"mtu": 1400}));
    tuning().add(&container, &config).expect_ok();
}

/// An unreadable list is an error.
#[test]
fn a_list_that_cannot_be_read() {
    let (host, container) = with_list("");
    fs::remove_file("/etc/cni/tuning/allowlist.conf").unwrap();
    fs::create_dir("/etc/cni/tuning/allowlist.conf").unwrap();
    let before = state(&host, &container);
    tuning()
        .add(&container, &one_sysctl())
        .expect_error(999)
        .mentions(
            "cannot read /etc/cni/tuning/allowlist.conf, which says what sysctls are allowed",
        );
    assert_same(&before, &state(&host, &container));
    tuning()
        .add(&container, &config(json!({"mtu": 1400})))
        .expect_ok();
}
