//! The daemon as a program: flags, socket, systemd, status; STATUS, CHECK and GC.

use crate::lan::{Daemon, Lan, QUICK, SOCKET, config, eventually, files, plugin, state, status};
use crate::scripted::Scripted;
use dhcproto::v4::MessageType;
use serde_json::json;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use testkit::{Host, bin_dir};

/// Runs the binary to its end.
fn run(arguments: &[&str]) -> Output {
    Command::new(bin_dir().join("dhcp"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_clean_end_removes_socket_and_pid_file() {
    let host = Host::new();
    let pid_file = host.dir().join("pid");
    let socket = host.dir().join("deep/down/dhcp.sock");
    let (pid_path, socket_path) = (pid_file.to_str().unwrap(), socket.to_str().unwrap());
    let daemon = Daemon::start(&["-pidfile", pid_path, "-socketpath", socket_path]);
    assert_eq!(
        fs::read_to_string(&pid_file).unwrap(),
        daemon.pid().to_string()
    );
    let conf = config(&json!({"daemonSocketPath": socket_path}));
    plugin().status(&conf).expect_ok();
    assert!(daemon.terminate());
    assert!(!pid_file.exists() && !socket.exists());
    plugin().status(&conf).expect_error(50);
}

/// `CAP_DAC_OVERRIDE`, `CAP_NET_BIND_SERVICE`, `CAP_NET_ADMIN`, `CAP_NET_RAW`, `CAP_SYS_PTRACE` and `CAP_SYS_ADMIN`.
const CAPABILITIES: &str = "0000000000283402";

#[test]
fn the_daemon_keeps_the_capabilities_that_it_needs() {
    let _host = Host::new();
    let daemon = Daemon::start(&[]);
    let status = format!("/proc/{}/status", daemon.pid());
    // It listens before that.
    eventually("drops capabilities", || {
        let status = fs::read_to_string(&status).unwrap();
        let has = |name: &str, value: &str| status.contains(&format!("{name}:\t{value}\n"));
        has("CapEff", CAPABILITIES) && has("CapPrm", CAPABILITIES) && has("NoNewPrivs", "1")
    });
}

#[test]
fn hostprefix_precedes_socket_and_namespaces() {
    let lan = Lan::new();
    let _server = lan.dnsmasq("");
    let root = lan.host.dir().join("root");
    fs::create_dir_all(root.join("run")).unwrap();
    // The daemon sees the namespaces below the prefix only.
    std::os::unix::fs::symlink("/run/netns", root.join("run/netns")).unwrap();
    let prefix = root.to_str().unwrap();
    let socket = format!("{prefix}/run/cni/dhcp.sock");
    let _daemon = Daemon::spawn(&["-hostprefix", prefix]);
    eventually("listens", || UnixStream::connect(&socket).is_ok());
    let container = lan.container("c1");
    let conf = config(&json!({"daemonSocketPath": socket}));
    plugin().add(&container, &conf).expect_ok();
    assert_eq!(files(&format!("{prefix}/run/cni/dhcp")), ["net:c1:eth0"]);
    plugin().del(&container, &conf).expect_ok();
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let host = Host::new();
    drop(Daemon::start(&[]));
    assert!(
        fs::metadata(SOCKET).unwrap().file_type().is_socket(),
        "left by a killed daemon"
    );
    let daemon = Daemon::start(&[]);
    let second = run(&["daemon"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains("another daemon listens on /run/cni/dhcp.sock"),
        "{second:?}"
    );
    plugin().status(&config(&json!({}))).expect_ok();
    assert!(daemon.terminate());
    let file = host.write("file", "x");
    let in_the_way = run(&["daemon", "-socketpath", file.to_str().unwrap()]);
    assert_eq!(in_the_way.status.code(), Some(1));
    assert!(
        stderr(&in_the_way).contains("is in the way"),
        "{in_the_way:?}"
    );
    assert_eq!(fs::read(&file).unwrap(), b"x");
    for (arguments, code, part) in [
        (
            &["daemon", "-frob"][..],
            2,
            "flag provided but not defined: -frob",
        ),
        (&["daemon", "-pidfile", "x"], 1, "path not absolute"),
        (&["daemon", "-timeout", "x"], 2, "is not a duration"),
        (&["status"], 1, "no such file or directory"),
        (&["status", "-x"], 1, "unknown argument -x"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(stderr(&output).contains(part), "{arguments:?}: {output:?}");
    }
}

#[test]
fn systemd_passes_the_socket() {
    let host = Host::new();
    let path = host.dir().join("passed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let script = r#"exec 3<&0 0</dev/null; LISTEN_FDS=$1; LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec "$0" daemon"#;
    let start = |count: &str| {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(script)
            .arg(bin_dir().join("dhcp"))
            .arg(count);
        // The listener becomes descriptor 3 by way of standard input.
        let fd = nix::unistd::dup(&listener).unwrap();
        command
            .stdin(Stdio::from(fd))
            .stderr(Stdio::piped())
            .process_group(0);
        command.spawn().unwrap()
    };
    assert!(listener.as_raw_fd() > 2);
    let mut daemon = start("1");
    let conf = config(&json!({"daemonSocketPath": path}));
    plugin().status(&conf).expect_ok();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(daemon.id().cast_signed()),
        nix::sys::signal::SIGTERM,
    )
    .unwrap();
    assert!(daemon.wait().unwrap().success());
    assert!(path.exists(), "the socket is systemd's");
    let output = start("2").wait_with_output().unwrap();
    assert!(stderr(&output).contains("Too many (2) FDs"), "{output:?}");
}

#[test]
fn units_name_this_binary() {
    let host = Host::new();
    let output = run(&["units", host.dir().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let service = fs::read_to_string(host.dir().join("cni-dhcp.service")).unwrap();
    let program = bin_dir().join("dhcp");
    assert!(
        service.contains(&format!("ExecStart={} daemon", program.display())),
        "{service}"
    );
    let socket = fs::read_to_string(host.dir().join("cni-dhcp.socket")).unwrap();
    assert!(socket.contains("ListenStream=/run/cni/dhcp.sock"));
    assert_eq!(run(&["units"]).status.code(), Some(1));
}

#[test]
fn status_needs_the_daemon_and_a_valid_configuration() {
    let _host = Host::new();
    let error = plugin().status(&config(&json!({}))).expect_error(50);
    assert_eq!(
        error.msg,
        "error dialing DHCP daemon: dial unix /run/cni/dhcp.sock: connect: no such file or directory"
    );
    assert!(error.details.contains("systemctl start cni-dhcp.socket"));
    let _daemon = Daemon::start(&[]);
    plugin().status(&config(&json!({}))).expect_ok();
    plugin()
        .status(&config(&json!({"suppress": ["dns"]})))
        .expect_error(7)
        .mentions("\"dns\"");
}

#[test]
fn check_never_acquires_a_lease() {
    let lan = Lan::new();
    let server = Scripted::granting(&lan.server, [600, 300, 500]);
    let _daemon = Daemon::start(QUICK);
    let container = lan.container("c1");
    let conf = config(&json!({}));
    plugin()
        .check(&container, &conf)
        .expect_error(999)
        .mentions("the daemon has no lease");
    assert_eq!(server.seen().len(), 0);
    let run = plugin().add(&container, &conf).expect_ok();
    plugin().check(&container, &run.with_prev()).expect_ok();
    let mut other = run.with_prev();
    other["prevResult"]["ips"][0]["address"] = json!("10.20.0.5/24");
    plugin()
        .check(&container, &other)
        .expect_error(999)
        .mentions("Failed to match addr 10.20.0.77/24");
    assert_eq!(server.seen().len(), 2);
    assert_eq!(state(), "bound");
}

#[test]
fn gc_releases_what_is_not_valid() {
    let lan = Lan::new();
    let server = Scripted::start(&lan.server, |seen, before| {
        let last = 100 + u8::try_from(before / 2).unwrap();
        seen.granted(std::net::Ipv4Addr::new(10, 20, 0, last), [600, 300, 500])
    });
    let daemon = Daemon::start(QUICK);
    let containers = ["c1", "c2", "c3"].map(|name| lan.container(name));
    let mut other = config(&json!({}));
    other["name"] = json!("other");
    for container in &containers[..2] {
        plugin().add(container, &config(&json!({}))).expect_ok();
    }
    plugin().add(&containers[2], &other).expect_ok();
    let mut gc = config(&json!({}));
    plugin().gc(&gc).expect_ok();
    assert_eq!(status().len(), 3, "without a list nothing is collected");
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    plugin().gc(&gc).expect_ok();
    let left: Vec<_> = status()
        .iter()
        .map(|lease| lease["containerID"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(left, ["c1", "c3"]);
    server.wait_for(MessageType::Release, 1);
    // Without the daemon it is made up for.
    assert!(daemon.terminate());
    gc["cni.dev/valid-attachments"] = json!([]);
    plugin().gc(&gc).expect_ok();
    let _daemon = Daemon::start(QUICK);
    server.wait_for(MessageType::Release, 2);
    assert_eq!(status().len(), 1);
    // CRI-O's form of a list without any.
    other["cni.dev/valid-attachments"] = json!(null);
    plugin().gc(&other).expect_ok();
    server.wait_for(MessageType::Release, 3);
    assert_eq!(status().len(), 0);
}

#[test]
fn status_lists_leases_as_a_table() {
    let lan = Lan::new();
    let _server = Scripted::granting(&lan.server, [600, 300, 500]);
    let _daemon = Daemon::start(QUICK);
    plugin()
        .add(&lan.container("c1"), &config(&json!({})))
        .expect_ok();
    let text = String::from_utf8(run(&["status"]).stdout).unwrap();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[1][..7],
        [
            "c1",
            "net",
            "eth0",
            "ipv4",
            "bound",
            "10.20.0.77/24",
            "10.20.0.1"
        ]
    );
    let lease = &status()[0];
    assert!(
        (590..=600).contains(&lease["expiresIn"].as_u64().unwrap()),
        "{lease}"
    );
    assert!(
        (290..=300).contains(&lease["renewsIn"].as_u64().unwrap()),
        "{lease}"
    );
}
