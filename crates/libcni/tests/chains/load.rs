//! Discovery and decoding of configurations.

use crate::rig::{Rig, parsed};
use libcni::{NetworkList, PluginConf, conf_files, load_list, load_plugin};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use testkit::UpstreamLibrary;

fn refusal(text: &str) -> String {
    NetworkList::from_bytes(text.as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn malformed_lists_are_refused_in_upstreams_words() {
    let prefix = "error parsing configuration list: ";
    let table = [
        ("", "unexpected end of JSON input"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("[]", "expected an object, got []interface {}"),
        ("null", "no name"),
        ("{}", "no name"),
        (r#"{"Name": "n"}"#, "no name"),
        (r#"{"name": 1}"#, "invalid name type float64"),
        (r#"{"name": null}"#, "invalid name type <nil>"),
        (
            r#"{"name": "n", "cniVersion": true}"#,
            "invalid cniVersion type bool",
        ),
        (
            r#"{"name": "n", "cniVersions": "1.0.0"}"#,
            "invalid type for cniVersions: string",
        ),
        (
            r#"{"name": "n", "cniVersions": ["1.0.0", {}]}"#,
            "invalid type for cniVersions index 1: map[string]interface {}",
        ),
        (
            r#"{"name": "n", "cniVersions": ["1.x"]}"#,
            r#"invalid cniVersions entry 1.x at index 0: failed to convert minor version part "x": strconv.Atoi: parsing "x": invalid syntax"#,
        ),
        (
            r#"{"name": "n", "cniVersion": "1.2.3.4", "cniVersions": []}"#,
            r#"invalid cniVersion 1.2.3.4: invalid version "1.2.3.4": too many parts"#,
        ),
        (
            r#"{"name": "n", "disableCheck": "Yes"}"#,
            r#"invalid value "yes" for disableCheck"#,
        ),
        (
            r#"{"name": "n", "disableCheck": null}"#,
            "invalid type <nil> for disableCheck",
        ),
        (
            r#"{"name": "n", "disableGC": 1}"#,
            "invalid type float64 for disableGC",
        ),
        (
            r#"{"name": "n", "loadOnlyInlinedPlugins": []}"#,
            "invalid type []interface {} for loadOnlyInlinedPlugins",
        ),
        (
            r#"{"name": "n", "loadOnlyInlinedPlugins": true}"#,
            "`loadOnlyInlinedPlugins` is true, and no 'plugins' key",
        ),
        (
            r#"{"name": "n", "plugins": {}}"#,
            "invalid 'plugins' type map[string]interface {}",
        ),
        (r#"{"name": "n", "plugins": []}"#, "no plugins in list"),
    ];
    for (text, expected) in table {
        assert_eq!(refusal(text), format!("{prefix}{expected}"), "{text}");
    }
    let element = |plugin: &str| {
        refusal(&format!(
            r#"{{"name": "n", "plugins": [{{"type": "a"}}, {plugin}]}}"#
        ))
    };
    let prefix = "failed to parse plugin config 1: error parsing configuration: ";
    for missing in ["{}", "null", r#"{"type": ""}"#, r#"{"type": null}"#] {
        assert_eq!(element(missing), format!("{prefix}missing 'type'"));
    }
    assert_eq!(
        element(r#"{"type": "b", "capabilities": {"mac": 1}}"#),
        format!("{prefix}capabilities.mac: expected true or false, got number")
    );
    for ill_typed in [
        "7",
        r#"{"type": 7}"#,
        r#"{"type": "b", "ipam": "host-local"}"#,
        r#"{"type": "b", "dns": []}"#,
    ] {
        assert!(element(ill_typed).starts_with(prefix), "{ill_typed}");
    }
}

/// Upstream's library 1.1.2 says the same to what it knows already.
#[test]
fn upstream_refuses_the_same_lists() {
    let upstream = UpstreamLibrary::build();
    let table = [
        "{}",
        r#"{"name": 1}"#,
        r#"{"name": "n", "cniVersion": 1}"#,
        r#"{"name": "n", "disableCheck": "x", "plugins": [{"type": "a"}]}"#,
        r#"{"name": "n", "disableCheck": [], "plugins": [{"type": "a"}]}"#,
        r#"{"name": "n", "plugins": 1}"#,
        r#"{"name": "n", "plugins": []}"#,
        r#"{"name": "n", "plugins": [{"type": "a"}, {"type": ""}]}"#,
        r#"{"name": "n", "plugins": [{"Type": "a"}, {"TYPE": 1}]}"#,
        r#"{"name": "n", "plugins": [null]}"#,
        r#"{"name": "other", "plugins": [{"type": "a"}]}"#,
    ];
    for text in table {
        let rig = Rig::new();
        let path = rig.conf("a.conflist", text);
        let request = json!({"Verb": "load", "Dir": rig.conf_dir(), "Name": "n"});
        let theirs = upstream.ask(&request)["error"].as_str().unwrap().to_owned();
        let ours = load_list(&rig.conf_dir(), "n").unwrap_err().to_string();
        let ours = ours.replace(&format!("; file {}", path.display()), "");
        // The details of ill-typed members are Go's own; older versions say it before `for`.
        let theirs_known = match theirs.find("json: ") {
            Some(detail) => &theirs[..detail],
            None => &theirs,
        };
        let is_same = ours.starts_with(theirs_known)
            || theirs.starts_with("error parsing configuration list: invalid disableCheck");
        assert!(is_same, "{text}\nours:   {ours}\ntheirs: {theirs}");
    }
    for conf in [None, Some("b.conf"), Some("b.json")] {
        let rig = Rig::new();
        if let Some(name) = conf {
            rig.conf(name, r#"{"name": "other", "type": "a"}"#);
        }
        let request = json!({"Verb": "load", "Dir": rig.conf_dir(), "Name": "n"});
        let error = load_list(&rig.conf_dir(), "n").unwrap_err();
        assert_eq!(upstream.ask(&request)["error"], error.to_string());
    }
}

#[test]
fn the_highest_known_version_is_used() {
    let table = [
        (json!(null), json!(null), ""),
        (json!("1.2.3"), json!(null), "1.2.3"),
        (json!("odd"), json!(null), "odd"),
        (json!("0.4.0"), json!(["0.3.1", "1.0.0"]), "1.0.0"),
        (json!("1.1.0"), json!(["0.3.1", "1.0.0"]), "1.1.0"),
        (json!("1.0.0"), json!(["9.9.9", "0.4.0"]), "1.0.0"),
        (json!("9.0.0"), json!(["8.0.0"]), "9.0.0"),
        (json!("1.0.0"), json!([]), "1.0.0"),
        (json!(null), json!(["0.10.0", "0.9.0"]), "0.10.0"),
        (json!(null), json!([]), ""),
    ];
    for (version, versions, expected) in table {
        let mut list = json!({"name": "n", "plugins": [{"type": "a"}]});
        for (key, value) in [("cniVersion", version), ("cniVersions", versions)] {
            if !value.is_null() {
                list[key] = value;
            }
        }
        assert_eq!(parsed(&list).cni_version, expected, "{list}");
    }
}

#[test]
fn switches_may_be_texts() {
    for (value, expected) in [
        (json!(true), true),
        (json!("TRUE"), true),
        (json!("False"), false),
    ] {
        let list = parsed(&json!({
            "name": "n", "plugins": [{"type": "a"}], "disableCheck": value, "disableGC": value,
            "loadOnlyInlinedPlugins": value,
        }));
        let switches = [
            list.disable_check,
            list.disable_gc,
            list.load_only_inlined_plugins,
        ];
        assert_eq!(switches, [expected; 3]);
    }
}

#[test]
fn numbers_reach_plugins_as_integers_and_exactly() {
    let text = r#"{"name": "n", "plugins": [{"type": "a", "b": 1500.0, "c": 1e3, "d": 0.5,
        "e": 12345678901234567890, "f": -9007199254740993}]}"#;
    let list = NetworkList::from_bytes(text.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&list.plugins[0].bytes),
        r#"{"b":1500,"c":1000,"d":0.5,"e":12345678901234567890,"f":-9007199254740993,"type":"a"}"#
    );
    assert_eq!(list.bytes, text.as_bytes());
}

#[test]
fn plugins_in_the_folder_of_the_network_follow_its_own() {
    let rig = Rig::new();
    let with = |extra: &str| {
        rig.conf("n.conflist", &format!(r#"{{"name": "net"{extra}}}"#));
        load_list(&rig.conf_dir(), "net")
    };
    let kinds = |extra: &str| -> Vec<String> {
        let plugins = with(extra).unwrap().plugins.into_iter();
        plugins.map(|plugin| plugin.conf.kind).collect()
    };
    let own = r#", "plugins": [{"type": "own"}]"#;
    assert_eq!(kinds(own), ["own"]);
    assert!(
        with("")
            .unwrap_err()
            .to_string()
            .starts_with("no plugin configs found")
    );
    let raw = "{ \"type\": \"second\",\n \"name\": \"x\" }";
    rig.conf("net/20.conf", raw);
    rig.conf("net/10.conf", r#"{"type": "first"}"#);
    rig.conf("net/30.json", r#"{"type": "other"}"#);
    rig.conf("net/README", "");
    assert_eq!(kinds(own), ["own", "first", "second"]);
    assert_eq!(kinds(""), ["first", "second"]);
    assert_eq!(
        kinds(&format!(r#"{own}, "loadOnlyInlinedPlugins": true"#)),
        ["own"]
    );
    let list = with("").unwrap();
    assert_eq!(list.plugins[1].bytes, raw.as_bytes());
    assert_eq!(list.bytes, br#"{"name": "net"}"#);

    rig.conf("net/05.conf", "{");
    let error = with(own).unwrap_err().to_string();
    let file = rig.conf_dir().join("net/05.conf");
    let expected = "error parsing configuration: unexpected end of JSON input; file";
    assert_eq!(error, format!("{expected} {}", file.display()));

    fs::remove_dir_all(rig.conf_dir().join("net")).unwrap();
    rig.conf("net", "a file");
    let error = with(own).unwrap_err().to_string();
    let folder = rig.conf_dir().join("net").display().to_string();
    let expected = "failed to read plugin config files in";
    assert_eq!(
        error,
        format!("{expected} {folder}: open {folder}: not a directory")
    );
}

#[test]
fn a_name_with_separators_reads_no_other_directory() {
    let rig = Rig::new();
    rig.conf("other/1.conf", r#"{"type": "stranger"}"#);
    for name in ["../net.d/other", "", "."] {
        let text = json!({"name": name, "plugins": [{"type": "own"}]}).to_string();
        rig.conf("a.conflist", &text);
        rig.conf("1.conf", r#"{"type": "stranger"}"#);
        let list = NetworkList::from_file(&rig.conf_dir().join("a.conflist")).unwrap();
        assert_eq!(list.plugins.len(), 1, "{name}");
    }
}

#[test]
fn files_are_found_by_extension_in_the_order_of_their_names() {
    let rig = Rig::new();
    let dir = rig.conf_dir();
    for name in [
        "b.conf",
        "a.conflist",
        "c.json",
        ".conf",
        "d.CONF",
        "e",
        "f.conf.bak",
    ] {
        rig.conf(name, "");
    }
    fs::create_dir(dir.join("dir.conf")).unwrap();
    symlink("dir.conf", dir.join("link.conf")).unwrap();
    let names = |extensions: &[&str]| -> Vec<String> {
        let files = conf_files(&dir, extensions).unwrap();
        files
            .iter()
            .map(|file| file.strip_prefix(&dir).unwrap().display().to_string())
            .collect()
    };
    assert_eq!(names(&[".conf"]), [".conf", "b.conf", "link.conf"]);
    assert_eq!(
        names(&[".conf", ".conflist", ".json"]),
        [".conf", "a.conflist", "b.conf", "c.json", "link.conf"]
    );
    assert!(
        conf_files(&dir.join("missing"), &[".conf"])
            .unwrap()
            .is_empty()
    );
    let error = conf_files(&dir.join("e"), &[".conf"])
        .unwrap_err()
        .to_string();
    assert_eq!(error, format!("open {}/e: not a directory", dir.display()));
}

#[test]
fn a_list_precedes_a_single_plugin_and_a_broken_file_ends_the_search() {
    let rig = Rig::new();
    let dir = rig.conf_dir();
    rig.conf(
        "10.conf",
        r#"{"name": "net", "type": "single", "cniVersion": "0.4.0", "disableCheck": true}"#,
    );
    rig.conf(
        "20.conflist",
        r#"{"name": "net", "plugins": [{"type": "first"}]}"#,
    );
    rig.conf(
        "30.conflist",
        r#"{"name": "net", "plugins": [{"type": "second"}]}"#,
    );
    rig.conf("40.conflist", "not read");
    let kind = |name: &str| load_list(&dir, name).map(|list| list.plugins[0].conf.kind.clone());
    assert_eq!(kind("net").unwrap(), "first");
    let error = kind("missing").unwrap_err().to_string();
    assert!(error.contains("40.conflist"), "{error}");
    for name in ["20.conflist", "30.conflist", "40.conflist"] {
        fs::remove_file(dir.join(name)).unwrap();
    }
    let list = load_list(&dir, "net").unwrap();
    assert!(!list.disable_check);
    assert_eq!(
        serde_json::from_slice::<Value>(&list.bytes).unwrap(),
        json!({"cniVersion": "0.4.0", "name": "net", "plugins": [
            {"name": "net", "type": "single", "cniVersion": "0.4.0", "disableCheck": true},
        ]})
    );
    // A list in a .conf file.
    rig.conf(
        "05.conf",
        r#"{"name": "net", "plugins": [{"type": "first"}]}"#,
    );
    let error = load_plugin(&dir, "net").unwrap_err().to_string();
    assert!(
        error.starts_with("error parsing configuration: missing 'type'; file "),
        "{error}"
    );
    fs::remove_file(dir.join("05.conf")).unwrap();
    symlink("nowhere", dir.join("00.conf")).unwrap();
    let path = dir.join("00.conf").display().to_string();
    let error = load_plugin(&dir, "net").unwrap_err().to_string();
    assert_eq!(
        error,
        format!("error reading {path}: open {path}: no such file or directory")
    );
}

#[test]
fn any_bytes_are_decoded_or_refused() {
    let list = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/net.d/87-podman-bridge.conflist"
    ))
    .unwrap();
    let mut decoded = 0;
    for at in 0..list.len() {
        for byte in [0, b'"', b'{', b'1', 0xff] {
            let mut damaged = list.clone();
            damaged[at] = byte;
            decoded += usize::from(NetworkList::from_bytes(&damaged).is_ok());
            let _ = PluginConf::from_bytes(&damaged);
        }
        let _ = NetworkList::from_bytes(&list[..at]);
    }
    assert!(decoded > 0);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refusal(&format!(r#"{{"name": "n", "x": {deep}}}"#)).contains("nested deeper"));
}
