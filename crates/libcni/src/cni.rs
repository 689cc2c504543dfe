//! The handle: where plugins and the cache are, and how plugins are called.

use crate::cache::Cache;
use crate::{Attachment, Error, PluginConf, TraceContext};
use cni_core::invoke;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Calls the plugins of networks and keeps the results of their attachments.
///
/// It holds no state but its settings, so it can be cloned, shared between threads, and used
/// by several at a time. The verbs of *one* attachment must not run at the same time, nor GC
/// at the same time as an ADD or DEL of its network: the specification leaves that to the
/// runtime. If it happens anyway, plugins refuse the second ADD (the interface exists), and
/// a cache file is that of one of the calls, never a mixture.
#[derive(Clone, Debug)]
pub struct Cni {
    plugin_dirs: Vec<PathBuf>,
    pub(crate) cache: Cache,
    time_limit: Option<Duration>,
    deadline: Option<Instant>,
    trace: TraceContext,
    env: Vec<(String, OsString)>,
    pub(crate) rollback: bool,
    pub(crate) keep_going: bool,
}

impl Cni {
    /// Returns a handle that searches plugins in `plugin_dirs`, which also become their
    /// `CNI_PATH`, and caches results in `/var/lib/cni/results` as all runtimes do.
    pub fn new(plugin_dirs: impl IntoIterator<Item = impl Into<PathBuf>>) -> Cni {
        Cni {
            plugin_dirs: plugin_dirs.into_iter().map(Into::into).collect(),
            cache: Cache::new(Path::new("/var/lib/cni")),
            time_limit: None,
            deadline: None,
            trace: TraceContext::default(),
            env: Vec::new(),
            rollback: false,
            keep_going: false,
        }
    }

    /// Caches results in `dir`/results. It is created with mode 0700 when it is missing.
    #[must_use]
    pub fn cache_dir(mut self, dir: impl AsRef<Path>) -> Cni {
        self.cache = Cache::new(dir.as_ref());
        self
    }

    /// Sets the time that each plugin has for a verb. The default is 90 s; `dhcp`, which
    /// waits for a server, has 218 s, and a plugin with an IPAM plugin 20 s more than that
    /// one. A plugin that exceeds it is killed with its process group.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Cni {
        self.time_limit = Some(limit);
        self
    }

    /// Sets the moment at which calls end, whichever plugin runs then.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Cni {
        self.deadline = Some(deadline);
        self
    }

    /// Passes the caller's trace context to plugins.
    #[must_use]
    pub fn trace(mut self, trace: TraceContext) -> Cni {
        self.trace = trace;
        self
    }

    /// Sets a variable of the plugins' environment, which is otherwise that of this process:
    /// `PATH`, where plugins find `iptables`.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Cni {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Has a failing ADD call DEL of the plugins that it has called, in reverse order, all
    /// of them, whichever fail. An attachment that is in the cache already is left alone: the
    /// ADD failed because it exists.
    ///
    /// The default is `false`, as in upstream: the specification has the runtime call DEL
    /// after an ADD that failed.
    #[must_use]
    pub fn rollback(mut self, rollback: bool) -> Cni {
        self.rollback = rollback;
        self
    }

    /// Has DEL go on with the other plugins when one fails, and return all errors. The
    /// cached result is kept then, for the next DEL.
    ///
    /// The default is `false`: the specification has a chain stop at the first error.
    #[must_use]
    pub fn keep_going(mut self, keep_going: bool) -> Cni {
        self.keep_going = keep_going;
        self
    }

    /// Returns the executable of the plugin `kind`.
    ///
    /// # Errors
    /// [`Error::Find`]
    pub fn find(&self, kind: &str) -> Result<PathBuf, Error> {
        Ok(invoke::find_in_path(kind, &self.plugin_dirs)?)
    }

    /// Runs `verb` of a plugin with `stdin`, and returns its output.
    pub(crate) fn call(
        &self,
        verb: &str,
        plugin: &PluginConf,
        attachment: &Attachment,
        stdin: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let path = self.find(&plugin.conf.kind)?;
        let ipam = Some(plugin.conf.ipam.kind.as_str()).filter(|kind| !kind.is_empty());
        let limit = invoke::time_limit(&plugin.conf.kind, ipam);
        self.execute(&path, verb, attachment, stdin, limit)
    }

    /// Runs `verb` of the plugin at `path`, for at most `limit` unless the caller has set
    /// another time.
    pub(crate) fn execute(
        &self,
        path: &Path,
        verb: &str,
        attachment: &Attachment,
        stdin: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, Error> {
        let mut limit = self.time_limit.unwrap_or(limit);
        if let Some(deadline) = self.deadline {
            limit = limit.min(deadline.saturating_duration_since(Instant::now()));
            if limit.is_zero() {
                return Err(deadline_exceeded().into());
            }
        }
        let (args, dirs, trace) = (
            attachment.cni_args(),
            self.joined_dirs(),
            self.trace.variables(),
        );
        let own = self.env.iter();
        let mut env: Vec<(&str, Option<&OsStr>)> = own
            .map(|(name, value)| (name.as_str(), Some(value.as_os_str())))
            .collect();
        env.extend([
            ("CNI_COMMAND", Some(verb.as_ref())),
            ("CNI_CONTAINERID", Some(attachment.container_id.as_ref())),
            ("CNI_NETNS", Some(attachment.netns.as_ref())),
            ("CNI_ARGS", Some(args.as_ref())),
            ("CNI_IFNAME", Some(attachment.if_name.as_ref())),
            ("CNI_PATH", Some(dirs.as_os_str())),
        ]);
        env.extend(trace.iter().map(|(name, value)| (*name, value.as_deref())));
        Ok(invoke::run(path, &env, stdin, limit)?)
    }

    /// Returns `CNI_PATH`.
    fn joined_dirs(&self) -> OsString {
        let mut joined = OsString::new();
        for (i, dir) in self.plugin_dirs.iter().enumerate() {
            if i > 0 {
                joined.push(":");
            }
            joined.push(dir);
        }
        joined
    }
}

/// Returns the error of a plugin that is not started because the deadline has passed.
fn deadline_exceeded() -> cni_core::Error {
    cni_core::Error::new(
        cni_core::Code::UNKNOWN,
        "netplugin failed with no error message: context deadline exceeded",
    )
    .with_details("it was not started, since the deadline of the call had passed")
}
