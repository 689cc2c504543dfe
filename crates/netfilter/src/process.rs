//! Running a command to its end, with a deadline.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Kind};

mod pidfd;

/// Between two looks at a process that closed its output and yet goes on.
const PAUSE: Duration = Duration::from_millis(1);

/// What a command left behind.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// As Go prints it: `exit status 1`, `signal: 9`.
    pub(crate) fn status_text(&self) -> String {
        match self.status.code() {
            Some(code) => format!("exit status {code}"),
            None => self.status.to_string(),
        }
    }
}

/// The first executable file of this name in `$PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        // Names in the current directory are not looked for.
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a command, feeds it `input`, and collects what it prints. It is killed
/// if it is not done after `patience`.
pub(crate) fn run(
    command: &mut Command,
    input: &str,
    patience: Duration,
    what: &str,
) -> Result<Output, Error> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::io("exec", error, what))?;
    let deadline = Instant::now() + patience;
    let pidfd = pidfd::open(child.id())
        .inspect_err(|error| log::debug!("{what}: no descriptor of the process: {error}"))
        .ok();
    let outcome = converse(&mut child, input.as_bytes(), deadline);
    let ended = match outcome {
        Ok(Some(printed)) => {
            wait(&mut child, pidfd.as_ref(), deadline).map(|status| status.zip(Some(printed)))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    if !matches!(ended, Ok(Some(_))) {
        // It may have ended meanwhile, and is to be reaped in any case.
        let _ = child.kill();
        let _ = child.wait();
    }
    match ended {
        Ok(Some((status, [stdout, stderr]))) => Ok(Output {
            status,
            stdout,
            stderr,
        }),
        Ok(None) => Err(Error::new(Kind::Timeout { waited: patience }, what)),
        Err(error) => Err(Error::io("talk to the command", error, what)),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Feeds and reads until the command has closed its outputs; `None` if the
/// deadline passed first.
fn converse(
    child: &mut Child,
    mut input: &[u8],
    deadline: Instant,
) -> io::Result<Option<[String; 2]>> {
    let mut stdin = child.stdin.take().filter(|_| !input.is_empty());
    // What prints before it reads everything must not block us, nor we it.
    if let Some(stdin) = &stdin {
        fcntl(stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let mut outputs: [Option<(File, Vec<u8>)>; 2] = [
        child
            .stdout
            .take()
            .map(|fd| (File::from(OwnedFd::from(fd)), Vec::new())),
        child
            .stderr
            .take()
            .map(|fd| (File::from(OwnedFd::from(fd)), Vec::new())),
    ];
    let mut done = [Vec::new(), Vec::new()];
    while outputs.iter().any(Option::is_some) {
        let left = deadline.saturating_duration_since(Instant::now());
        let ready = wait_ready(stdin.as_ref().map(AsFd::as_fd), &outputs, left)?;
        let Some(ready) = ready else {
            return Ok(None);
        };
        if ready[0] {
            match stdin.as_mut().map(|stdin| stdin.write(input)) {
                Some(Ok(count)) => {
                    input = input.get(count..).unwrap_or_default();
                    if input.is_empty() {
                        stdin = None;
                    }
                }
                Some(Err(error)) if is_transient(&error) => {}
                // It ended without reading: what it printed says why.
                Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => stdin = None,
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
        for (number, slot) in outputs.iter_mut().enumerate() {
            if ready[number + 1] && read_some(slot)? {
                done[number] = slot.take().map(|(_, bytes)| bytes).unwrap_or_default();
            }
        }
    }
    let [stdout, stderr] = done;
    Ok(Some([text(stdout), text(stderr)]))
}

/// Reads what is there; whether that was the end.
fn read_some(slot: &mut Option<(File, Vec<u8>)>) -> io::Result<bool> {
    let Some((file, bytes)) = slot else {
        return Ok(true);
    };
    let mut buffer = [0; 16 * 1024];
    match file.read(&mut buffer) {
        Ok(0) => Ok(true),
        Ok(count) => {
            bytes.extend(buffer.iter().take(count));
            Ok(false)
        }
        Err(error) if is_transient(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Which of standard input, output and error can be gone on with.
fn wait_ready(
    stdin: Option<BorrowedFd<'_>>,
    outputs: &[Option<(File, Vec<u8>)>; 2],
    left: Duration,
) -> io::Result<Option<[bool; 3]>> {
    let mut fds = Vec::with_capacity(3);
    let mut which = Vec::with_capacity(3);
    if let Some(stdin) = stdin {
        fds.push(PollFd::new(stdin, PollFlags::POLLOUT));
        which.push(0);
    }
    for (number, slot) in outputs.iter().enumerate() {
        if let Some((fd, _)) = slot {
            fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            which.push(number + 1);
        }
    }
    let mut ready = [false; 3];
    match poll(&mut fds, timeout(left)) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(nix::errno::Errno::EINTR) => return Ok(Some(ready)),
        Err(errno) => return Err(errno.into()),
    }
    for (fd, place) in fds.iter().zip(which) {
        ready[place] = fd.revents().is_some_and(|events| !events.is_empty());
    }
    Ok(Some(ready))
}

fn wait(
    child: &mut Child,
    pidfd: Option<&OwnedFd>,
    deadline: Instant,
) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match pidfd {
            Some(pidfd) => {
                let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                match poll(&mut fds, timeout(left)) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            None => sleep(PAUSE),
        }
    }
}

/// Rounded up, so that nobody looks again too early.
fn timeout(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn shell(script: &str, input: &str, patience: Duration) -> Result<Output, Error> {
        run(
            Command::new("sh").args(["-c", script]),
            input,
            patience,
            "test",
        )
    }

    #[test]
    fn more_is_fed_and_printed_than_pipes_hold() {
        let input = "0123456789abcde\n".repeat(100_000);
        let output = shell("cat; echo done >&2", &input, LONG).unwrap();
        assert_eq!(output.stdout, input);
        assert_eq!(output.stderr, "done\n");
        let output = shell("exit 3", &input, LONG).unwrap();
        assert_eq!(output.status_text(), "exit status 3");
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let begin = Instant::now();
        for script in ["exec sleep 60", "exec sleep 60 >&- 2>&-"] {
            let error = shell(script, "", Duration::from_millis(100)).err().unwrap();
            assert!(error.is_timeout(), "{error}");
        }
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn only_executable_files_are_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-command"), None);
        assert!(!is_executable(Path::new("/etc/passwd")));
        assert!(!is_executable(Path::new("/etc")));
    }
}
