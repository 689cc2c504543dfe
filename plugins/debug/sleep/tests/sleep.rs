//! Tests of the `sleep` binary.

use std::thread::sleep;
use std::time::Duration;

use testkit::{Host, Plugin};

#[test]
fn it_does_not_answer() {
    let _host = Host::new();
    let mut running = Plugin::new("sleep").command("VERSION").start();
    // A plugin that answers is done within milliseconds.
    sleep(Duration::from_secs(1));
    running.kill();
    let run = running.wait();
    assert_eq!(run.status.code(), None, "ended before it was killed");
    assert!(run.stdout.is_empty() && run.stderr.is_empty());
}
