//! ADD of what exists already, of several interfaces, and again after DEL.

use testkit::{Container, Node};

use super::support::{SECOND, add_second, del, is_intact};
use crate::demand;
use crate::rig::{Attached, Rig};
use crate::rule::{Only, Rule, must, runtime, should};
use crate::subject::Class;

const ADD: &str = "spec 2: ADD";
const EXISTS: &str = "an interface of this name in the container is an error; look for it before anything is allocated";
const CREATES: &[Only] = &[Only::Classes(&[Class::Main]), Only::Except(&["loopback"])];
const ONCE: &[Only] = &[Only::Classes(&[Class::Main]), Only::Once];

pub(crate) const RULES: &[Rule] = &[
    must(
        "add.twice-fails",
        ADD,
        "A second ADD of the same attachment fails",
        twice_fails,
    )
    .only(ONCE)
    .advice(EXISTS),
    must(
        "add.twice-changes-nothing",
        ADD,
        "A second ADD of the same attachment leaves the first as it is",
        twice_changes_nothing,
    )
    .only(&[Only::Classes(&[Class::Main])])
    .advice(EXISTS),
    should(
        "add.twice-releases-addresses",
        ADD,
        "A second ADD that fails keeps no other address",
        twice_releases_addresses,
    )
    .only(ONCE)
    .advice("a failed ADD has to give back what its IPAM plugin has allocated"),
    must(
        "add.existing-interface",
        ADD,
        "ADD fails if the container has an interface of this name from elsewhere",
        existing_interface,
    )
    .only(CREATES)
    .advice(EXISTS),
    must(
        "add.existing-interface-stays",
        ADD,
        "ADD leaves an interface of this name from elsewhere as it is",
        existing_interface_stays,
    )
    .only(CREATES)
    .advice(EXISTS),
    should(
        "add.existing-interface-leaves-nothing",
        ADD,
        "ADD that finds an interface of this name leaves nothing behind",
        existing_interface_leaves_nothing,
    )
    .only(&[
        Only::Classes(&[Class::Main]),
        // Its file is for DEL.
        Only::Except(&["loopback", "flannel"]),
    ])
    .advice(EXISTS),
    runtime(
        "add.two-interfaces",
        "Multus, Podman: several networks",
        "A second interface of one network works, or is refused and changes nothing",
        two_interfaces,
    )
    .only(&[
        Only::Classes(&[Class::Main]),
        Only::Except(&["loopback"]),
        Only::Two,
    ]),
    must(
        "add.two-containers",
        ADD,
        "Two containers can be attached to one network",
        two_containers,
    )
    .only(&[Only::Two]),
    must(
        "add.again-after-del",
        ADD,
        "ADD succeeds again after DEL",
        again_after_del,
    ),
    runtime(
        "add.again-in-new-namespace",
        "kubelet: restart of a pod",
        "ADD succeeds for the same container ID in a new namespace after DEL",
        again_in_new_namespace,
    )
    .only(&[Only::Except(&["host-device"])]),
    runtime(
        "add.after-lost-del",
        "runtimes that crashed: DEL never came",
        "ADD succeeds for another container after one ended without DEL",
        after_lost_del,
    )
    .only(&[Only::Two]),
    must(
        "add.after-failure",
        ADD,
        "ADD succeeds after one that failed for its namespace",
        after_failure,
    )
    .only(&[Only::Netns]),
    runtime(
        "add.same-shape",
        "runtimes compare results",
        "Two ADDs yield results with the same numbers of interfaces, addresses and routes",
        same_shape,
    )
    .only(&[Only::Two]),
];

fn twice_fails(rig: &Rig) {
    let attached = rig.attach("c1");
    demand::error(rig.add(attached.container(), &attached.config));
}

fn twice_changes_nothing(rig: &Rig) {
    let attached = rig.attach("c1");
    let before = rig.state();
    // Whether it fails is another rule.
    rig.add(attached.container(), &attached.config);
    rig.assert_back(&before);
}

fn twice_releases_addresses(rig: &Rig) {
    let attached = rig.attach("c1");
    let before = rig.state().only_files();
    demand::error(rig.add(attached.container(), &attached.config));
    before.assert_same(&rig.state().only_files());
}

/// Gives the container an interface of the name that ADD will want. Returns what the kernel shows of it.
fn occupy(rig: &Rig, container: &Container) -> String {
    let name = &rig.subject.if_name;
    rig.host.ip(&format!(
        "link add foreign0 type veth peer name {name} netns {}",
        container.id()
    ));
    super::set_up(&rig.host, &["foreign0"]);
    super::set_up(container, &[name]);
    super::wait_until_up(container, name);
    container.ip(&format!("addr add 192.0.2.9/24 dev {name}"));
    container.ip(&format!("-d addr show dev {name}"))
}

fn existing_interface(rig: &Rig) {
    let pod = rig.pod("c1");
    occupy(rig, &pod.container);
    demand::error(super::call(rig, "ADD", &pod).run());
}

fn existing_interface_stays(rig: &Rig) {
    let pod = rig.pod("c1");
    let before = occupy(rig, &pod.container);
    // Whether it fails is another rule.
    super::call(rig, "ADD", &pod).run();
    let after = pod
        .container
        .ip(&format!("-d addr show dev {}", rig.subject.if_name));
    assert!(before == after, "ADD changed\n{before}\nto\n{after}");
}

fn existing_interface_leaves_nothing(rig: &Rig) {
    rig.warmed_up();
    let pod = rig.pod("c1");
    occupy(rig, &pod.container);
    let before = rig.state();
    // Whether it fails is another rule.
    super::call(rig, "ADD", &pod).run();
    rig.assert_back(&before);
}

fn two_interfaces(rig: &Rig) {
    let attached = rig.attach("c1");
    let before = rig.state();
    let run = add_second(rig, &attached);
    if run.is_ok() {
        let names = attached.container().link_names();
        assert!(
            names.iter().any(|link| link == SECOND),
            "the container has {names:?}, but not {SECOND}"
        );
    } else {
        demand::error(run);
        rig.assert_back(&before);
    }
    is_intact(rig, &attached);
}

fn two_containers(rig: &Rig) {
    let attached = ["c1", "c2"].map(|id| rig.attach(id));
    attached.iter().for_each(|attached| del(rig, attached));
}

fn again_after_del(rig: &Rig) {
    let attached = rig.attach("c1");
    del(rig, &attached);
    demand::result(&rig.add(attached.container(), &attached.config));
}

fn again_in_new_namespace(rig: &Rig) {
    let attached = rig.attach("c1");
    del(rig, &attached);
    drop(attached);
    rig.attach("c1");
}

fn after_lost_del(rig: &Rig) {
    drop(rig.attach("c1"));
    rig.attach("c2");
}

fn after_failure(rig: &Rig) {
    let pod = rig.pod("c1");
    let path = rig.host.dir().join("missing");
    demand::error(super::call(rig, "ADD", &pod).netns(path).run());
    demand::result(&super::call(rig, "ADD", &pod).run());
}

fn same_shape(rig: &Rig) {
    let (one, other) = (rig.attach("c1"), rig.attach("c2"));
    for list in ["interfaces", "ips", "routes"] {
        let count = |attached: &Attached| super::elements(&attached.result, list).count();
        let (first, second) = (count(&one), count(&other));
        assert!(first == second, "{first} {list}, then {second}");
    }
}
