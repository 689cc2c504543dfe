//! Tests of the entry point without a process: order of checks, versions, output. The
//! conformance tests do the same with the built binaries.

use super::*;
use crate::{IpConfig, error::Code};
use std::cell::RefCell;

/// A plugin that records the verbs called, and fails on demand.
#[derive(Default)]
struct Fake {
    called: RefCell<Vec<String>>,
    fail: Option<fn() -> anyhow::Error>,
    versions: Option<&'static [Version]>,
    addresses: bool,
}

impl Fake {
    fn record(&self, verb: &str, call: &Call) -> anyhow::Result<()> {
        self.called
            .borrow_mut()
            .push(format!("{verb} {}", call.netns.display()));
        match self.fail {
            Some(fail) => Err(fail()),
            None => Ok(()),
        }
    }
}

impl Plugin for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn supported_versions(&self) -> &'static [Version] {
        self.versions.unwrap_or(Version::ALL)
    }
    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        self.record("ADD", call)?;
        let mut result = AddResult::default();
        if self.addresses {
            let address = "10.0.0.2/24".parse()?;
            result.ips.push(IpConfig {
                interface: None,
                address,
                gateway: None,
            });
        }
        Ok(result)
    }
    fn del(&self, call: &Call) -> anyhow::Result<()> {
        self.record("DEL", call)
    }
    fn check(&self, call: &Call) -> anyhow::Result<()> {
        self.record("CHECK", call)
    }
    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        self.record("GC", call)
    }
    fn status(&self, call: &Call) -> anyhow::Result<()> {
        self.record("STATUS", call)
    }
}

fn env(command: &str) -> Env {
    Env {
        command: command.into(),
        container_id: "c1".into(),
        netns: "/nonexistent".into(),
        if_name: "eth0".into(),
        path: "/bin".into(),
        ..Env::default()
    }
}

const CONF: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"fake"}"#;

fn error(fake: &Fake, env: &Env, stdin: &str) -> (u32, String, String) {
    let outcome = run(fake, env, stdin.as_bytes());
    assert_eq!(outcome.exit, 1, "{outcome:?}");
    let value: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    (
        value["code"].as_u64().unwrap() as u32,
        text("msg"),
        text("details"),
    )
}

fn msg(env: &Env, stdin: &str) -> (u32, String) {
    let fake = Fake::default();
    let (code, msg, _) = error(&fake, env, stdin);
    assert!(fake.called.borrow().is_empty(), "refused before the verb");
    (code, msg)
}

#[test]
fn without_a_command_name_and_versions_are_printed() {
    let outcome = run(&Fake::default(), &Env::default(), "".as_bytes());
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (0, ""));
    let expected = format!(
        "CNI fake plugin {}\nCNI protocol versions supported: \
         0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n",
        build_version()
    );
    assert!(outcome.stderr.starts_with(&expected), "{}", outcome.stderr);
}

#[test]
fn version_ignores_environment_and_input() {
    struct Unreadable;
    impl Read for Unreadable {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("standard input was read");
        }
    }
    let env = Env {
        command: "VERSION".into(),
        ..Env::default()
    };
    let outcome = run(&Fake::default(), &env, Unreadable);
    assert_eq!(
        outcome.stdout,
        "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\
         \"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
    );
}

#[test]
fn environment_is_checked_in_order() {
    let empty = |command: &str| Env {
        command: command.into(),
        ..Env::default()
    };
    let all = "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing";
    assert_eq!(msg(&empty("ADD"), CONF), (4, all.into()));
    assert_eq!(msg(&empty("CHECK"), CONF), (4, all.into()));
    let del = "required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_PATH] missing";
    assert_eq!(msg(&empty("DEL"), CONF), (4, del.into()));
    for verb in ["GC", "STATUS"] {
        let path = "required env variables [CNI_PATH] missing";
        assert_eq!(msg(&empty(verb), CONF), (4, path.into()));
    }
    // A malformed value is reported before missing ones: first the container ID, then the
    // interface name, then standard input.
    let bad_id = Env {
        container_id: "a/b".into(),
        if_name: "x y".into(),
        ..empty("ADD")
    };
    assert_eq!(
        msg(&bad_id, "garbage"),
        (4, "invalid characters in containerID".into())
    );
    let newline = Env {
        container_id: "c1\n".into(),
        ..env("ADD")
    };
    assert_eq!(
        msg(&newline, CONF),
        (4, "invalid characters in containerID".into())
    );
    for (name, text) in [
        ("sixteencharacter", "interface name is too long"),
        ("..", "interface name is . or .."),
        (
            "a/b",
            "interface name contains / or : or whitespace characters",
        ),
        (
            "a:b",
            "interface name contains / or : or whitespace characters",
        ),
        (
            "a\u{2003}b",
            "interface name contains / or : or whitespace characters",
        ),
    ] {
        let bad = Env {
            if_name: name.into(),
            container_id: "".into(),
            ..env("DEL")
        };
        assert_eq!(msg(&bad, CONF), (4, text.into()), "{name}");
    }
    use std::os::unix::ffi::OsStringExt;
    let bytes = std::ffi::OsString::from_vec(vec![b'e', 0xff]);
    let bad = Env {
        if_name: bytes,
        ..env("ADD")
    };
    assert_eq!(msg(&bad, CONF).0, 4);
}

