//! The cache: its form, and what becomes of files that are not as they should be.

use crate::rig::{Rig, addresses, attachment, list, mode, result};
use libcni::{Attachment, Cni, Error, NetworkList};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use testkit::Host;

const FILE: &str = "net-c1-eth0";

/// A rig with one attachment in the cache.
fn attached() -> (Rig, Cni, NetworkList) {
    let rig = Rig::new();
    rig.answering("one", &result("1.1.0", "10.0.0.1/8"));
    let (cni, list) = (rig.cni(), list("1.1.0", &["one"]));
    cni.add(&list, &attachment()).unwrap();
    rig.take();
    (rig, cni, list)
}

#[test]
fn a_file_has_upstreams_bytes() {
    let rig = Rig::new();
    let dns = json!({"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.1/8"}], "dns": {}});
    rig.answering("one", &dns);
    let text =
        "{\"name\": \"net\",\n \"cniVersion\": \"0.4.0\", \"plugins\": [{\"type\": \"one\"}]}";
    let list = NetworkList::from_bytes(text.as_bytes()).unwrap();
    let mut attachment = attachment();
    let file = || fs::read_to_string(rig.results().join(FILE)).unwrap();
    let config = "eyJuYW1lIjogIm5ldCIsCiAiY25pVmVyc2lvbiI6ICIwLjQuMCIsICJwbHVnaW5zIjogW3sidHlwZSI6ICJvbmUifV19";
    let head = format!(
        r#"{{"kind":"cniCacheV1","containerId":"c1","config":"{config}","ifName":"eth0","networkName":"net""#
    );
    let tail = r#""result":{"cniVersion":"0.4.0","dns":{},"ips":[{"address":"10.0.0.1/8","version":"4"}]}}"#;
    attachment.netns = "".into();
    rig.cni().add(&list, &attachment).unwrap();
    assert_eq!(file(), format!("{head},{tail}"));
    attachment.netns = "/run/netns/<c1>".into();
    attachment.args = vec![("A".into(), "1".into()), ("B".into(), String::new())];
    attachment.capability_args = json!({"mac": "x", "ips": []}).as_object().unwrap().clone();
    rig.cni().add(&list, &attachment).unwrap();
    let middle = r#","netns":"/run/netns/\u003cc1\u003e","cniArgs":[["A","1"],["B",""]],"capabilityArgs":{"ips":[],"mac":"x"},"#;
    assert_eq!(file(), format!("{head}{middle}{tail}"));
    let cached = rig
        .cni()
        .cached_attachment("net", &attachment)
        .unwrap()
        .unwrap();
    assert_eq!(cached.attachment, attachment);
    assert_eq!(cached.config, text.as_bytes());
}

#[test]
fn a_damaged_file_does_not_prevent_del() {
    let whole = {
        let (rig, ..) = attached();
        fs::read(rig.results().join(FILE)).unwrap()
    };
    let damaged: [&[u8]; 8] = [
        b"",
        b"garbage",
        b"[1]",
        &whole[..whole.len() / 2],
        br#"{"kind": "other"}"#,
        br#"{"kind": "cniCacheV1", "ifName": 1}"#,
        br#"{"cniVersion": "7.7.7"}"#,
        &[0xff; 9 << 20],
    ];
    for content in damaged {
        let (rig, cni, list) = attached();
        fs::write(rig.results().join(FILE), content).unwrap();
        let text = String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned();
        if content.len() < 1 << 20 {
            let error = cni.check(&list, &attachment()).unwrap_err();
            assert!(
                matches!(error, Error::CachedResult { .. }),
                "{text}: {error}"
            );
            assert!(
                cni.cached_attachment("net", &attachment()).is_err(),
                "{text}"
            );
        }
        assert!(cni.cached_attachments("").unwrap().is_empty(), "{text}");
        cni.del(&list, &attachment()).unwrap();
        assert_eq!(
            rig.calls().last().unwrap().conf().get("prevResult"),
            None,
            "{text}"
        );
        assert!(!rig.results().join(FILE).exists(), "{text}");
    }
}

