//! Persistent namespaces and references, against the kernel, processes and `ip netns`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cni_core::ns::{Containers, Netns, NsError, PersistentNetns, Reference, Resolver};
use testkit::{Host, Node as _, Service};

const DIR: &str = "/run/netns";

fn reference(text: &str) -> Reference {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err}"))
}

fn open(text: &str) -> Result<Netns, NsError> {
    Resolver::default().open(&reference(text))
}

fn same(a: &Netns, b: &Netns) -> bool {
    a.is_same(b).expect("both are open")
}

/// A process in a network namespace of its own.
fn process_in_netns() -> Service {
    let service = Service::start(&["unshare", "--net", "sleep", "60"]);
    let own = Netns::current().expect("own namespace");
    let end = Instant::now() + Duration::from_secs(30);
    while Netns::of_process(service.pid()).is_ok_and(|netns| same(&netns, &own)) {
        assert!(Instant::now() < end, "unshare does nothing");
        thread::sleep(Duration::from_millis(5));
    }
    service
}

#[test]
fn a_persistent_namespace_has_containerds_form() {
    let host = Host::new();
    let dir = host.dir().join("pods/netns");
    let pod = PersistentNetns::create(&dir).unwrap();
    let name = pod.path().file_name().unwrap().to_str().unwrap();
    let groups: Vec<usize> = name.split('-').map(str::len).collect();
    assert_eq!(groups, [3, 8, 4, 4, 4, 12], "{name}");
    assert!(name.starts_with("cni-"), "{name}");
    assert!(!pod.is_closed().unwrap());
    assert_eq!(PersistentNetns::load(pod.path()), pod);
    let inside = pod.open().unwrap();
    let links = inside.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    assert!(links.unwrap().contains(" lo:"));
    assert!(!same(&inside, &Netns::current().unwrap()));
    pod.remove().unwrap();
    assert!(pod.is_closed().unwrap());
    assert!(!pod.path().exists());
    pod.remove().expect("removing is idempotent");
}

#[test]
fn a_namespace_outlives_its_file_as_long_as_it_is_used() {
    let host = Host::new();
    let process = process_in_netns();
    let of_process = Netns::of_process(process.pid()).unwrap();
    let kept = PersistentNetns::keep(&of_process, Path::new(DIR)).unwrap();
    assert!(same(&kept.open().unwrap(), &of_process));
    drop(process);
    let gone = Netns::of_process(u32::MAX / 2).unwrap_err();
    assert!(gone.is_gone(), "{gone}");
    let handle = kept.open().expect("the file keeps it");
    drop(of_process);
    kept.remove().unwrap();
    handle
        .run(|| host.ip("link set lo up"))
        .expect("the handle keeps it");
}

#[test]
fn an_unnamed_namespace_can_be_passed_on_by_its_path() {
    let host = Host::new();
    let unnamed = Netns::unnamed().unwrap();
    let path = unnamed.path().to_str().unwrap().to_owned();
    let seen = host.command(&["nsenter", &format!("--net={path}"), "ip", "-br", "link"]);
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(same(&Netns::open(Path::new(&path)).unwrap(), &unnamed));
    drop(unnamed);
    assert!(Netns::open(Path::new(&path)).unwrap_err().is_gone());
}

#[test]
fn run_on_thread_passes_the_callers_namespace() {
    let _host = Host::new();
    let (home, inside) = (Netns::current().unwrap(), Netns::unnamed().unwrap());
    let seen = inside.run_on_thread(|caller| {
        (
            same(caller, &home),
            same(&Netns::current().unwrap(), &inside),
        )
    });
    assert_eq!(seen.unwrap(), (true, true));
    assert!(same(&Netns::current().unwrap(), &home));
    let nested = inside.run(|| inside.run_on_thread(|caller| same(caller, &inside)));
    assert!(
        nested.unwrap().unwrap(),
        "the caller's, not the process's first"
    );
    let panicked = std::panic::catch_unwind(|| inside.run_on_thread(|_| panic!("inside")));
    assert!(panicked.is_err());
}

