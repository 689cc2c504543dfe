//! `cargo xtask test --kernel debian`: tests on the distribution's own kernel.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::{Deferred, EMULATED};

use super::deferred;
use super::results::{self, Results};
use crate::guest::{Kernel, Machine, debian};
use crate::{commands, project};

/// The only value of `--kernel`.
const DEBIAN: &str = "debian";

/// The packages of [`SELECTION`].
const PACKAGES: [&str; 14] = [
    "rtnl-batch",
    "netfilter",
    "cni-bridge",
    "cni-ptp",
    "cni-macvlan",
    "cni-ipvlan",
    "cni-vlan",
    "cni-dummy",
    "cni-tap",
    "cni-vrf",
    "cni-portmap",
    "cni-firewall",
    "cni-bandwidth",
    "blackbox",
];

/// What runs if the arguments select no tests: every kind of link, both packet filters with packets, shaping, deferred
/// deletion and GC. Few, since an emulated processor needs about ten seconds for one. Of GC, only what needs no attributes
/// of files on tmpfs, which this kernel lacks.
const SELECTION: [&str; 8] = [
    "package(rtnl-batch) & binary(/kinds|links|bridges|traffic_control|deferred/)",
    "package(netfilter) & binary(/expressions|iptables_upstream/)",
    "package(cni-bridge) & test(/containers_reach_each_other_in_one|the_interface_is_the_gateway|addresses_of_both_families|\
     packets_to_other_networks|frames_with_another|each_guard_drops|isolated_ports|vlans_from_/)",
    "package(/^cni-(macvlan|ipvlan|vlan)$/) & test(/bridge_connects|l2_is_a_switch|l3_and_l3s|vlans_are_separate|interop/)",
    "package(/^cni-(ptp|dummy|tap|vrf)$/) & test(/routes_of_both_ends|without_a_master|attributes_of_the_link|\
     are_kept|either_way/)",
    "package(/^cni-(portmap|firewall)$/) & test(/^(matrix::(iptables|nftables)|packets::(open|same_bridge|isolated))$|\
     gc_removes_what_is_not_valid/)",
    "package(cni-bandwidth) & test(/qdiscs_and_filters|packets_are_classified|the_same_parameters/)",
    "package(blackbox) & test(/a_refused_deletion|no_zombie|told_apart|links_without_alias/)",
];

/// Removes `--kernel VALUE` from the arguments. Returns whether it was there.
///
/// # Errors
///
/// For an unknown value.
pub(super) fn take_option(arguments: &mut Vec<String>) -> Result<bool> {
    let Some(at) = arguments
        .iter()
        .position(|argument| argument.starts_with("--kernel"))
    else {
        return Ok(false);
    };
    let option = arguments.remove(at);
    let value = match option.strip_prefix("--kernel=") {
        Some(value) => value.to_owned(),
        None if option == "--kernel" && at < arguments.len() => arguments.remove(at),
        None => bail!("{option} is not an option with a value; it is --kernel {DEBIAN}"),
    };
    match value == DEBIAN {
        true => Ok(true),
        false => bail!("--kernel {value}: no such kernel; there is {DEBIAN}"),
    }
}

/// Runs the tests that the arguments of nextest select, or [`SELECTION`].
///
/// # Errors
///
/// When tests failed, or the kernel is not available.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    let image = debian::provide()?;
    let tests = list(arguments)?;
    let name = format!("Linux {} of Debian", image.release);
    println!("\n{} tests on {name}, in QEMU", tests.len());
    let mut results = Results::new(&name);
    results.is_only = true;
    let machine = Machine {
        kernel: Kernel::Debian(image),
        memory: 4096,
        deadline: Duration::from_secs(4 * 3600),
        silence: deferred::SILENCE,
        ..Machine::default()
    };
    let started = Instant::now();
    let results = deferred::on_machines(&[machine], EMULATED, &tests, results)?;
    println!("\ntook {} s, with booting", started.elapsed().as_secs());
    results::report(&[results])
}

/// Builds the tests and returns those that are selected.
fn list(arguments: &[String]) -> Result<Vec<Deferred>> {
    let root = project::root();
    commands::read(&mut commands::cargo(&root, ["nextest", "--version"])).context(
        "tests on another kernel are listed by cargo-nextest (cargo install cargo-nextest)",
    )?;
    let mut list = commands::cargo(&root, ["nextest", "list", "--message-format", "json"]);
    match arguments.is_empty() {
        true => {
            list.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
            list.args(SELECTION.iter().flat_map(|tests| ["-E", tests]));
        }
        false => {
            list.args(arguments);
        }
    }
    let text = commands::read(&mut list)?;
    let value: Value = serde_json::from_str(&text).context("the list of nextest")?;
    let suites = value["rust-suites"].as_object();
    let suites = suites.context("the list of nextest has no suites")?;
    let tests: Vec<Deferred> = suites.values().flat_map(tests).collect();
    match tests.is_empty() {
        true => bail!("no test is selected"),
        false => Ok(tests),
    }
}

/// The selected tests of one program.
fn tests(suite: &Value) -> Vec<Deferred> {
    let text = |key: &str| suite[key].as_str().unwrap_or_default();
    let cases = suite["testcases"].as_object().into_iter().flatten();
    let selected = cases.filter(|(_, case)| case["filter-match"]["status"] == "matches");
    let test = |(name, _): (&String, _)| Deferred {
        binary: text("binary-id").into(),
        program: text("binary-path").into(),
        test: name.clone(),
        dir: text("cwd").into(),
        missing: Vec::new(),
    };
    selected.map(test).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_option_is_taken_out_of_the_arguments() {
        let take = |words: &[&str]| {
            let mut arguments: Vec<String> = words.iter().map(ToString::to_string).collect();
            take_option(&mut arguments)
                .map(|taken| (taken, arguments.join(" ")))
                .map_err(|error| error.to_string())
        };
        assert_eq!(take(&["-p", "rtnl"]), Ok((false, "-p rtnl".into())));
        assert_eq!(
            take(&["--kernel", "debian", "-p", "rtnl"]),
            Ok((true, "-p rtnl".into()))
        );
        assert_eq!(
            take(&["-p", "rtnl", "--kernel=debian"]),
            Ok((true, "-p rtnl".into()))
        );
        for (words, part) in [
            (&["--kernel"][..], "--kernel debian"),
            (&["--kernel", "hurd"], "hurd"),
            (&["--kernels", "debian"], "--kernels"),
        ] {
            let error = take(words).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn only_selected_tests_are_taken_from_the_list() {
        let suite = json!({
            "binary-id": "cni-vlan::vlan", "binary-path": "/deps/vlan-1", "cwd": "/vlan",
            "testcases": {
                "a::one": {"ignored": false, "filter-match": {"status": "matches"}},
                "a::two": {"ignored": false, "filter-match": {"status": "mismatch", "reason": "expression"}},
            }
        });
        let expected = Deferred {
            binary: "cni-vlan::vlan".into(),
            program: "/deps/vlan-1".into(),
            test: "a::one".into(),
            dir: "/vlan".into(),
            missing: Vec::new(),
        };
        assert_eq!(tests(&suite), [expected]);
    }
}
