//! User Mode Linux: Debian's kernel as an ordinary program, with device types that the machine's kernel may lack.
//!
//! A [`Machine`] boots with the host's file system, read-only. `init.sh` is its first process, which runs one command
//! line and passes on its output.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::reboot::{RebootMode, reboot};

use crate::machine::{self, Need};
use crate::{commands, project};

const NEEDS: &[Need] = &[
    Need {
        what: "linux.uml",
        package: "user-mode-linux",
        why: "a kernel with the features that this one lacks",
    },
    Need {
        what: "modprobe",
        package: "kmod",
        why: "loads the modules of User Mode Linux",
    },
    Need {
        what: "setpriv",
        package: "util-linux",
        why: "ends User Mode Linux together with cargo xtask",
    },
];

/// The path of the directory of the machines, on the machine: the only writable directory that is shared with the host.
/// It contains this program as `xtask`.
pub(crate) const DIR: &str = "/run/uml";

/// The command of this program that powers a machine off.
pub(crate) const POWER_OFF: &str = "power-off";

/// The lines that `init.sh` prints before and after the output of the command. All other lines are the kernel's.
const START: &str = "--- init: start";
const END: &str = "--- init: end";

/// The number of last lines in the error if a machine died.
const TAIL: usize = 40;

/// Installs User Mode Linux. Returns the release of its kernel.
///
/// # Errors
///
/// Contains why it is not available.
pub(crate) fn provide() -> Result<String> {
    if !cfg!(target_arch = "x86_64") {
        bail!("User Mode Linux exists for x86_64 only");
    }
    machine::provide(NEEDS)?;
    if needs_registers() {
        compile_registers()?;
    }
    commands::read(Command::new("linux.uml").arg("--version"))
}

/// Whether User Mode Linux cannot save all registers of this machine's processor, see `xstate.rs`.
fn needs_registers() -> bool {
    fs::read_to_string("/proc/cpuinfo")
        .is_ok_and(|info| info.split_whitespace().any(|word| word == "amx_tile"))
}

/// The library that [`compile_registers`] creates.
fn registers_library() -> PathBuf {
    project::target().join("uml").join("xstate.so")
}

fn compile_registers() -> Result<()> {
    let library = registers_library();
    let dir = library.with_file_name(format!("xstate-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let source = dir.join("xstate.rs");
    let compiled = dir.join("xstate.so");
    fs::write(&source, include_str!("xstate.rs")).with_context(|| source.display().to_string())?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    commands::run(
        Command::new(rustc)
            .args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=2"])
            .args(["-Cpanic=abort", "-Cstrip=symbols", "-o"])
            .args([&compiled, &source]),
    )?;
    // Another cargo xtask may be using the file.
    fs::rename(&compiled, &library).with_context(|| library.display().to_string())?;
    fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
}

/// Powers off the machine on which this runs.
pub(crate) fn power_off() -> Result<()> {
    if std::process::id() != 1 {
        bail!("only the first process of a machine may power it off");
    }
    match reboot(RebootMode::RB_POWER_OFF)? {}
}

/// The command line that machines run, and the files in their directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Program and arguments; [`DIR`] is searched first for the program.
    pub(crate) command: Vec<String>,
    /// Additions to the environment of this process.
    pub(crate) env: Vec<(String, String)>,
    /// Names and contents of files in [`DIR`].
    pub(crate) files: Vec<(&'static str, String)>,
}

impl Work {
    /// The command as a shell script.
    fn script(&self) -> String {
        let inherited = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(key, _)| key != "TMPDIR" && key != "PATH" && is_shell_name(key));
        let mut script = String::new();
        for (key, value) in inherited.chain(self.env.iter().cloned()) {
            script += &format!("export {key}={}\n", quoted(&value));
        }
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        let root = quoted(&project::root().display().to_string());
        script + &format!("cd {root} && exec {}\n", words.join(" "))
    }
}

fn is_shell_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The directory of one or more machines, deleted when this value is dropped.
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn new(work: &Work) -> Result<Room> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = project::target()
            .join("uml")
            .join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let room = Room(dir);
        fs::copy(this_program(), room.0.join("xtask")).context("copy xtask for User Mode Linux")?;
        let keep = format!(
            "{}\n{}\n",
            project::root().display(),
            project::target().display()
        );
        let own = [
            ("init", include_str!("init.sh").to_owned()),
            ("modprobe", include_str!("modprobe.sh").to_owned()),
            ("command", work.script()),
            ("keep", keep),
        ];
        for (name, content) in own.iter().chain(&work.files) {
            let path = room.0.join(name);
            fs::write(&path, content)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
                .with_context(|| path.display().to_string())?;
        }
        Ok(room)
    }
}

#[cfg(not(test))]
fn this_program() -> PathBuf {
    // Not by its path, where a build may have replaced the file.
    "/proc/self/exe".into()
}

#[cfg(test)]
fn this_program() -> PathBuf {
    testkit::bin_dir().join("xtask")
}

