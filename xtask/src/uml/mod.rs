//! User Mode Linux: Debian's kernel as an ordinary program, with the device types that the machine's own kernel
//! may lack.
//!
//! [`Machine::run`] boots it on this very file system, read-only, runs one command line, passes on what that
//! writes, and returns its exit status. The first program inside is this one, called `init` ([`init`]); it also
//! is the kernel's `modprobe` ([`modules`]), since no distribution installs modules for this kernel where a
//! real one would look.

mod init;
mod modules;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::apt::{self, Need};
use crate::{Outcome, commands, project};

const KERNEL: Need = Need {
    what: "linux.uml",
    package: "user-mode-linux",
    why: "a kernel with the features that this one lacks",
};

/// Ends the machine with the program that waits for it; part of util-linux.
const SETPRIV: Need = Need {
    what: "setpriv",
    package: "util-linux",
    why: "ends User Mode Linux together with cargo xtask",
};

/// Where the work's files are, seen from inside; this program is there by the name `xtask`. The only directory
/// that is the same inside and outside and can be written to.
pub(crate) const DIR: &str = "/run/uml";

/// What [`init`] writes before the command's own output; what the kernel had to say ends there.
const STARTED: &str = "--- init: running the command";
/// What it writes after that: the kernel again.
const ENDED: &str = "--- init: the command has ended";

/// How many of the last lines tell what a machine was at when it died.
const TAIL: usize = 40;

/// A machine to be.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// Whether it has a network device with a driver, `eth0`, which leads nowhere.
    pub(crate) device: bool,
    /// Whether the kernel has IPv6; without it boots with `ipv6.disable=1`.
    pub(crate) ipv6: bool,
    /// How long all may take.
    pub(crate) deadline: Duration,
    /// How long it may say nothing.
    pub(crate) silence: Duration,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            memory: 512,
            device: false,
            ipv6: true,
            deadline: Duration::from_secs(600),
            silence: Duration::from_secs(120),
        }
    }
}

/// What a machine is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Program and arguments; the program is looked for in [`DIR`] first.
    pub(crate) command: Vec<String>,
    /// The environment besides this process's own.
    pub(crate) env: Vec<(String, String)>,
    /// The working directory; the project's root unless given.
    pub(crate) dir: Option<PathBuf>,
    /// Files to be put into [`DIR`]: name and content.
    pub(crate) files: Vec<(String, String)>,
}

/// Sees to it that this machine has User Mode Linux; the release of its kernel.
///
/// # Errors
///
/// Why it cannot be had.
pub(crate) fn provide() -> Outcome<String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("User Mode Linux is there for x86_64 only".into());
    }
    apt::provide(&[KERNEL, SETPRIV])?;
    commands::read(Command::new("linux.uml").arg("--version"))
}

/// What this program is on a User Mode Linux, by the name it was started by; `None` everywhere else.
pub(crate) fn role(program: &str, arguments: &[String]) -> Option<ExitCode> {
    match program.rsplit('/').next()? {
        // Nobody but the kernel makes a process the first.
        init::NAME if std::process::id() == 1 => Some(init::run(program)),
        modules::NAME => Some(modules::run(arguments)),
        _ => None,
    }
}

/// A machine's own directory, removed at the end.
struct Room(PathBuf);

impl Room {
    fn new(work: &Work) -> Outcome<Room> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let room = Room(project::target().join("uml").join(name));
        let dir = &room.0;
        let fail = |err: io::Error| format!("{}: {err}", dir.display());
        fs::create_dir_all(dir.join("memory")).map_err(fail)?;
        fs::copy(this_program(), dir.join("xtask")).map_err(fail)?;
        for role in [init::NAME, modules::NAME] {
            symlink("xtask", dir.join(role)).map_err(fail)?;
        }
        for (name, content) in &work.files {
            fs::write(dir.join(name), content).map_err(fail)?;
        }
        fs::write(dir.join(init::WORK), work.to_json(dir).to_string()).map_err(fail)?;
        Ok(room)
    }
}

