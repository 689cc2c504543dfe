//! Runs a program under ptrace(2) and kills it before a chosen change.
//!
//! A change is a system call that changes something outside of the process: files, kernel objects, datagrams. Calls that
//! read, wait, or only affect the process do not count; all others do, so that a new one is not overlooked. Children and
//! threads are traced as well.

mod calls;
mod sys;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use calls::Sockets;
use sys::SystemCall;

/// A change, by its number in its process. Processes are numbered in the order of their creation. Unlike the order of
/// changes of concurrent processes, this does not differ from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The number of the process, from 0.
    pub process: usize,
    /// The number of the change in the process, from 0.
    pub change: usize,
}

/// The processes that are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// All of them, as when a node or a service's control group goes down.
    All,
    /// The process that is about to make the change; the others go on.
    Caller,
}

/// A kill of `Victim` before the change at `Point`.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// When.
    pub at: Point,
    /// Whom.
    pub victim: Victim,
}

/// What a traced program did.
#[derive(Debug)]
pub struct Trace {
    /// Its exit status.
    pub status: ExitStatus,
    /// The changes that it and its children made or were about to make, each with a description.
    pub changes: Vec<(Point, String)>,
    /// Whether it came to the point at which it was to be killed.
    pub is_killed: bool,
}

/// Runs a program to its end and that of its children, and kills it as `kill` says. `started` gets the child as soon as it
/// exists; it must not wait for it.
///
/// # Errors
///
/// When it cannot be started or traced.
///
/// # Panics
///
/// When it runs longer than `deadline`. It is then killed.
pub fn trace(
    command: &mut Command,
    kill: Option<Kill>,
    deadline: Duration,
    started: impl FnOnce(&mut Child),
) -> io::Result<Trace> {
    sys::trace_by_parent(command);
    let mut child = command.spawn()?;
    let root = Pid::from_raw(child.id().cast_signed());
    let mut tracer = Tracer::new(root, kill);
    tracer.begin()?;
    started(&mut child);
    let watchdog = Watchdog::start(root, deadline);
    let status = tracer.follow()?;
    assert!(
        !watchdog.stop(),
        "{command:?} did not end within {deadline:?}"
    );
    Ok(Trace {
        status,
        changes: tracer.changes,
        is_killed: tracer.is_killed,
    })
}

/// A traced process or thread.
#[derive(Debug)]
struct Process {
    number: usize,
    changes: usize,
    /// Whether its first stop, which is no system call, is over.
    is_attached: bool,
    /// The system call that it is in.
    call: Option<SystemCall>,
    /// Whether the kernel makes the last system call once more.
    is_restarted: bool,
}

/// `ERESTARTSYS` to `ERESTART_RESTARTBLOCK` of the kernel's linux/errno.h, which only tracers see: the kernel makes the
/// system call once more. Writing the sysctl `ip_forward` ends so while another process holds the RTNL lock.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

struct Tracer {
    root: Pid,
    kill: Option<Kill>,
    processes: BTreeMap<Pid, Process>,
    /// The number of processes so far.
    count: usize,
    sockets: Sockets,
    changes: Vec<(Point, String)>,
    is_killed: bool,
}

impl Tracer {
    fn new(root: Pid, kill: Option<Kill>) -> Tracer {
        Tracer {
            root,
            kill,
            processes: BTreeMap::new(),
            count: 0,
            sockets: Sockets::default(),
            changes: Vec::new(),
            is_killed: false,
        }
    }

    /// Waits for the stop before the first instruction.
    fn begin(&mut self) -> io::Result<()> {
        match waitpid(self.root, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Stopped(..) => {}
            other => return Err(io::Error::other(format!("not traced: {other:?}"))),
        }
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(self.root, options)?;
        self.process(self.root).is_attached = true;
        self.resume(self.root, None);
        Ok(())
    }