impl Drop for Room {
    fn drop(&mut self) {
        // If it stays, cargo clean removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A machine and its resources.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Distinguishes the machines of one room.
    pub(crate) number: usize,
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// Whether it has a network device with a driver, `eth0`, which is not connected.
    pub(crate) device: bool,
    /// Whether the kernel has IPv6; without it boots with `ipv6.disable=1`.
    pub(crate) ipv6: bool,
    /// The time limit of the whole run.
    pub(crate) deadline: Duration,
    /// The time limit without output.
    pub(crate) silence: Duration,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            number: 0,
            memory: 512,
            device: false,
            ipv6: true,
            deadline: Duration::from_secs(1200),
            silence: Duration::from_secs(600),
        }
    }
}

impl Machine {
    /// Boots, runs the command of the room, and passes each line of its output to `line`. Returns the exit status of
    /// the command.
    ///
    /// # Errors
    ///
    /// When the machine cannot be started, dies, or misses a deadline, with its last output.
    pub(crate) fn run(&self, room: &Room, line: impl FnMut(&str) + Send) -> Result<i32> {
        // On another thread, because it enters namespaces. The machine ends with the thread that started it.
        thread::scope(|scope| {
            let thread = scope.spawn(|| self.run_in(&room.0, line));
            thread
                .join()
                .unwrap_or_else(|_| bail!("the thread of User Mode Linux panicked"))
        })
    }

    fn run_in(&self, room: &Path, line: impl FnMut(&str)) -> Result<i32> {
        let (mut child, output) = self.start(room)?;
        let mut tail = VecDeque::new();
        let end = self.follow(output, &mut tail, line);
        // It has ended, unless it hangs.
        let _ = child.kill();
        let status = child.wait().context("wait for linux.uml")?;
        let code = fs::read_to_string(room.join(format!("status-{}", self.number)));
        let error = match (end, code) {
            (Err(err), _) => err,
            (Ok(()), Ok(code)) => {
                return code
                    .trim()
                    .parse()
                    .with_context(|| format!("exit status {code:?}"));
            }
            (Ok(()), Err(_)) => anyhow!("ended ({status}) before its command did"),
        };
        let last = Vec::from(tail).join("\n    ");
        bail!("User Mode Linux {error}; its last output:\n    {last}")
    }

    /// Starts the kernel in a network namespace that isolates its device.
    fn start(&self, room: &Path) -> Result<(Child, PipeReader)> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .context("cannot make namespaces for User Mode Linux")?;
        let memory = self.memory_dir(room)?;
        commands::read(Command::new("ip").args(["link", "set", "lo", "up", "multicast", "on"]))?;
        commands::read(Command::new("ip").args(["route", "add", "239.0.0.0/8", "dev", "lo"]))?;

        // The kernel leaves child processes when it is killed. In a PID namespace all end with the first process, the
        // shell, which ends with unshare, which ends with this process.
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
            .arg(format!("umid=machine-{}", self.number))
            .arg(format!("uml_dir={}/", room.display()))
            .arg(format!("init=\"{}\"", room.join("init").display()))
            .arg(format!("MACHINE={}", self.number))
            .env("TMPDIR", &memory)
            .stdin(Stdio::null());
        if needs_registers() {
            command.env("LD_PRELOAD", registers_library());
        }
        if self.device {
            command.arg("eth0=mcast");
        }
        if !self.ipv6 {
            command.arg("ipv6.disable=1");
        }
        let (reader, writer) = std::io::pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        // Dropping the command closes its copies of the write end, so that the pipe ends with the machine.
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", commands::shown(&command)))?;
        Ok((child, reader))
    }

    /// Mounts a tmpfs for the file with the kernel's memory, because /dev/shm is small in many containers.
    fn memory_dir(&self, room: &Path) -> Result<PathBuf> {
        let memory = room.join(format!("memory-{}", self.number));
        let none = None::<&str>;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        fs::create_dir_all(&memory)?;
        mount(none, "/", none, private, none)
            .and_then(|()| {
                mount(
                    Some("uml"),
                    &memory,
                    Some("tmpfs"),
                    MsFlags::empty(),
                    Some("size=90%"),
                )
            })
            .with_context(|| format!("cannot mount a tmpfs on {}", memory.display()))?;
        Ok(memory)
    }

    /// Reads the output until the machine ends, keeps the last lines, and passes on those of the command.
    fn follow(
        &self,
        output: PipeReader,
        tail: &mut VecDeque<String>,
        mut line: impl FnMut(&str),
    ) -> Result<()> {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for bytes in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                // A console also ends lines with a carriage return.
                let text = String::from_utf8_lossy(&bytes)
                    .trim_end_matches('\r')
                    .to_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + self.deadline;
        let mut is_running = false;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left.min(self.silence)) {
                Ok(text) => {
                    is_running &= text != END;
                    if is_running {
                        line(&text);
                    }
                    is_running |= text == START;
                    if tail.len() == TAIL {
                        tail.pop_front();
                    }
                    tail.push_back(text);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if left <= self.silence => {
                    bail!("did not end within {:?}", self.deadline)
                }
                Err(RecvTimeoutError::Timeout) => bail!("has been silent for {:?}", self.silence),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(machine: &Machine, script: &str) -> (Result<i32>, Vec<String>) {
        provide().expect("User Mode Linux");
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
        let release = provide().expect("User Mode Linux");
        let script = "uname -r; echo $GREETING; cat /run/uml/file; pwd; ls -1 /sys/class/net
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
}
