//! References to network namespaces on the command line.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf, absolute};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap_complete::CompletionCandidate;
use cni_core::ns::{Containers, Netns, NsError, Reference, Resolver};
use runtime_api::Docker;

/// Where `ip netns` and runtimes keep namespaces.
const NAMED: &str = "/run/netns";
/// Time limit of a request to Docker.
const LIMIT: Duration = Duration::from_secs(10);
/// How long `--wait` without a number waits.
const WAIT: &str = "60";
/// The longest time to wait: a day.
const LONGEST: u64 = 86400;

/// How a namespace is looked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Lookup {
    /// Wait until the namespace exists, 60 seconds or as many as are given
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = WAIT,
          value_parser = clap::value_parser!(u64).range(..=LONGEST))]
    wait: Option<u64>,
    /// Create the namespace of name:NAME if it does not exist
    #[arg(long)]
    create: bool,
}

/// What an operation needs of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It must exist, and may be created.
    New,
    /// It must exist.
    Existing,
    /// It may be gone.
    Perhaps,
    /// It is not used.
    Nothing,
}

/// The namespace that an argument refers to.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its path; empty if it was to be found by a label, and is gone.
    pub(crate) path: PathBuf,
    /// What the container ID is derived from: the path, as in upstream. For a label it is the reference itself, so that
    /// the container can be detached when it has ended, or been started again.
    pub(crate) key: OsString,
}

/// Returns the namespace that an argument refers to.
///
/// # Errors
///
/// When it is no reference, or the namespace is needed, and was to be waited for or created, or has a label, and does not
/// exist. That a path exists is not checked otherwise: plugins do that.
pub(crate) fn resolve(argument: &OsStr, options: &Lookup, need: Need) -> Result<Target> {
    let reference = parse(argument)?;
    options.check(need)?;
    let resolver = Resolver {
        create: options.create,
        wait: Duration::from_secs(options.wait.unwrap_or(0)),
        containers: Some(&Labels),
    };
    if (options.wait.is_some() || options.create) && reference.path().is_some() {
        resolver.open(&reference)?;
    }
    let path = match reference.path() {
        Some(path) => path,
        None if need == Need::Nothing => PathBuf::new(),
        None => match resolver.open(&reference) {
            Ok(netns) => netns.path().to_owned(),
            Err(e) if e.is_gone() && need == Need::Perhaps => PathBuf::new(),
            Err(e) => return Err(e.into()),
        },
    };
    let key = match reference {
        Reference::Label(_) => argument.to_owned(),
        _ => path.clone().into(),
    };
    Ok(Target { path, key })
}

impl Lookup {
    /// Refuses options that have no meaning.
    fn check(&self, need: Need) -> Result<()> {
        if self.create && need != Need::New {
            bail!("--create is for add only");
        }
        if self.wait.is_some() && !matches!(need, Need::New | Need::Existing) {
            bail!("--wait is for add and check only");
        }
        Ok(())
    }
}

/// Returns the reference, with an absolute path.
fn parse(argument: &OsStr) -> Result<Reference> {
    let path = match argument.to_str().map(str::parse) {
        // As upstream: the current directory, which is not a namespace.
        _ if argument.is_empty() => PathBuf::from("."),
        None => argument.into(),
        Some(Ok(Reference::Path(path))) => path,
        Some(reference) => return Ok(reference?),
    };
    let path = absolute(&path)
        .with_context(|| format!("{}: the current directory is unknown", argument.display()))?;
    Ok(Reference::Path(cleaned(&path)))
}

/// The containers of Docker, whose daemon is asked only for a label.
struct Labels;

impl Containers for Labels {
    fn netns(&self, label: &str, wait: Duration) -> Result<Netns, NsError> {
        let docker = Docker::from_environment(LIMIT).map_err(|e| NsError::Other {
            what: "cannot find the container".to_owned(),
            source: std::io::Error::other(e),
        })?;
        Containers::netns(&docker, label, wait)
    }
}

/// Returns an absolute path without `.` and `..`. Links are not followed, since the container ID is derived from the
/// path, and upstream's is.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            // At the root this does nothing.
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

/// Returns the named namespaces of the host for completions.
pub(crate) fn candidates() -> Vec<CompletionCandidate> {
    let entries = fs::read_dir(NAMED).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_without_following_links() {
        let clean = |path: &str| parse(OsStr::new(path)).unwrap().path().unwrap();
        assert_eq!(clean("/var/run/netns/a"), Path::new("/var/run/netns/a"));
        assert_eq!(clean("/a/./b//../../../c/"), Path::new("/c"));
        assert_eq!(clean("/.."), Path::new("/"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(clean("x/../y"), here.join("y"));
        assert_eq!(clean(""), here);
        assert_eq!(clean("pid:7"), Path::new("/proc/7/ns/net"));
        assert_eq!(clean("./pid:7"), here.join("pid:7"));
    }
}
