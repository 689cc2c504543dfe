//! A failing ADD restores everything, wherever it fails.

use crate::common::{assert_same, attached, config, everything, ip, state, tuning};
use serde_json::json;
use std::fs;
use testkit::{Node, fail_each_request, merge};

#[test]
fn each_request() {
    let (host, container) = attached();
    let sysctls = container.sysctls();
    let config = config(everything());
    let add = || {
        tuning()
            .command("ADD")
            .container(&container)
            .config(&config)
    };
    assert_eq!(fail_each_request(&host, add), 5);
    assert_eq!(sysctls, container.sysctls());
}

/// The kernel accepts the first sysctl and refuses the second.
#[test]
fn each_sysctl() {
    for (key, value) in [
        ("net.ipv4.ip_forward", "nonsense"),
        ("net.core.somaxconn", "-7"),
        ("net.ipv4.ip_local_port_range", "9 1"),
    ] {
        let (host, container) = attached();
        container.set_sysctl("net/ipv4/conf/eth0/forwarding", "1");
        let before = state(&host, &container);
        let sysctls = json!({"net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv6.conf.all.forwarding": "1", key: value});
        let config = config(merge(everything(), &json!({"sysctl": sysctls})));
        tuning()
            .add(&container, &config)
            .expect_error(999)
            .mentions(&format!(
                "failed to set sysctl \"{key}\" to \"{value}\": invalid argument"
            ));
        assert_same(&before, &state(&host, &container));
    }
}

#[test]
fn attributes_that_the_kernel_refuses() {
    let (host, container) = attached();
    let before = state(&host, &container);
    for (mtu, words) in [
        (70_000, "failed to set the MTU of \"eth0\""),
        (10, "failed to set the MTU of \"eth0\""),
    ] {
        let config = config(merge(everything(), &json!({"mtu": mtu})));
        tuning()
            .add(&container, &config)
            .expect_error(999)
            .mentions(words);
        assert_same(&before, &state(&host, &container));
    }
}

/// Nothing is changed if the backup cannot be written.
#[test]
fn a_backup_that_cannot_be_written() {
    let (host, container) = attached();
    let dir = host.dir().join("full");
    fs::create_dir(&dir).unwrap();
    host.mount_tmpfs(&dir, "size=4k");
    fs::write(dir.join("fill"), vec![0; 4096]).unwrap();
    let before = state(&host, &container);
    let full = config(merge(everything(), &json!({"dataDir": dir})));
    tuning()
        .add(&container, &full)
        .expect_error(999)
        .mentions("c1_eth0.json: no space left on device");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    assert_same(&before, &state(&host, &container));
    let file = config(merge(
        everything(),
        &json!({"dataDir": dir.join("fill/sub")}),
    ));
    tuning()
        .add(&container, &file)
        .expect_error(999)
        .mentions("not a directory");
    assert_same(&before, &state(&host, &container));
}

/// A failing second ADD keeps the changes of the first and its backup.
#[test]
fn a_second_add_that_fails() {
    let (host, container) = attached();
    let config_of = config(everything());
    let run = tuning().add(&container, &config_of).expect_ok();
    let before = state(&host, &container);
    let backup = fs::read_to_string("/run/cni/tuning/c1_eth0.json").unwrap();
    let failing = config(merge(
        everything(),
        &json!({"mtu": 1300, "sysctl": {"net.core.somaxconn": "-1"}}),
    ));
    tuning().add(&container, &failing).expect_error(999);
    assert_same(&before, &state(&host, &container));
    assert_eq!(
        fs::read_to_string("/run/cni/tuning/c1_eth0.json").unwrap(),
        backup
    );
    ip(&container, "link show eth0");
    tuning().check(&container, &run.with_prev()).expect_ok();
}