#[test]
fn a_bare_result_of_old_libraries_is_used() {
    let (rig, cni, list) = attached();
    let old = json!({"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.9/8"}]});
    fs::write(rig.results().join(FILE), old.to_string()).unwrap();
    cni.check(&list, &attachment()).unwrap();
    let prev = rig.calls()[0].conf()["prevResult"].clone();
    assert_eq!(prev, result("1.1.0", "10.0.0.9/8"));
    assert!(cni.cached_attachment("net", &attachment()).is_err());
}

#[test]
fn a_file_of_another_attachment_is_neither_used_nor_removed() {
    let (rig, cni, chain) = attached();
    // Of the same file name.
    let twin = Attachment::new("b-c1", "/run/netns/b", "eth0");
    let mut own = list("1.1.0", &["one"]);
    own.name = "a".into();
    let mut other = own.clone();
    other.name = "a-b".into();
    cni.add(&other, &attachment()).unwrap();
    assert_eq!(cni.cached_result(&own, &twin).unwrap(), None);
    assert_eq!(cni.cached_attachment("a", &twin).unwrap(), None);
    cni.del(&own, &twin).unwrap();
    let left = cni.cached_attachments("c1").unwrap();
    let left: Vec<&str> = left.iter().map(|one| one.network.as_str()).collect();
    assert_eq!(left, ["a-b", "net"]);
    assert!(cni.cached_attachments("b-c1").unwrap().is_empty());
    cni.del(&other, &attachment()).unwrap();
    cni.del(&chain, &attachment()).unwrap();
    assert_eq!(fs::read_dir(rig.results()).unwrap().count(), 0);
}

#[test]
fn names_with_separators_reach_no_other_file() {
    let (rig, cni, list) = attached();
    let secret = rig.path("cache/secret-eth0");
    fs::create_dir_all(rig.results().join("net-x")).unwrap();
    fs::write(&secret, "").unwrap();
    let far = Attachment::new("x/../../secret", "", "eth0");
    cni.del(&list, &far).unwrap();
    let near = Attachment::new("c1", "", "../net-c1-eth0");
    cni.del(&list, &near).unwrap();
    assert!(secret.exists() && rig.results().join(FILE).exists());
    let error = cni.check(&list, &far).unwrap_err().to_string();
    assert_eq!(
        error,
        "failed to get network \"net\" cached result: cache file path requires network name (\"net\"), \
         container ID (\"x/../../secret\"), and interface name (\"eth0\")"
    );
}

#[test]
fn links_are_not_followed() {
    let (rig, cni, list) = attached();
    let file = rig.results().join(FILE);
    let target = rig.path("target");
    fs::rename(&file, &target).unwrap();
    let content = fs::read(&target).unwrap();
    symlink(&target, &file).unwrap();
    assert_eq!(cni.cached_result(&list, &attachment()).unwrap(), None);
    cni.add(&list, &attachment()).unwrap();
    assert!(!file.is_symlink());
    fs::remove_file(&file).unwrap();
    symlink(&target, &file).unwrap();
    cni.del(&list, &attachment()).unwrap();
    assert!(!file.is_symlink());
    assert_eq!(fs::read(&target).unwrap(), content);
}

#[test]
fn what_killed_writers_left_is_collected() {
    let (rig, cni, list) = attached();
    let old = rig.results().join(".shared-1-1");
    let new = rig.results().join(".shared-1-2");
    for file in [&old, &new] {
        fs::write(file, "half").unwrap();
    }
    let hour = std::time::Duration::from_secs(3600);
    let times = fs::FileTimes::new().set_modified(std::time::SystemTime::now() - hour);
    fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_times(times)
        .unwrap();
    assert_eq!(cni.cached_attachments("").unwrap().len(), 1);
    cni.gc(
        &list,
        Some(&[libcni::ValidAttachment {
            container_id: "c1".into(),
            if_name: "eth0".into(),
        }]),
    )
    .unwrap();
    assert!(!old.exists() && new.exists());
    assert!(rig.results().join(FILE).exists());
}

