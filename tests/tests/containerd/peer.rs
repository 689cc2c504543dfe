//! Plugins that are replaced by upstream's, and back, while pods run.

use libcni::{Cni, NetworkList};
use testkit::runtime::use_plugins;
use testkit::{bin_dir, peer_dir};

use crate::pods::{Pod, Pods, list, pod};

/// The number of our records of a pod.
fn records_of(pods: &Pods, pod: &Pod) -> usize {
    let state = pods.state();
    let files = state.lines("host files").into_iter();
    files
        .filter(|line| line.starts_with("/run/cni/") && line.contains(&pod.id))
        .count()
}

#[test]
fn pods_outlive_their_plugins() {
    let mut pods = Pods::new(&list("1.0.0", "iptables"));
    use_plugins(&pods.host, &peer_dir());
    pods.warm_up();

    // Two by upstream's plugins, of which each side stops one; two by ours likewise.
    let theirs = [pods.run(pod("one", 8081)), pods.run(pod("two", 8082))];
    use_plugins(&pods.host, &bin_dir());
    let ours = [pods.run(pod("three", 8083)), pods.run(pod("four", 8084))];
    let all = [&theirs[0], &theirs[1], &ours[0], &ours[1]];
    for (one, port) in all.into_iter().zip(8081..) {
        pods.assert_connected(one, port);
        pods.assert_whole(one);
    }
    pods.containerd.restart("TERM");
    pods.end(&theirs[0]);
    pods.end(&ours[0]);
    use_plugins(&pods.host, &peer_dir());
    pods.assert_connected(&theirs[1], 8082);
    pods.assert_connected(&ours[1], 8084);
    pods.end(&theirs[1]);
    pods.end(&ours[1]);
    for port in 8081..=8084 {
        pods.assert_closed(port);
    }
    // Upstream's plugins do not know our records, which say nothing any more; GC deletes them.
    use_plugins(&pods.host, &bin_dir());
    assert_eq!(records_of(&pods, &ours[1]), 4);
    let mut newer = list("1.0.0", "iptables");
    newer["cniVersion"] = "1.1.0".into();
    let newer = NetworkList::from_bytes(newer.to_string().as_bytes()).unwrap();
    Cni::new([bin_dir()]).gc(&newer, Some(&[])).unwrap();
    pods.assert_nothing_left();

    let last = pods.run(pod("five", 8081));
    pods.assert_connected(&last, 8081);
    pods.end(&last);
    pods.assert_nothing_left();
}