#[cfg(not(test))]
fn this_program() -> PathBuf {
    // Not by its path: a build may have replaced the file there.
    "/proc/self/exe".into()
}

#[cfg(test)]
fn this_program() -> PathBuf {
    testkit::bin_dir().join("xtask")
}

impl Drop for Room {
    fn drop(&mut self) {
        // Should it stay, cargo clean takes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Work {
    fn to_json(&self, room: &Path) -> Value {
        // What the machine hides below its own empty directories, and the command may need.
        let keep = [project::root(), project::target()];
        let mut env: serde_json::Map<String, Value> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?.into())))
            .collect();
        env.remove("TMPDIR");
        let own = self.env.iter();
        env.extend(own.map(|(k, v)| (k.clone(), v.clone().into())));
        let dir = self.dir.clone().unwrap_or_else(project::root);
        json!({"room": room, "command": self.command, "env": env, "dir": dir, "keep": keep})
    }
}

impl Machine {
    /// Boots, runs `work` and hands each line that it writes to `line`; the exit status of its command.
    ///
    /// # Errors
    ///
    /// When the machine cannot be started, dies, or misses a deadline, with the last that it said.
    pub(crate) fn run(&self, work: &Work, line: impl FnMut(&str) + Send) -> Outcome<i32> {
        let room = Room::new(work)?;
        // On a thread of its own, because it enters namespaces. Being the one that the machine dies with, it
        // lives as long.
        thread::scope(|scope| {
            let thread = scope.spawn(|| self.run_in(&room.0, line));
            thread
                .join()
                .unwrap_or_else(|_| Err("the thread of User Mode Linux panicked".into()))
        })
    }

    fn run_in(&self, room: &Path, line: impl FnMut(&str)) -> Outcome<i32> {
        let (mut child, output) = self.start(room)?;
        let mut tail = VecDeque::new();
        let end = self.follow(output, &mut tail, line);
        // It is dead already, unless it hangs.
        let _ = child.kill();
        let status = child.wait().map_err(|err| format!("linux.uml: {err}"))?;
        let why = match (end, fs::read_to_string(room.join(init::STATUS))) {
            (Err(why), _) => why,
            (Ok(()), Ok(code)) => {
                return code
                    .trim()
                    .parse()
                    .map_err(|_| format!("exit status {code:?}"));
            }
            (Ok(()), Err(_)) => format!("ended ({status}) before its work was done"),
        };
        let said = Vec::from(tail).join("\n    ");
        Err(format!(
            "User Mode Linux {why}; the last it said:\n    {said}"
        ))
    }

    /// Starts the kernel, from a network namespace that its device's packets do not leave.
    fn start(&self, room: &Path) -> Outcome<(Child, PipeReader)> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .map_err(|err| format!("cannot make namespaces for User Mode Linux: {err}"))?;
        // The kernel keeps its memory in a file, and /dev/shm is small in many a container.
        let memory = room.join("memory");
        let none = None::<&str>;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let tmpfs = (Some("uml"), Some("tmpfs"), MsFlags::empty());
        mount(none, "/", none, private, none)
            .and_then(|()| mount(tmpfs.0, &memory, tmpfs.1, tmpfs.2, Some("size=90%")))
            .map_err(|err| format!("cannot mount a tmpfs on {}: {err}", memory.display()))?;
        commands::read(Command::new("ip").args(["link", "set", "lo", "up", "multicast", "on"]))?;
        commands::read(Command::new("ip").args(["route", "add", "239.0.0.0/8", "dev", "lo"]))?;

