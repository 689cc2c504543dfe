//! References to network namespaces, as users write them.

use super::error::NsError;
use super::persistent::check_name;
use super::{Netns, PersistentNetns, process_path};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

/// Directory of named namespaces, spelled as upstream does: the container ID of `cnitool`
/// depends on the spelling.
const NAMED: &str = "/var/run/netns";
/// Pause between two looks for a namespace that is awaited.
const PAUSE: Duration = Duration::from_millis(50);

/// What a network namespace can be named by.
///
/// ```
/// use cni_core::ns::Reference;
///
/// # fn main() -> Result<(), cni_core::ns::NsError> {
/// let blue: Reference = "name:blue".parse()?;
/// assert_eq!(blue.path().as_deref(), Some("/var/run/netns/blue".as_ref()));
/// assert_eq!("pid:1".parse::<Reference>()?, Reference::Pid(1));
/// assert_eq!("/run/netns/x".parse::<Reference>()?, Reference::Path("/run/netns/x".into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `/run/netns/x`: a file. Anything without one of the prefixes below; a file whose name
    /// begins with one is written `./pid:1`.
    Path(PathBuf),
    /// `pid:123`: the namespace of a process.
    Pid(u32),
    /// `name:blue`: a namespace of `ip netns`.
    Name(String),
    /// `label:web`: the namespace of a container, which [`Resolver::containers`] finds.
    Label(String),
}

impl FromStr for Reference {
    type Err = NsError;

    fn from_str(text: &str) -> Result<Reference, NsError> {
        let invalid = |reason: &str| NsError::Invalid {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        match text.split_once(':') {
            Some(("pid", pid)) => {
                let is_number = !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
                match pid.parse() {
                    Ok(pid) if is_number && pid > 0 => Ok(Reference::Pid(pid)),
                    _ => Err(invalid("expected the number of a process, such as pid:123")),
                }
            }
            Some(("name", name)) => {
                check_name(name)?;
                Ok(Reference::Name(name.to_owned()))
            }
            Some(("label", "")) => Err(invalid("expected a label, such as label:web")),
            Some(("label", label)) => Ok(Reference::Label(label.to_owned())),
            _ if text.is_empty() => Err(invalid(
                "expected a path, pid:<number>, name:<name> or label:<label>",
            )),
            _ => Ok(Reference::Path(text.into())),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Path(path) => write!(f, "{}", path.display()),
            Reference::Pid(pid) => write!(f, "pid:{pid}"),
            Reference::Name(name) => write!(f, "name:{name}"),
            Reference::Label(label) => write!(f, "label:{label}"),
        }
    }
}

/// Finds the namespaces of containers by their labels, such as through Docker's API. What a
/// label is, is its matter.
pub trait Containers {
    /// Opens the namespace of the running container with `label`. If there is none, waits
    /// for one as long as `wait`.
    ///
    /// # Errors
    /// [`NsError::NoContainer`] if there is none, others if that cannot be found out.
    fn netns(&self, label: &str, wait: Duration) -> Result<Netns, NsError>;
}

/// How references are resolved. The default neither creates nor waits, and knows no labels.
#[derive(Clone, Copy, Default)]
pub struct Resolver<'a> {
    /// Create the namespace of a [`Reference::Name`] that does not exist.
    pub create: bool,
    /// How long to wait for a namespace that does not exist (yet).
    pub wait: Duration,
    /// Finds containers.
    pub containers: Option<&'a dyn Containers>,
}

impl Resolver<'_> {
    /// Opens the namespace that a reference names.
    ///
    /// # Errors
    /// [`NsError::is_gone`] if it does not exist, at the end of `wait` at the latest.
    pub fn open(&self, reference: &Reference) -> Result<Netns, NsError> {
        let start = Instant::now();
        loop {
            let left = self.wait.saturating_sub(start.elapsed());
            match self.look(reference, left) {
                Err(e) if e.is_gone() && !left.is_zero() => thread::sleep(PAUSE.min(left)),
                result => return result,
            }
        }
    }

    fn look(&self, reference: &Reference, wait: Duration) -> Result<Netns, NsError> {
        match reference {
            Reference::Path(path) => Netns::open(path),
            Reference::Pid(pid) => Netns::of_process(*pid),
            Reference::Name(name) if self.create => open_or_create(name),
            Reference::Name(name) => Netns::open(&named(name)),
            Reference::Label(label) => match self.containers {
                Some(containers) => containers.netns(label, wait),
                None => Err(NsError::Invalid {
                    text: reference.to_string(),
                    reason: "labels of containers are not supported here".to_owned(),
                }),
            },
        }
    }
}

impl Reference {
    /// Returns the path of the namespace, which need not exist; none for a label.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Reference::Path(path) => Some(path.clone()),
            Reference::Pid(pid) => Some(process_path(*pid)),
            Reference::Name(name) => Some(named(name)),
            Reference::Label(_) => None,
        }
    }
}

fn named(name: &str) -> PathBuf {
    Path::new(NAMED).join(name)
}

/// Opens a named namespace, and creates it only if there is no file of that name: whatever
/// else prevents opening it is an error.
fn open_or_create(name: &str) -> Result<Netns, NsError> {
    match Netns::open(&named(name)) {
        Err(NsError::NotExist { .. }) => {}
        result => return result,
    }
    match PersistentNetns::create_named(Path::new(NAMED), name) {
        Ok(created) => created.open(),
        // Another process was faster. Its mount follows the file.
        Err(NsError::Other { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            let until_mounted = Resolver {
                wait: Duration::from_secs(1),
                ..Resolver::default()
            };
            until_mounted.open(&Reference::Path(named(name)))
        }
        Err(e) => Err(e),
    }
}
