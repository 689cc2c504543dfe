//! Fault injection makes the n-th request fail without sending it.
#![cfg(feature = "fault-injection")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use rtnl::*;
use testkit::namespace::in_namespace;

const NAME: &str = "the_chosen_request_fails_and_the_others_do_not";

/// The counter is global to the process, so the test runs itself in a process of its own.
#[test]
fn the_chosen_request_fails_and_the_others_do_not() {
    if let Some(count) = std::env::var_os("RTNL_COUNT") {
        return fails_at_the_third(count.as_ref());
    }
    let count = std::env::temp_dir().join(format!("rtnl-count-{}", std::process::id()));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env("RTNL_FAIL_AT", "3")
        .env("RTNL_COUNT", &count)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    fs::remove_file(&count).unwrap();
}

fn fails_at_the_third(count: &Path) {
    in_namespace(|| {
        let handle = Handle::open().unwrap();
        let bridge = |name: &str| {
            Request::new_link(&LinkSpec::new(name, LinkKind::Bridge(Bridge::default())))
        };
        handle.request(bridge("br0")).unwrap();
        assert_eq!(fs::read_to_string(count).unwrap(), "1");
        // Reads are not counted.
        handle.links().unwrap();
        let results = handle.batch(vec![bridge("br1"), bridge("br2"), bridge("br3")]);
        assert!(results[0].is_ok() && results[2].is_ok());
        let error = results[1].as_ref().err().unwrap();
        assert_eq!(error.to_string(), "input/output error: injected");
        assert_eq!(fs::read_to_string(count).unwrap(), "4");
        assert!(handle.link_by_name("br2").unwrap_err().is_not_found());
        assert!(handle.link_by_name("br3").is_ok());
    });
}
