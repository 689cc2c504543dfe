//! The first program on a User Mode Linux: prepares the machine, runs the command, switches off.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, wait};
use serde_json::Value;

use super::{DIR, ENDED, STARTED, modules};
use crate::Outcome;

/// The name by which this program is init.
pub(crate) const NAME: &str = "init";
/// The file that says what is to be done.
pub(super) const WORK: &str = "work.json";
/// The file with the command's exit status.
pub(super) const STATUS: &str = "status";

/// Where tests and plugins write: empty, and gone with the machine. The rest of it is read-only.
const EMPTY: [&str; 4] = ["/tmp", "/run", "/var/tmp", "/var/lib/cni"];

/// Does all that is to be done, and ends with the machine. `program` is the path that the kernel was told.
pub(crate) fn run(program: &str) -> ExitCode {
    let room = Path::new(program).parent().unwrap_or(Path::new("/"));
    if let Err(message) = work(room) {
        println!("init: {message}");
    }
    let Err(err) = reboot(RebootMode::RB_POWER_OFF);
    println!("init: cannot switch off: {err}");
    ExitCode::FAILURE
}

fn work(room: &Path) -> Outcome {
    let text = fs::read_to_string(room.join(WORK)).map_err(|err| format!("{WORK}: {err}"))?;
    let work: Value = serde_json::from_str(&text).map_err(|err| format!("{WORK}: {err}"))?;
    let keep: Vec<PathBuf> = strings(&work["keep"]).into_iter().map(Into::into).collect();
    mount_all(room, &keep)?;
    modules::autoload(Path::new(DIR))?;
    // Built as a module here, and needed by who looks at /proc/sys/net/ipv6 before there is an address.
    modules::load("ipv6")?;
    let lo = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    lo.map_err(|err| format!("ip: {err}"))?;
    println!("{STARTED}");
    let code = command(&work);
    println!("{ENDED}");
    let code = code?;
    let report = || {
        // Only what is synced is there after the power has gone.
        let mut file = File::create(Path::new(DIR).join(STATUS))?;
        file.write_all(code.to_string().as_bytes())?;
        file.sync_all()
    };
    report().map_err(|err| format!("{STATUS}: {err}"))
}

fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(String::from))
        .collect()
}

fn mount_all(room: &Path, keep: &[PathBuf]) -> Outcome {
    fs_mount("proc", Path::new("/proc"), "")?;
    fs_mount("sysfs", Path::new("/sys"), "")?;
    for dir in EMPTY.map(Path::new).into_iter().filter(|dir| dir.is_dir()) {
        empty(dir, keep)?;
    }
    fs::create_dir_all(DIR).map_err(|err| format!("{DIR}: {err}"))?;
    fs_mount("hostfs", Path::new(DIR), &room.display().to_string())
}

fn fs_mount(kind: &str, at: &Path, options: &str) -> Outcome {
    let flags = MsFlags::empty();
    mount(Some(kind), at, Some(kind), flags, Some(options))
        .map_err(|err| format!("mount {kind} on {}: {err}", at.display()))
}

/// Hides what is in `dir`, except the directories to keep.
fn empty(dir: &Path, keep: &[PathBuf]) -> Outcome {
    let hidden = || -> io::Result<Vec<(&PathBuf, File)>> {
        let below = keep.iter().filter(|path| path.starts_with(dir));
        below.map(|path| Ok((path, File::open(path)?))).collect()
    };
    let fail = |err: io::Error| format!("{}: {err}", dir.display());
    let hidden = hidden().map_err(fail)?;
    fs_mount("tmpfs", dir, "mode=1777")?;
    for (path, open) in hidden {
        fs::create_dir_all(path).map_err(fail)?;
        let source = format!("/proc/self/fd/{}", open.as_raw_fd());
        let bind = MsFlags::MS_BIND;
        mount(
            Some(source.as_str()),
            path,
            None::<&str>,
            bind,
            None::<&str>,
        )
        .map_err(|err| format!("keep {}: {err}", path.display()))?;
    }
    Ok(())
}

/// Runs the command to its end; its exit status as a shell counts.
fn command(work: &Value) -> Outcome<i32> {
    let argv = strings(&work["command"]);
    let (program, arguments) = argv.split_first().ok_or("no command")?;
    let mut env: BTreeMap<&str, String> = work["env"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?.to_owned())))
        .collect();
    let path = env.get("PATH").map_or("", String::as_str);
    let path = format!("{DIR}:{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    env.insert("PATH", path);
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&env)
        .current_dir(work["dir"].as_str().unwrap_or("/"))
        .stdin(Stdio::null())
        .spawn()
        .map_err(|err| format!("cannot run {program}: {err}"))?;
    // Init inherits the children of all who die before them.
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw().cast_unsigned() == child.id() => {
                return Ok(code);
            }
            Ok(WaitStatus::Signaled(pid, signal, _))
                if pid.as_raw().cast_unsigned() == child.id() =>
            {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(err) => return Err(format!("wait for {program}: {err}")),
        }
    }
}