#[test]
fn what_is_no_namespace_is_never_deleted() {
    let host = Host::new();
    let file = host.write("precious", "content");
    let plain = PersistentNetns::load(&file);
    assert!(plain.is_closed().unwrap(), "it is no namespace");
    assert!(file.exists(), "and looking at it must not delete it");
    let err = plain.remove().unwrap_err();
    assert!(matches!(err, NsError::NotNamespace { .. }), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    let err = PersistentNetns::load("/proc/self/ns/net")
        .remove()
        .unwrap_err();
    assert!(err.to_string().contains("failed to remove netns"), "{err}");
    let err = PersistentNetns::load(DIR).remove().unwrap_err();
    assert!(matches!(err, NsError::NotNamespace { .. }), "{err}");
}

#[test]
fn remnants_links_and_stacked_mounts_are_removed() {
    let host = Host::new();
    // As an unmounted namespace leaves it, and as it looks in another mount namespace.
    let remnant = PersistentNetns::load(host.write("remnant", ""));
    assert!(remnant.is_closed().unwrap());
    assert!(matches!(remnant.open(), Err(NsError::NotNamespace { .. })));
    remnant.remove().unwrap();
    assert!(!remnant.path().exists());
    let pod = PersistentNetns::create(Path::new(DIR)).unwrap();
    let link = host.dir().join("link");
    symlink(pod.path(), &link).unwrap();
    let again = [
        "mount",
        "--bind",
        "/proc/self/ns/net",
        pod.path().to_str().unwrap(),
    ];
    host.command(&again);
    PersistentNetns::load(&link).remove().unwrap();
    assert!(!pod.path().exists(), "the namespace");
    assert!(link.symlink_metadata().is_err(), "the link");
}

#[test]
fn named_namespaces_are_those_of_ip_netns() {
    let host = Host::new();
    host.command(&["ip", "netns", "add", "red"]);
    let red = open("name:red").expect("created by ip");
    assert!(same(&red, &open("/run/netns/red").unwrap()));
    let blue = PersistentNetns::create_named(Path::new(DIR), "blue").unwrap();
    let list = host.command(&["ip", "netns", "list"]);
    assert!(list.contains("blue") && list.contains("red"), "{list}");
    host.command(&[
        "ip", "netns", "exec", "blue", "ip", "link", "set", "lo", "up",
    ]);
    // The directory is shared with mount namespaces that are derived from this one.
    host.command(&[
        "unshare",
        "--mount",
        "--propagation",
        "unchanged",
        "ip",
        "netns",
        "del",
        "blue",
    ]);
    assert!(blue.is_closed().unwrap());
    PersistentNetns::load("/run/netns/red").remove().unwrap();
    assert_eq!(host.command(&["ip", "netns", "list"]), "");
    fs::write("/run/netns/taken", "").unwrap();
    let err = PersistentNetns::create_named(Path::new(DIR), "taken").unwrap_err();
    assert!(err.to_string().contains("file exists"), "{err}");
}

#[test]
fn names_are_created_only_when_asked_and_missing() {
    let _host = Host::new();
    let err = open("name:typo").unwrap_err();
    assert!(matches!(err, NsError::NotExist { .. }), "{err}");
    assert!(!Path::new("/run/netns/typo").exists());
    let create = Resolver {
        create: true,
        ..Resolver::default()
    };
    let created = create.open(&reference("name:new")).unwrap();
    assert!(same(
        &created,
        &create.open(&reference("name:new")).unwrap()
    ));
    // Something is there, though no namespace: an error, not a reason to create.
    fs::write("/run/netns/remnant", "").unwrap();
    let err = create.open(&reference("name:remnant")).unwrap_err();
    assert!(matches!(err, NsError::NotNamespace { .. }), "{err}");
    let err = create.open(&reference("pid:4294967295")).unwrap_err();
    assert!(err.is_gone(), "{err}");
}

#[test]
fn many_creators_of_a_name_get_the_same_namespace() {
    let _host = Host::new();
    let create = || {
        let create = Resolver {
            create: true,
            ..Resolver::default()
        };
        create.open(&reference("name:one"))
    };
    let all: Vec<Netns> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect::<Result<_, _>>().unwrap()
    });
    assert!(all.iter().all(|netns| same(netns, &all[0])));
}

