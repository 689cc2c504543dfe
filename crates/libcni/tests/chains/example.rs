//! The example of an asynchronous caller.

use crate::rig::Rig;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The example's program, which cargo builds with the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/from_async")
}

#[test]
fn attaches_several_containers_at_the_same_time() {
    let rig = Rig::new();
    rig.conf(
        "net.conflist",
        r#"{"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "one"}]}"#,
    );
    // Each ADD waits until both have begun.
    let begun = rig.path("begun");
    fs::create_dir(&begun).unwrap();
    let begun = begun.display();
    rig.script(
        "one",
        &format!(
            "cat >/dev/null; [ $CNI_COMMAND = ADD ] || exit 0\n\
             touch {begun}/$CNI_CONTAINERID; until [ $(ls {begun} | wc -l) = 2 ]; do sleep 0.01; done\n\
             echo '{{\"cniVersion\": \"1.1.0\", \"interfaces\": [{{\"name\": \"eth0\", \"sandbox\": \"'$CNI_NETNS'\"}}]}}'"
        ),
    );
    let output = Command::new(program())
        .args(["net", "/run/netns/a", "/run/netns/b"])
        .env("NETCONFPATH", rig.conf_dir())
        .env("CNI_PATH", rig.bin())
        .env("CNI_CACHE_DIR", rig.path("cache"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let results = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let sandboxes: Vec<Value> = results
        .map(|result| result.unwrap()["interfaces"][0]["sandbox"].clone())
        .collect();
    assert_eq!(sandboxes, [json!("/run/netns/a"), json!("/run/netns/b")]);
    assert_eq!(fs::read_dir(rig.results()).unwrap().count(), 0);
}
