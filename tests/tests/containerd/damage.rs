//! Pods whose network was damaged before they are stopped.

use std::fs;

use testkit::Node as _;

use crate::pods::{Pod, Pods, list, pod};

/// Two pods run; the first is damaged and ends; the other is not affected.
#[track_caller]
fn it_ends_all_the_same(backend: &str, damage: impl Fn(&Pods, &Pod)) {
    let pods = Pods::new(&list("1.0.0", backend));
    let (damaged, other) = (pods.run(pod("damaged", 8081)), pods.run(pod("other", 8082)));
    damage(&pods, &damaged);
    pods.end(&damaged);
    pods.assert_closed(8081);
    pods.assert_connected(&other, 8082);
    pods.assert_whole(&other);
    pods.end(&other);
    pods.assert_nothing_left();
}

fn delete_namespace(pods: &Pods, pod: &Pod) {
    pods.host.unmount(&pod.netns);
    fs::remove_file(&pod.netns).unwrap();
}

/// Another file is where the namespace was, as in a mount namespace that never saw it.
fn unmount_namespace(pods: &Pods, pod: &Pod) {
    pods.host.unmount(&pod.netns);
}

fn delete_addresses(pods: &Pods, pod: &Pod) {
    let inside = pods.inside(pod);
    for family in ["-4", "-6"] {
        inside.command(&["ip", family, "address", "flush", "dev", "eth0"]);
    }
}

fn delete_link(pods: &Pods, pod: &Pod) {
    pods.inside(pod).ip("link delete eth0");
}

fn rename_link(pods: &Pods, pod: &Pod) {
    pods.inside(pod)
        .ip_batch(&["link set eth0 down", "link set eth0 name other0"]);
}

#[test]
fn the_namespace_is_deleted() {
    it_ends_all_the_same("iptables", delete_namespace);
}

#[test]
fn the_namespace_is_deleted_with_nftables() {
    it_ends_all_the_same("nftables", delete_namespace);
}

#[test]
fn the_namespace_is_unmounted() {
    it_ends_all_the_same("iptables", unmount_namespace);
}

#[test]
fn the_addresses_are_deleted() {
    it_ends_all_the_same("iptables", delete_addresses);
}

#[test]
fn the_addresses_are_deleted_with_nftables() {
    it_ends_all_the_same("nftables", delete_addresses);
}

#[test]
fn the_link_is_deleted() {
    it_ends_all_the_same("nftables", delete_link);
}

#[test]
fn the_link_is_renamed() {
    it_ends_all_the_same("iptables", rename_link);
}

/// What the kernel and the runtime's cache know is lost: DEL has nothing but names.
#[test]
fn the_cache_and_the_namespace_are_deleted() {
    it_ends_all_the_same("iptables", |pods, pod| {
        delete_namespace(pods, pod);
        let cached = format!("/var/lib/cni/results/pods-{}-eth0", pod.id);
        fs::remove_file(cached).unwrap();
    });
}
