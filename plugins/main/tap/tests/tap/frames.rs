//! A program that opens the tap and exchanges frames with the container.

use crate::common::TAP;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use testkit::{Container, Host, Node};

/// Opens the tap `argv[1]` with the flags `argv[2]`, and answers ARP and echo
/// requests for 10.1.0.1.
const MONITOR: &str = r"
use strict;
use Fcntl;
sysopen(my $tun, '/dev/net/tun', O_RDWR) or die qq(open: $!\n);
my $request = pack('a16 S x22', $ARGV[0], $ARGV[1]);
ioctl($tun, 0x400454ca, $request) or die qq(TUNSETIFF: $!\n);
$| = 1;
print qq(open\n);
my $mac = pack('H12', '020000000063');
my $address = pack('C4', 10, 1, 0, 1);
sub checksum {
    my $sum = unpack('%32n*', $_[0]);
    $sum = ($sum >> 16) + ($sum & 0xffff) while $sum >> 16;
    return pack('n', ~$sum & 0xffff);
}
while (sysread($tun, my $frame, 2000)) {
    my $sender = substr($frame, 6, 6);
    my $kind = unpack('n', substr($frame, 12, 2));
    if ($kind == 0x0806 && substr($frame, 38, 4) eq $address) {
        my $reply = pack('n', 2) . $mac . $address . substr($frame, 22, 10);
        syswrite($tun, $sender . $mac . substr($frame, 12, 8) . $reply);
    }
    if ($kind == 0x0800 && substr($frame, 30, 4) eq $address) {
        my $rest = substr($frame, 38);
        my $icmp = pack('n', 0) . checksum(pack('n', 0) . pack('n', 0) . $rest) . $rest;
        my $swapped = substr($frame, 30, 4) . substr($frame, 26, 4);
        syswrite($tun, $sender . $mac . substr($frame, 12, 14) . $swapped . $icmp);
    }
}
";

/// `IFF_TAP | IFF_NO_PI` and `IFF_MULTI_QUEUE` of linux/if_tun.h.
const TAP_FLAGS: u16 = 0x1002;
const MULTI_QUEUE: u16 = 0x0100;

/// A program opens the tap of this network with `flags`, and answers a ping.
///
/// # Errors
/// The program's error, or that there was no answer.
fn answers(config: &Value, flags: u16, uid: u32) -> Result<(), String> {
    let host = Host::new();
    // As on most hosts, every user may open the device.
    for command in [
        "mount -t tmpfs -o dev,mode=755 none /dev/net",
        "mknod -m 666 /dev/net/tun c 10 200",
    ] {
        host.command(&command.split(' ').collect::<Vec<_>>());
    }
    let container = host.container("c1");
    TAP.plugin().add(&container, config).expect_ok();
    let mut monitor = start(&host, &container, flags, uid);
    let mut opened = String::new();
    let mut output = std::io::BufReader::new(monitor.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut opened).unwrap();
    if opened != "open\n" {
        let output = monitor.wait_with_output().unwrap();
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    // The kernel notices the carrier in the background, at worst once a second.
    let reached = (0..5).any(|_| container.try_ping("10.1.0.1").is_ok());
    let _ = monitor.kill();
    let _ = monitor.wait();
    match reached {
        true => Ok(()),
        false => Err("no answer".into()),
    }
}

fn start(host: &Host, container: &Container, flags: u16, uid: u32) -> std::process::Child {
    let script = host.write("monitor.pl", MONITOR);
    container.enter(|| {
        Command::new("setpriv")
            .args([format!("--reuid={uid}"), format!("--regid={uid}")])
            .args(["--clear-groups", "--inh-caps=-all", "--bounding-set=-all"])
            .args(["perl", script.to_str().unwrap(), "eth0", &flags.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start setpriv")
    })
}

fn network(extra: Value) -> Value {
    let mut config = TAP.layer2(extra);
    config["ipam"] = json!({"type": "static", "addresses": [{"address": "10.1.0.2/24"}]});
    config
}

#[test]
fn owner_and_group_may_open_it() {
    answers(&network(json!({"owner": 54321})), TAP_FLAGS, 54321).unwrap();
    answers(&network(json!({"group": 54321})), TAP_FLAGS, 54321).unwrap();
}

#[test]
fn other_users_may_not_open_it() {
    let refused = answers(&network(json!({"owner": 54321})), TAP_FLAGS, 54322).unwrap_err();
    assert!(refused.contains("Operation not permitted"), "{refused}");
}

#[test]
fn multi_queue_must_match() {
    let several = network(json!({"owner": 54321, "multiQueue": true}));
    answers(&several, TAP_FLAGS | MULTI_QUEUE, 54321).unwrap();
    let refused = answers(&several, TAP_FLAGS, 54321).unwrap_err();
    assert!(refused.contains("Invalid argument"), "{refused}");
}