#[test]
fn waiting_ends_when_the_namespace_appears_or_at_the_deadline() {
    let _host = Host::new();
    let wait = |seconds| Resolver {
        wait: Duration::from_secs(seconds),
        ..Resolver::default()
    };
    let late = thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(60).open(&reference("name:late")));
        PersistentNetns::create_named(Path::new(DIR), "late").unwrap();
        waiting.join().unwrap()
    });
    assert!(same(&late.unwrap(), &open("name:late").unwrap()));
    let started = Instant::now();
    let err = wait(1).open(&reference("name:never")).unwrap_err();
    assert!(
        err.is_gone() && started.elapsed() >= Duration::from_secs(1),
        "{err}"
    );
    let process = process_in_netns();
    let netns = wait(60)
        .open(&reference(&format!("pid:{}", process.pid())))
        .unwrap();
    assert!(!same(&netns, &Netns::current().unwrap()));
}

/// Knows one container.
struct One(Netns);

impl Containers for One {
    fn netns(&self, label: &str, _wait: Duration) -> Result<Netns, NsError> {
        match label {
            "web" => Netns::open(self.0.path()),
            _ => Err(NsError::NoContainer {
                label: label.to_owned(),
                reason: "there is only web".to_owned(),
            }),
        }
    }
}

#[test]
fn labels_are_for_the_caller_to_resolve() {
    let _host = Host::new();
    let one = One(Netns::unnamed().unwrap());
    let with_labels = Resolver {
        containers: Some(&one),
        ..Resolver::default()
    };
    assert!(same(
        &with_labels.open(&reference("label:web")).unwrap(),
        &one.0
    ));
    let err = with_labels.open(&reference("label:db")).unwrap_err();
    assert_eq!(
        err.to_string(),
        r#"no running container has the label "db": there is only web"#
    );
    assert!(err.is_gone());
    let err = open("label:web").unwrap_err();
    assert_eq!(
        err.to_string(),
        r#"network namespace "label:web": labels of containers are not supported here"#
    );
    assert!(!err.is_gone(), "DEL must not take it for gone");
}

#[test]
fn references_are_written_as_they_are_read() {
    for text in [
        "pid:1",
        "name:blue",
        "label:web",
        "label:a=b:c",
        "/run/netns/x",
        "./pid:1",
        "x",
    ] {
        assert_eq!(reference(text).to_string(), text);
    }
    assert_eq!(
        reference("./pid:1"),
        Reference::Path(PathBuf::from("./pid:1"))
    );
    assert_eq!(reference("label:web").path(), None);
    assert_eq!(reference("pid:7").path(), Some("/proc/7/ns/net".into()));
    let long = format!("name:{}", "x".repeat(256));
    for (text, reason) in [
        ("", "expected a path, pid:<number>"),
        ("pid:", "expected the number of a process"),
        ("pid:0", "expected the number of a process"),
        ("pid:+1", "expected the number of a process"),
        ("pid:4294967296", "expected the number of a process"),
        ("name:", "a name is missing"),
        ("name:..", "is a directory"),
        ("name:../x", "must not contain slashes"),
        ("name:a\0b", "must not contain slashes or zero bytes"),
        (long.as_str(), "255 bytes"),
        ("label:", "expected a label"),
    ] {
        let err = text.parse::<Reference>().unwrap_err().to_string();
        assert!(err.contains(reason), "{text}: {err}");
    }
}