#[test]
fn configuration_is_checked_before_the_command() {
    for command in ["ADD", "NONSENSE", "add"] {
        let env = env(command);
        assert_eq!(msg(&env, r#"{"cniVersion""#).0, 6);
        assert!(
            msg(&env, "")
                .1
                .starts_with("error unmarshall network config: ")
        );
        assert_eq!(msg(&env, "[]").0, 6);
        assert_eq!(msg(&env, r#"{"name":7}"#).0, 6);
        for nameless in ["{}", "null", r#"{"name":null}"#, r#"{"name":""}"#] {
            assert_eq!(
                msg(&env, nameless),
                (7, "missing network name".into()),
                "{nameless}"
            );
        }
        let (code, text, details) = error(&Fake::default(), &env, r#"{"name":"../x"}"#);
        assert_eq!(
            (code, text.as_str()),
            (7, "invalid characters found in network name")
        );
        assert_eq!(details, "../x");
    }
    assert_eq!(
        msg(&env("add"), CONF),
        (4, "unknown CNI_COMMAND: add".into())
    );
    // Keys match in any case.
    let fake = Fake::default();
    run(
        &fake,
        &env("DEL"),
        r#"{"CNIVERSION":"1.0.0","Name":"net"}"#.as_bytes(),
    );
    assert_eq!(fake.called.borrow().len(), 1);
}

#[test]
fn versions_are_checked_for_each_verb() {
    let conf = |version: &str| format!(r#"{{"cniVersion":"{version}","name":"net"}}"#);
    assert_eq!(
        error(&Fake::default(), &env("ADD"), &conf("1.2.0")),
        (
            1,
            "incompatible CNI versions".into(),
            "config is \"1.2.0\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \"0.3.1\" \
             \"0.4.0\" \"1.0.0\" \"1.1.0\"]"
                .into()
        )
    );
    // Versions that are numerically equal but differ as text are not equal.
    assert_eq!(msg(&env("ADD"), &conf("1.1")).0, 1);
    let text = |t: &str| (1, t.to_owned());
    assert_eq!(
        msg(&env("CHECK"), &conf("0.3.1")),
        text("config version does not allow CHECK")
    );
    assert_eq!(
        msg(&env("CHECK"), r#"{"name":"net"}"#),
        text("config version does not allow CHECK")
    );
    assert_eq!(
        msg(&env("GC"), &conf("1.0.0")),
        text("config version does not allow GC")
    );
    assert_eq!(
        msg(&env("STATUS"), &conf("1.0.0")),
        text("config version does not allow STATUS")
    );
    assert_eq!(
        msg(&env("GC"), &conf("2.0.0")),
        text("plugin version does not allow GC")
    );
    assert_eq!(msg(&env("STATUS"), &conf("x")).0, 6);
    let old = Fake {
        versions: Some(&[Version::V0_4_0]),
        ..Fake::default()
    };
    assert_eq!(
        error(&old, &env("STATUS"), CONF).1,
        "plugin version does not allow STATUS"
    );
    assert_eq!(
        error(&old, &env("ADD"), &conf("0.3.1")).2,
        "config is \"0.3.1\", plugin supports [\"0.4.0\"]"
    );
}

#[test]
fn cni_errors_keep_their_code_and_others_have_999() {
    fn typed() -> anyhow::Error {
        let inner = Error::new(Code::TRY_AGAIN_LATER, "later").with_details("soon");
        anyhow::Error::new(inner)
            .context("wrapped")
            .context("twice")
    }
    fn plain() -> anyhow::Error {
        anyhow::anyhow!("inner").context("outer")
    }
    let fake = Fake {
        fail: Some(typed),
        ..Fake::default()
    };
    assert_eq!(
        error(&fake, &env("DEL"), CONF),
        (11, "later".into(), "soon".into())
    );
    let fake = Fake {
        fail: Some(plain),
        ..Fake::default()
    };
    let outcome = run(&fake, &env("DEL"), CONF.as_bytes());
    assert_eq!(
        outcome.stdout,
        "{\n    \"code\": 999,\n    \"msg\": \"outer: inner\"\n}"
    );
}

#[test]
fn the_plugins_own_namespace_is_refused_before_add() {
    let own = Env {
        netns: "/proc/self/ns/net".into(),
        ..env("ADD")
    };
    // The main thread has the same namespace as this thread, since no test changes it.
    let text = "plugin's netns and netns from CNI_NETNS should not be the same";
    assert_eq!(msg(&own, CONF), (8, text.into()));
    let fake = Fake {
        addresses: true,
        ..Fake::default()
    };
    for allowed in ["1", "true", "TRUE"] {
        let own = Env {
            netns_override: allowed.into(),
            ..own.clone()
        };
        assert_eq!(run(&fake, &own, CONF.as_bytes()).exit, 0);
    }
    // DEL is called, but without the host's own namespace.
    let fake = Fake::default();
    let own = Env {
        command: "DEL".into(),
        ..own
    };
    assert_eq!(error(&fake, &own, CONF).0, 8);
    assert_eq!(*fake.called.borrow(), ["DEL "]);
}

#[test]
fn a_result_the_version_cannot_express_is_undone() {
    let fake = Fake::default();
    let old = r#"{"cniVersion":"0.2.0","name":"net"}"#;
    let (code, text, _) = error(&fake, &env("ADD"), old);
    assert_eq!(
        (code, text.as_str()),
        (999, "cannot convert: no valid IP addresses")
    );
    assert_eq!(
        *fake.called.borrow(),
        ["ADD /nonexistent", "DEL /nonexistent"]
    );
}

#[test]
fn results_are_printed_in_the_version_asked_for() {
    let fake = Fake {
        addresses: true,
        ..Fake::default()
    };
    let outcome = run(&fake, &env("ADD"), r#"{"name":"net"}"#.as_bytes());
    assert_eq!(
        outcome.stdout,
        "{\n    \"cniVersion\": \"0.1.0\",\n    \"ip4\": {\n        \"ip\": \"10.0.0.2/24\"\n    \
         },\n    \"dns\": {}\n}"
    );
    let outcome = run(&fake, &env("DEL"), CONF.as_bytes());
    assert_eq!(outcome, Outcome::default());
}