    fn process(&mut self, pid: Pid) -> &mut Process {
        let count = &mut self.count;
        self.processes.entry(pid).or_insert_with(|| {
            *count += 1;
            Process {
                number: *count - 1,
                changes: 0,
                is_attached: false,
                call: None,
                is_restarted: false,
            }
        })
    }

    /// Follows all processes to their ends. Returns the status of the first.
    fn follow(&mut self) -> io::Result<ExitStatus> {
        let mut status = None;
        while !self.processes.is_empty() {
            // Only what this thread traces: others may trace, too.
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::Exited(pid, code)) => {
                    self.ended(pid, code << 8, &mut status);
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.ended(pid, signal as i32, &mut status);
                }
                Ok(WaitStatus::PtraceSyscall(pid)) => self.at_call(pid),
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => self.at_event(pid, event),
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    let process = self.process(pid);
                    let is_first = !std::mem::replace(&mut process.is_attached, true);
                    self.resume(pid, (!is_first).then_some(signal));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        status.ok_or_else(|| io::Error::other("the program's end was not seen"))
    }

    fn ended(&mut self, pid: Pid, raw: i32, status: &mut Option<ExitStatus>) {
        self.processes.remove(&pid);
        if pid == self.root {
            *status = Some(ExitStatus::from_raw(raw));
        }
    }

    fn at_event(&mut self, pid: Pid, event: i32) {
        let starts_process = [
            libc::PTRACE_EVENT_FORK,
            libc::PTRACE_EVENT_VFORK,
            libc::PTRACE_EVENT_CLONE,
        ];
        if starts_process.contains(&event)
            && let Ok(child) = ptrace::getevent(pid)
            && let Ok(child) = i32::try_from(child)
        {
            self.process(Pid::from_raw(child));
        }
        self.resume(pid, None);
    }

    /// At the entry or the exit of a system call.
    fn at_call(&mut self, pid: Pid) {
        if let Some(call) = self.process(pid).call.take() {
            if let Ok(result) = sys::result(pid) {
                self.process(pid).is_restarted = RESTARTS.contains(&result);
                if call.number == libc::SYS_socket {
                    self.sockets.created(pid, &call, result);
                }
            }
            return self.resume(pid, None);
        }
        let Ok(call) = sys::entry(pid) else {
            return self.resume(pid, None);
        };
        let process = self.process(pid);
        process.call = Some(call);
        if std::mem::take(&mut process.is_restarted) {
            return self.resume(pid, None);
        }
        if let Some(description) = calls::change(pid, &call, &self.sockets) {
            let process = self.process(pid);
            let at = Point {
                process: process.number,
                change: process.changes,
            };
            process.changes += 1;
            self.changes.push((at, description));
            if self.kill.is_some_and(|kill| kill.at == at) {
                self.is_killed = true;
                let _ = kill(pid, Signal::SIGKILL);
                return self.kill_all();
            }
        }
        self.resume(pid, None);
    }

    /// Kills the others, if they are victims. The kernel does not make a system call at whose entry a process was killed.
    fn kill_all(&self) {
        if self.spares_others() {
            return;
        }
        for pid in self.processes.keys() {
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }

    fn spares_others(&self) -> bool {
        self.kill.is_none_or(|kill| kill.victim == Victim::Caller)
    }

    /// Has a process continue to its next stop. An error means that it was killed meanwhile.
    fn resume(&self, pid: Pid, signal: Option<Signal>) {
        if self.is_killed && !self.spares_others() {
            // Also one that was being created when the others were killed.
            let _ = kill(pid, Signal::SIGKILL);
        } else {
            let _ = ptrace::syscall(pid, signal);
        }
    }
}

/// A thread that kills a process that runs for too long.
struct Watchdog {
    stop: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(root: Pid, deadline: Duration) -> Watchdog {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let is_late = stopped.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                let _ = kill(root, Signal::SIGKILL);
            }
            is_late
        });
        Watchdog { stop, thread }
    }

    /// Stops it. Returns whether it has killed the process.
    fn stop(self) -> bool {
        drop(self.stop);
        self.thread.join().unwrap_or(true)
    }
}
