//! Machines that work, hang and die. Those of Debian's kernel take too long here: `cargo xtask test --kernel debian`.

use super::*;

fn run(machine: &Machine, script: &str) -> (Result<i32>, Vec<String>) {
    uml::provide().expect("User Mode Linux");
    let work = Work {
        command: ["sh", "-c", script].map(String::from).into(),
        env: vec![("GREETING".into(), "it's a good day".into())],
        files: vec![("file", "content\n".into())],
    };
    let room = Room::new(&work).expect("a directory");
    let mut lines = Vec::new();
    let status = machine.run(&room, |line| lines.push(line.to_owned()));
    (status, lines)
}

#[test]
fn a_command_runs_on_another_kernel() {
    let release = uml::provide().expect("User Mode Linux");
    let script = "uname -r; echo $GREETING; cat /run/guest/file; pwd; ls -1 /sys/class/net
        ip link add v0 type vrf table 5 && echo has a vrf
        touch /tmp/a /run/a && echo can write; touch here || echo cannot touch the machine
        exit 3";
    let machine = Machine {
        device: true,
        ..Machine::default()
    };
    let (status, lines) = run(&machine, script);
    let here = project::root().display().to_string();
    let expected = [
        release.as_str(),
        "it's a good day",
        "content",
        here.as_str(),
        "eth0",
        "lo",
        "has a vrf",
        "can write",
        "touch: cannot touch 'here': Read-only file system",
        "cannot touch the machine",
    ];
    assert_eq!(lines, expected);
    assert_eq!(status.expect("the command ended"), 3);
}

#[test]
fn a_machine_that_hangs_is_ended() {
    let machine = Machine {
        silence: Duration::from_secs(5),
        ..Machine::default()
    };
    let (status, lines) = run(&machine, "echo one; sleep 1000");
    let error = status.expect_err("it hangs").to_string();
    assert!(
        error.contains("has been silent for 5s") && error.ends_with("    one"),
        "{error}"
    );
    assert_eq!(lines, ["one"]);
}

#[test]
fn a_kernel_that_dies_is_an_error() {
    let (status, _) = run(
        &Machine::default(),
        "echo c > /proc/sysrq-trigger; sleep 1000",
    );
    let error = status.expect_err("it dies").to_string();
    assert!(error.contains("before its command did"), "{error}");
    assert!(error.contains("Kernel panic"), "{error}");
}
