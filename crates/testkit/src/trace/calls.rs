//! Tells system calls that change something outside of the process from those that do not.
//!
//! A call counts as a change unless it is known not to be one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use nix::libc::{self, c_long};
use nix::unistd::Pid;

use super::sys::SystemCall;

/// What is known about the sockets of the traced processes, by inode: it survives duplication, fork and `SCM_RIGHTS`.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<String, (u64, u64)>);

impl Sockets {
    /// Remembers domain and protocol of the socket that a call has created.
    pub(super) fn created(&mut self, pid: Pid, call: &SystemCall, result: i64) {
        if let Some(target) = target(pid, result.cast_unsigned()) {
            let [domain, _, protocol, ..] = call.arguments;
            self.0.insert(target, (domain, protocol));
        }
    }

    /// The protocol of a netlink socket.
    fn netlink(&self, target: &str) -> Option<u64> {
        let (domain, protocol) = self.0.get(target)?;
        (*domain == libc::AF_NETLINK as u64).then_some(*protocol)
    }
}

/// What a descriptor leads to: a path, `pipe:[N]`, `socket:[N]`.
fn target(pid: Pid, fd: u64) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{}", fd & 0xffff_ffff)).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Reads the memory of a stopped process.
fn memory(pid: Pid, address: u64, length: u64) -> io::Result<Vec<u8>> {
    /// No request of a plugin is longer.
    const MOST: u64 = 1 << 20;
    let mut bytes = vec![0; usize::try_from(length.min(MOST)).unwrap_or_default()];
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let read = memory.read_at(&mut bytes, address)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads a string of a stopped process.
fn string(pid: Pid, address: u64) -> String {
    let bytes = memory(pid, address, 256).unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// Returns a description of the call if it changes something outside of the process.
pub(super) fn change(pid: Pid, call: &SystemCall, sockets: &Sockets) -> Option<String> {
    if HARMLESS.contains(&call.number) || OLD_HARMLESS.contains(&call.number) {
        return None;
    }
    let [first, second, third, ..] = call.arguments;
    let name = name(call.number);
    match call.number {
        libc::SYS_openat if third & CREATES == 0 => None,
        OLD_OPEN if second & CREATES == 0 => None,
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 => {
            let target = target(pid, first)?;
            let is_private = target.starts_with("pipe:") || target.starts_with("anon_inode:");
            if is_private || target == "/dev/null" {
                return None;
            }
            match sockets.netlink(&target) {
                Some(protocol) => netlink(name, protocol, &memory(pid, second, third).ok()?),
                None => Some(format!("{name} {target}")),
            }
        }
        libc::SYS_sendto | libc::SYS_sendmsg => {
            let target = target(pid, first)?;
            let Some(protocol) = sockets.netlink(&target) else {
                return Some(format!("{name} {target}"));
            };
            let message = match call.number {
                libc::SYS_sendto => memory(pid, second, third),
                _ => gathered(pid, second),
            };
            netlink(name, protocol, &message.ok()?)
        }
        libc::SYS_bind => {
            let family = memory(pid, second, 2).ok()?;
            let is_unix = family == (libc::AF_UNIX as u16).to_ne_bytes();
            is_unix.then(|| format!("{name} {}", string(pid, second + 2)))
        }
        // Tables of iptables-legacy (`IPT_SO_SET_REPLACE`, `IP6T_SO_SET_REPLACE`).
        libc::SYS_setsockopt => {
            let is_ip = [libc::SOL_IP as u64, libc::SOL_IPV6 as u64].contains(&second);
            (is_ip && third & !1 == 64).then(|| format!("{name} {third}"))
        }
        libc::SYS_ioctl if IOCTLS.contains(&(second & 0xffff_ffff)) => None,
        libc::SYS_ioctl => Some(format!("{name} {second:#x}")),
        libc::SYS_mkdirat | libc::SYS_unlinkat | libc::SYS_openat | libc::SYS_renameat => {
            Some(format!("{name} {}", string(pid, second)))
        }
        libc::SYS_renameat2 => Some(format!("{name} {}", string(pid, second))),
        libc::SYS_execve | OLD_OPEN => Some(format!("{name} {}", string(pid, first))),
        _ => Some(name.to_owned()),
    }
}

/// The bytes that `struct msghdr` at `address` refers to.
fn gathered(pid: Pid, address: u64) -> io::Result<Vec<u8>> {
    let words = |bytes: &[u8]| -> Vec<u64> {
        let words = bytes.chunks_exact(8);
        words
            .map(|word| word.try_into().map_or(0, u64::from_ne_bytes))
            .collect()
    };
    let header = words(&memory(pid, address, 56)?);
    let [_, _, vectors, count, ..] = header[..] else {
        return Ok(Vec::new());
    };
    let vectors = words(&memory(pid, vectors, count * 16)?);
    let mut all = Vec::new();
    for vector in vectors.chunks_exact(2) {
        all.extend(memory(pid, vector[0], vector[1])?);
    }
    Ok(all)
}

/// Returns a description of a datagram to the kernel unless all of its messages only read.
fn netlink(name: &str, protocol: u64, mut datagram: &[u8]) -> Option<String> {
    let mut kinds = Vec::new();
    while let Some(header) = datagram.get(..16) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if !only_reads(protocol, kind) {
            kinds.push(kind.to_string());
        }
        let next = (length as usize).max(16).next_multiple_of(4);
        datagram = datagram.get(next..).unwrap_or_default();
    }
    (!kinds.is_empty()).then(|| format!("{name} netlink {protocol}: {}", kinds.join(" ")))
}

/// Whether a netlink message of this kind only reads, or only delimits a batch.
fn only_reads(protocol: u64, kind: u16) -> bool {
    /// Messages of nf_tables: `NFT_MSG_GETTABLE`, `…CHAIN`, `…RULE`, `…SET`, `…SETELEM`, `…GEN`, `…OBJ`, `…FLOWTABLE`.
    const NFT_GETS: [u8; 8] = [1, 4, 7, 10, 13, 16, 19, 23];
    let [subsystem, message] = kind.to_be_bytes();
    match i32::try_from(protocol) {
        // Kinds come in fours: new, delete, get, set (`linux/rtnetlink.h`).
        Ok(libc::NETLINK_ROUTE) => kind >= 16 && kind % 4 == 2,
        Ok(libc::NETLINK_NETFILTER) => match subsystem {
            // `NLMSG_NOOP` to `NFNL_MSG_BATCH_END`.
            0 => kind <= 17,
            // `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_EXP_GET`.
            1 | 2 => message == 1,
            10 => NFT_GETS.contains(&message),
            // `NFNL_MSG_COMPAT_GET`.
            11 => message == 0,
            _ => false,
        },
        _ => false,
    }
}

/// Flags of open(2) that change the file system.
const CREATES: u64 =
    (libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u64;

/// Requests of ioctl(2) that only read: of terminals and sockets, `FIONBIO`, `FIOCLEX`, and of namespaces (`NS_GET_…`).
const IOCTLS: &[u64] = &[
    0x5401, 0x5413, 0x541b, 0x5421, 0x5451, 0x8910, 0x8913, 0x8915, 0x8921, 0x8927, 0x8933, 0xb701,
    0xb702, 0xb703, 0xb704,
];

/// Declares the system calls that change nothing outside of the process, and those whose names appear in descriptions.
macro_rules! calls {
    ($table:ident: $($name:ident)*) => {
        const $table: &[c_long] = &[$(libc::$name),*];
    };
}

// Locks are gone with their holder, as are descriptors.
calls!(HARMLESS:
    SYS_accept SYS_accept4 SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres SYS_clock_gettime
    SYS_clock_nanosleep SYS_clone SYS_clone3 SYS_close SYS_close_range SYS_connect SYS_dup SYS_dup3 SYS_epoll_create1
    SYS_epoll_ctl SYS_epoll_pwait SYS_eventfd2 SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64
    SYS_fchdir SYS_fcntl SYS_fdatasync SYS_flock SYS_fstat SYS_fstatfs SYS_fsync SYS_futex SYS_getcwd SYS_getdents64
    SYS_getegid SYS_geteuid SYS_getgid SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority
    SYS_getrandom SYS_getrlimit SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday
    SYS_getuid SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_listen SYS_lseek
    SYS_madvise SYS_membarrier SYS_memfd_create SYS_mmap SYS_mprotect SYS_mremap SYS_munmap SYS_nanosleep
    SYS_newfstatat SYS_pidfd_open SYS_pipe2 SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv SYS_prlimit64 SYS_pselect6
    SYS_read SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_restart_syscall SYS_rseq
    SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_sched_getaffinity SYS_sched_getparam SYS_sched_getscheduler SYS_sched_yield SYS_seccomp SYS_set_robust_list
    SYS_set_tid_address SYS_setitimer SYS_setns SYS_setpgid SYS_setrlimit SYS_setsid SYS_shutdown SYS_sigaltstack
    SYS_signalfd4 SYS_socket SYS_socketpair SYS_statfs SYS_statx SYS_sysinfo SYS_timer_create SYS_timer_delete
    SYS_timer_settime SYS_timerfd_create SYS_timerfd_settime SYS_umask SYS_uname SYS_unshare SYS_wait4 SYS_waitid
);

#[cfg(target_arch = "x86_64")]
calls!(OLD_HARMLESS:
    SYS_access SYS_alarm SYS_arch_prctl SYS_dup2 SYS_epoll_create SYS_epoll_wait SYS_fork SYS_getdents SYS_getpgrp
    SYS_lstat SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_select SYS_stat SYS_time SYS_vfork
);
#[cfg(target_arch = "x86_64")]
const OLD_OPEN: c_long = libc::SYS_open;

#[cfg(not(target_arch = "x86_64"))]
calls!(OLD_HARMLESS:);
#[cfg(not(target_arch = "x86_64"))]
const OLD_OPEN: c_long = -1;

/// The name of a system call, for failure messages.
fn name(number: c_long) -> &'static str {
    macro_rules! names {
        ($($name:ident)*) => {
            [$((libc::$name, &stringify!($name)[4..])),*]
        };
    }
    let known = names!(
        SYS_bind SYS_copy_file_range SYS_execve SYS_fallocate SYS_fchmod SYS_fchmodat SYS_fchown SYS_ftruncate
        SYS_ioctl SYS_kill SYS_linkat SYS_mkdirat SYS_mount SYS_openat SYS_pidfd_send_signal SYS_pwrite64
        SYS_renameat SYS_renameat2 SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setsockopt SYS_symlinkat
        SYS_tgkill SYS_umount2 SYS_unlinkat SYS_utimensat SYS_write SYS_writev
    );
    let of_x86: &[(c_long, &str)] = OLD_NAMES;
    let all = known.iter().chain(of_x86);
    let found = all.into_iter().find(|(known, _)| *known == number);
    found.map_or("another call", |(_, name)| name)
}

/// Calls that only this architecture still has.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[(c_long, &str)] = &[
    (libc::SYS_chmod, "chmod"),
    (libc::SYS_link, "link"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_open, "open"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_symlink, "symlink"),
    (libc::SYS_unlink, "unlink"),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[(c_long, &str)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16) -> Vec<u8> {
        let mut bytes = 16_u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(16, 0);
        bytes
    }

    #[test]
    fn only_messages_that_change_something_count() {
        let described = |protocol: i32, kinds: &[u16]| {
            let datagram: Vec<u8> = kinds.iter().flat_map(|kind| message(*kind)).collect();
            netlink("sendto", protocol.cast_unsigned().into(), &datagram)
        };
        let route = libc::NETLINK_ROUTE;
        // RTM_GETLINK, RTM_GETADDR; RTM_NEWLINK, RTM_DELLINK.
        assert_eq!(described(route, &[18, 22]), None);
        assert_eq!(
            described(route, &[18, 16, 17]).as_deref(),
            Some("sendto netlink 0: 16 17")
        );
        let filters = libc::NETLINK_NETFILTER;
        // NFT_MSG_GETGEN, IPCTNL_MSG_CT_GET; a batch with NFT_MSG_NEWTABLE; IPCTNL_MSG_CT_DELETE.
        assert_eq!(described(filters, &[10 << 8 | 16, 1 << 8 | 1]), None);
        let batch = described(filters, &[16, 10 << 8, 17]);
        assert_eq!(batch.as_deref(), Some("sendto netlink 12: 2560"));
        assert!(described(filters, &[1 << 8 | 2]).is_some());
        assert!(described(libc::NETLINK_GENERIC, &[16]).is_some());
    }
}