        // The kernel leaves helpers behind when it is killed. In a process namespace all end with the first, the
        // shell, which ends with unshare, which ends with us, whatever ends us.
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
            ])
            .args(["sh", "-c", "linux.uml \"$@\"; exit $?", "linux.uml"])
            .arg(format!("mem={}M", self.memory))
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
            .args(["con=null", "con0=null,fd:1", "quiet", "loglevel=3"])
            .arg(format!("uml_dir={}/", room.display()))
            .arg(format!("init=\"{}\"", room.join(init::NAME).display()))
            .env("TMPDIR", &memory)
            .stdin(Stdio::null());
        if self.device {
            command.arg("eth0=mcast");
        }
        if !self.ipv6 {
            command.arg("ipv6.disable=1");
        }
        let shown = commands::shown(&command);
        let explain = |err: io::Error| format!("cannot run {shown}: {err}");
        let (reader, writer) = io::pipe().map_err(explain)?;
        command
            .stdout(writer.try_clone().map_err(explain)?)
            .stderr(writer);
        // The command goes, and with it our copies of the write end: the pipe ends with the machine.
        Ok((command.spawn().map_err(explain)?, reader))
    }

    /// Reads what the machine says until it ends; keeps the last lines, and passes on what the work has said.
    fn follow(
        &self,
        output: PipeReader,
        tail: &mut VecDeque<String>,
        mut line: impl FnMut(&str),
    ) -> Outcome {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for bytes in BufReader::new(output).split(b'\n') {
                let Ok(bytes) = bytes else { break };
                let text = commands::plain(&String::from_utf8_lossy(&bytes));
                // A console ends lines as a typewriter does.
                if sender.send(text.trim_end_matches('\r').to_owned()).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + self.deadline;
        let mut working = false;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left.min(self.silence)) {
                Ok(text) => {
                    working &= text != ENDED;
                    if working {
                        line(&text);
                    }
                    working |= text == STARTED;
                    if tail.len() == TAIL {
                        tail.pop_front();
                    }
                    tail.push_back(text);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if left <= self.silence => {
                    return Err(format!("did not end within {:?}", self.deadline));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("has been silent for {:?}", self.silence));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(machine: &Machine, script: &str) -> (Outcome<i32>, Vec<String>) {
        let work = Work {
            command: ["sh", "-c", script].map(String::from).into(),
            env: vec![("GREETING".into(), "good day".into())],
            files: vec![("file".into(), "content".into())],
            ..Work::default()
        };
        let mut lines = Vec::new();
        let status = machine.run(&work, |line| lines.push(line.to_owned()));
        (status, lines)
    }

    #[test]
    fn a_command_runs_on_another_kernel() {
        let release = provide().expect("User Mode Linux");
        let script = "uname -r; echo $GREETING; cat /run/uml/file; echo; pwd; ls -1 /sys/class/net
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
            "good day",
            "content",
            here.as_str(),
            "eth0",
            "lo",
            "has a vrf",
            "can write",
            "touch: cannot touch 'here': Read-only file system",
            "cannot touch the machine",
        ];
        assert_eq!(
            (status, lines.as_slice()),
            (Ok(3), expected.map(String::from).as_slice())
        );
    }

    #[test]
    fn a_machine_that_hangs_is_ended() {
        provide().expect("User Mode Linux");
        let machine = Machine {
            silence: Duration::from_secs(5),
            ..Machine::default()
        };
        let (status, lines) = run(&machine, "echo one; sleep 1000");
        let error = status.expect_err("it hangs");
        assert!(
            error.contains("has been silent for 5s") && error.ends_with("    one"),
            "{error}"
        );
        assert_eq!(lines, ["one"]);
    }

    #[test]
    fn a_kernel_that_dies_is_an_error() {
        provide().expect("User Mode Linux");
        let (status, _) = run(
            &Machine::default(),
            "echo c > /proc/sysrq-trigger; sleep 1000",
        );
        let error = status.expect_err("it dies");
        assert!(error.contains("before its work was done"), "{error}");
        assert!(error.contains("Kernel panic"), "{error}");
    }
}
