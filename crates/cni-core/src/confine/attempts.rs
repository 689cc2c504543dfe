//! Attempts to escape, for tests: what a plugin that was taken over would try.
//!
//! `CNI_TEST_ESCAPE` has attempts, separated by spaces: an action, and for some `=` and its
//! object. Each one is answered by a line on standard error: the attempt, and `succeeded`
//! or the error.

use nix::errno::Errno;
use nix::kmod::init_module;
use nix::mount::{MsFlags, mount};
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chroot, getppid, setgroups};
use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::process::Command;

const VARIABLE: &str = "CNI_TEST_ESCAPE";

/// Makes the attempts.
pub(crate) fn run() {
    let attempts = std::env::var(VARIABLE).unwrap_or_default();
    for attempt in attempts.split_whitespace() {
        let (action, object) = attempt.split_once('=').unwrap_or((attempt, ""));
        let outcome = match make(action, object) {
            Ok(()) => "succeeded".to_owned(),
            Err(error) => crate::errno::of(&error),
        };
        let _ = writeln!(io::stderr(), "{attempt} {outcome}");
    }
}

fn make(action: &str, object: &str) -> io::Result<()> {
    let nothing: Option<&str> = None;
    let outcome: nix::Result<()> = match action {
        "read" => return fs::read(object).map(drop),
        "write" => return fs::write(object, ""),
        "mkdir" => return fs::create_dir(object),
        "remove" => return fs::remove_file(object),
        "execute" => return Command::new(object).status().map(drop),
        "connect" => return TcpStream::connect(object).map(drop),
        "module" => init_module(&[], c""),
        "ptrace" => ptrace::seize(getppid(), ptrace::Options::empty()),
        "signal" => kill(getppid(), None),
        "mount" => mount(nothing, object, Some("tmpfs"), MsFlags::empty(), nothing),
        "chroot" => chroot(object),
        "device" => mknod(object, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)),
        "groups" => setgroups(&[]),
        "packets" => {
            let flags = SockFlag::SOCK_CLOEXEC;
            socket(AddressFamily::Packet, SockType::Raw, flags, None).map(drop)
        }
        _ => Err(Errno::EINVAL),
    };
    Ok(outcome?)
}