#[test]
fn concurrent_writers_leave_a_whole_file() {
    let rig = Rig::new();
    for id in 0..4 {
        rig.script(
            &format!("p{id}"),
            &format!(
                "[ $CNI_COMMAND = ADD ] && echo '{}'; exit 0",
                result("1.1.0", &format!("10.0.0.{id}/8"))
            ),
        );
    }
    let cni = rig.cni();
    thread::scope(|scope| {
        let writers = (0..4).map(|id| {
            let cni = &cni;
            scope.spawn(move || {
                let own = format!("p{id}");
                let mut list = list("1.1.0", &[&own]);
                // Files of different lengths.
                list.bytes.resize(list.bytes.len() + 40_000 * id, b' ');
                for _ in 0..25 {
                    cni.add(&list, &attachment()).unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            if let Ok(bytes) = fs::read(rig.results().join(FILE)) {
                let value: Value = serde_json::from_slice(&bytes).expect("a whole file");
                assert_eq!(value["containerId"], "c1");
            }
        }
    });
    assert_eq!(fs::read_dir(rig.results()).unwrap().count(), 1);
    assert_eq!(mode(&rig.results().join(FILE)), 0o600);
}

/// Mounts a file system of 64 KiB on the directory of cache files.
fn small(rig: &Rig) {
    fs::create_dir_all(rig.results()).unwrap();
    let options = Some("size=64k,mode=0700");
    mount(
        Some("tmpfs"),
        &rig.results(),
        Some("tmpfs"),
        MsFlags::empty(),
        options,
    )
    .unwrap();
}

#[test]
fn a_full_or_read_only_directory_is_an_error_of_add_but_not_of_del() {
    // A mount namespace of its own.
    let _host = Host::new();
    let rig = Rig::new();
    rig.answering("one", &result("1.1.0", "10.0.0.1/8"));
    let (cni, list) = (rig.cni(), list("1.1.0", &["one"]));
    small(&rig);
    let filler = rig.results().join("filler");
    fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    let path = rig.results().join(FILE);
    let add = |cni: &Cni, cause: &str| {
        let error = cni.add(&list, &attachment()).unwrap_err().to_string();
        let expected = "failed to set network \"net\" cached result: cannot write";
        assert_eq!(error, format!("{expected} {}: {cause}", path.display()));
    };
    add(&cni, "no space left on device");
    let names = fs::read_dir(rig.results())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["filler"],
        "nothing half-written is left"
    );
    assert_eq!(rig.take(), ["ADD one"]);
    add(&cni.clone().rollback(true), "no space left on device");
    assert_eq!(rig.take(), ["ADD one", "DEL one"]);

    fs::remove_file(&filler).unwrap();
    assert_eq!(
        addresses(cni.add(&list, &attachment()).unwrap()),
        ["10.0.0.1/8"]
    );
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(
        None::<&str>,
        &rig.results(),
        None::<&str>,
        flags,
        None::<&str>,
    )
    .unwrap();
    rig.take();
    add(&cni, "read-only file system");
    cni.check(&list, &attachment()).unwrap();
    cni.del(&list, &attachment()).unwrap();
    assert_eq!(rig.take(), ["ADD one", "CHECK one", "DEL one"]);
    umount2(&rig.results(), MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn long_names_are_hashed() {
    let rig = Rig::new();
    rig.answering("one", &result("1.1.0", "10.0.0.1/8"));
    let mut chain = list("1.1.0", &["one"]);
    let id = "c".repeat(100);
    let long = Attachment::new(&id, "/run/netns/c1", "eth0");
    for (length, is_plain) in [(149, true), (150, false), (400, false)] {
        chain.name = "n".repeat(length);
        rig.cni().add(&chain, &long).unwrap();
        let plain = rig.results().join(format!("{}-{id}-eth0", chain.name));
        assert_eq!(plain.exists(), is_plain);
        let [cached] = &rig.cni().cached_attachments(&id).unwrap()[..] else {
            panic!("one attachment is cached");
        };
        assert_eq!(cached.network, chain.name);
        assert!(rig.cni().cached_attachments("c").unwrap().is_empty());
        rig.cni().check(&chain, &long).unwrap();
        rig.cni().del(&chain, &long).unwrap();
        assert_eq!(fs::read_dir(rig.results()).unwrap().count(), 0);
    }
}
