//! Machines with another kernel: User Mode Linux, an ordinary program ([`uml`]), and Debian's kernel in QEMU ([`debian`]).
//!
//! A [`Machine`] boots with the host's file system, read-only. `init.sh` is its first process, which runs one command
//! line and passes on its output.

mod console;
pub(crate) mod debian;
pub(crate) mod uml;

use std::collections::VecDeque;
use std::fs;
use std::io::PipeReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, unshare};
use nix::sys::reboot::{RebootMode, reboot};

use crate::{commands, project};

/// The path of the directory of the machines, on the machine: the only writable directory that is shared with the host.
/// It contains this program as `xtask`.
pub(crate) const DIR: &str = "/run/guest";

/// The command of this program that powers a machine off.
pub(crate) const POWER_OFF: &str = "power-off";

/// A kernel that is available.
#[derive(Clone, Debug)]
pub(crate) enum Kernel {
    UserMode,
    Debian(debian::Image),
}

impl Kernel {
    /// The name in messages.
    fn name(&self) -> &'static str {
        match self {
            Kernel::UserMode => "User Mode Linux",
            Kernel::Debian(_) => "Debian's kernel",
        }
    }

    /// The command that boots the machine, whose console is standard output. The calling thread has network and mount
    /// namespaces of its own.
    fn command(&self, machine: &Machine, room: &Path) -> Result<Command> {
        match self {
            Kernel::UserMode => uml::command(machine, room),
            Kernel::Debian(image) => Ok(debian::command(image, machine, room)),
        }
    }
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
            .join("guest")
            .join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let room = Room(dir);
        fs::copy(this_program(), room.0.join("xtask")).context("copy xtask for the machine")?;
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
    pub(crate) kernel: Kernel,
    /// Distinguishes the machines of one room.
    pub(crate) number: usize,
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// Whether User Mode Linux has a network device with a driver, `eth0`, which is not connected. Debian's kernel has none.
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
            kernel: Kernel::UserMode,
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
                .unwrap_or_else(|_| bail!("the thread of the machine panicked"))
        })
    }

    fn run_in(&self, room: &Path, line: impl FnMut(&str)) -> Result<i32> {
        let (mut child, output) = self.start(room)?;
        let mut tail = VecDeque::new();
        let end = self.follow(output, &mut tail, line);
        // It has ended, unless it hangs.
        let _ = child.kill();
        let status = child.wait().context("wait for the machine")?;
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
        bail!(
            "{} {error}; its last output:\n    {last}",
            self.kernel.name()
        )
    }

    /// Starts the machine in namespaces of its own.
    fn start(&self, room: &Path) -> Result<(Child, PipeReader)> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .context("cannot make namespaces for a machine")?;
        let mut command = self.kernel.command(self, room)?;
        let (reader, writer) = std::io::pipe()?;
        command.stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer);
        // Dropping the command closes its copies of the write end, so that the pipe ends with the machine.
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", commands::shown(&command)))?;
        Ok((child, reader))
    }

    /// The parameters of every kernel. Those that the kernel does not know are in the environment of its first process.
    fn parameters(&self, share: &str, modules: &Path) -> Vec<String> {
        let mut parameters = vec![
            "quiet".to_owned(),
            "loglevel=3".to_owned(),
            format!("MACHINE={}", self.number),
            format!("SHARE={share}"),
            format!("MODULES=\"{}\"", modules.display()),
        ];
        parameters.extend((!self.ipv6).then(|| "ipv6.disable=1".to_owned()));
        parameters
    }
}

/// The path of the first process, on the host and on the machine.
fn init(room: &Path) -> PathBuf {
    room.join("init")
}

#[cfg(test)]
mod tests;
