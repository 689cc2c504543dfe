//! Private hosts and containers, made of namespaces.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::node::Node;
use crate::{Snapshot, inventory, mounts};

/// The directory of the container namespaces, as of `ip netns`.
pub(crate) const NETNS_DIR: &str = "/run/netns";
/// The directory for files of the test.
const SCRATCH: &str = "/run/testkit";

/// A private host, which the calling thread enters: see the crate docs.
///
/// Not `Send`, because namespaces belong to the thread that created them. Threads that this thread starts afterwards
/// are inside the host.
pub struct Host {
    inner: Rc<Inner>,
}

/// Shared by the host and its containers; the namespaces exist as long as any of them.
struct Inner {
    /// The host's network namespace.
    net: File,
    /// The previous namespaces of the thread, to return to.
    old_net: File,
    old_mnt: File,
}

/// A container: a persistent network namespace at `/run/netns/<name>` of its [`Host`], as a runtime creates it. Its
/// `lo` is down, and it has no other link.
pub struct Container {
    host: Rc<Inner>,
    name: String,
    path: PathBuf,
    net: File,
    deleted: Cell<bool>,
}

/// A namespace in `/run/netns`, which may or may not belong to a [`Container`].
pub(crate) struct Namespace {
    host: Rc<Inner>,
    net: File,
    name: String,
}

/// Returns the thread to the network namespace of the host when dropped, also on a panic.
struct Back<'a>(&'a File);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        // To continue in the wrong namespace would be worse than a panic.
        setns(self.0, CloneFlags::CLONE_NEWNET).expect("return to the host's network namespace");
    }
}

/// Opens the network namespace of the calling thread (`/proc/self` is that of the main thread).
fn current_net() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

impl Host {
    /// Turns the calling thread into a private host.
    ///
    /// It gets a network namespace with `lo` up, and a mount namespace with an empty `/run` and `/var/lib/cni` and the
    /// sysfs of that network namespace.
    ///
    /// # Panics
    ///
    /// When namespaces cannot be created, usually because the user is not root.
    #[track_caller]
    pub fn new() -> Host {
        Host::try_new().unwrap_or_else(|err| {
            panic!(
                "cannot make a private host: {err}; tests of the network need root (sudo cargo xtask test) \
                 or a user namespace (unshare --user --map-root-user cargo xtask test)"
            )
        })
    }

    /// [`Host::new`] for callers that want to report the failure themselves.
    ///
    /// # Errors
    ///
    /// The error of the kernel, with the step that failed.
    pub fn try_new() -> io::Result<Host> {
        let step = |what: &'static str| {
            move |err: io::Error| io::Error::new(err.kind(), format!("{what}: {err}"))
        };
        let old_net = current_net().map_err(step("open the network namespace"))?;
        let old_mnt =
            File::open("/proc/thread-self/ns/mnt").map_err(step("open the mount namespace"))?;
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .map_err(|errno| step("unshare the network and mount namespaces")(errno.into()))?;
        let net = current_net().map_err(step("open the new network namespace"))?;
        // From here on, dropping `inner` returns the thread.
        let inner = Rc::new(Inner {
            net,
            old_net,
            old_mnt,
        });
        mounts::make_private().map_err(step("make mounts private"))?;
        mounts::fresh_sysfs().map_err(step("mount sysfs"))?;
        mounts::empty_dir(Path::new("/run")).map_err(step("empty /run"))?;
        mounts::empty_dir(Path::new("/var/lib/cni")).map_err(step("empty /var/lib/cni"))?;
        for dir in [NETNS_DIR, SCRATCH, "/run/lock"] {
            fs::create_dir_all(dir).map_err(step("make directories in /run"))?;
        }
        let host = Host { inner };
        inventory::set_loopback_up().map_err(step("bring lo up"))?;
        Ok(host)
    }

    /// Creates a container; its container ID is its name.
    ///
    /// # Panics
    ///
    /// When the name is in use or the namespace cannot be created.
    #[track_caller]
    pub fn container(&self, name: &str) -> Container {
        self.try_container(name)
            .unwrap_or_else(|err| panic!("cannot create container {name}: {err}"))
    }

    /// [`Host::container`] for callers that want to report the failure themselves.
    ///
    /// # Errors
    ///
    /// The error of the kernel.
    pub fn try_container(&self, name: &str) -> io::Result<Container> {
        let path = Path::new(NETNS_DIR).join(name);
        File::create_new(&path)?;
        let back = Back(&self.inner.net);
        unshare(CloneFlags::CLONE_NEWNET)?;
        let net = current_net()?;
        mount(
            Some("/proc/thread-self/ns/net"),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
        drop(back);
        Ok(Container {
            host: Rc::clone(&self.inner),
            name: name.to_owned(),
            path,
            net,
            deleted: Cell::new(false),
        })
    }

    /// The container whose network namespace a runtime has mounted at `path`; its name is that of the file. It is never
    /// deleted.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[track_caller]
    pub fn container_at(&self, path: impl AsRef<Path>) -> Container {
        let path = path.as_ref();
        let net = File::open(path).unwrap_or_else(|err| panic!("open {}: {err}", path.display()));
        Container {
            host: Rc::clone(&self.inner),
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            path: path.to_owned(),
            net,
            deleted: Cell::new(true),
        }
    }

    /// The directory for files of the test, on the private tmpfs of the host.
    pub fn dir(&self) -> &'static Path {
        Path::new(SCRATCH)
    }

    /// Writes a file below [`Host::dir`] and returns its path.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, content).unwrap_or_else(|err| panic!("write {}: {err}", path.display()));
        path
    }

    /// Mounts an empty tmpfs over `path`, which is created if missing; `options` as in tmpfs(5), for example `size=4k`
    /// for a state directory that is soon full.
    #[track_caller]
    pub fn mount_tmpfs(&self, path: impl AsRef<Path>, options: &str) {
        let path = path.as_ref();
        fs::create_dir_all(path).unwrap_or_else(|err| panic!("make {}: {err}", path.display()));
        mounts::tmpfs(path, options)
            .unwrap_or_else(|err| panic!("mount tmpfs on {}: {err}", path.display()));
    }

    /// Makes the directory `path` read-only, for root as well.
    #[track_caller]
    pub fn make_read_only(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        mounts::read_only(path)
            .unwrap_or_else(|err| panic!("make {} read-only: {err}", path.display()));
    }

    /// Removes the topmost mount of `path`: reverts [`Host::mount_tmpfs`] and [`Host::make_read_only`].
    #[track_caller]
    pub fn unmount(&self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        umount2(path, MntFlags::MNT_DETACH)
            .unwrap_or_else(|err| panic!("unmount {}: {err}", path.display()));
    }

    /// All namespaces in `/run/netns`, including those that others have created or leaked.
    pub(crate) fn containers(&self) -> Vec<Namespace> {
        let entries = fs::read_dir(NETNS_DIR).into_iter().flatten().flatten();
        let open = |entry: fs::DirEntry| {
            let net = File::open(entry.path()).ok()?;
            Some(Namespace {
                host: Rc::clone(&self.inner),
                net,
                name: entry.file_name().to_string_lossy().into_owned(),
            })
        };
        entries.filter_map(open).collect()
    }

    /// The complete state of the host and all its containers: see [`Snapshot`].
    #[track_caller]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(self)
    }
}

impl Default for Host {
    fn default() -> Self {
        Host::new()
    }
}

impl Node for Host {
    fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }

    fn label(&self) -> &str {
        "host"
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Errors are ignored: from a user namespace the old namespaces cannot be entered again, and the host ends with
        // the thread. Also, a test that is already failing must not panic twice.
        let _ = setns(&self.old_mnt, CloneFlags::CLONE_NEWNS);
        let _ = setns(&self.old_net, CloneFlags::CLONE_NEWNET);
    }
}

impl Container {
    /// The container's name, which is also its `CNI_CONTAINERID`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `CNI_CONTAINERID`.
    pub fn id(&self) -> &str {
        &self.name
    }

    /// `CNI_NETNS`: the namespace's path.
    pub fn netns(&self) -> &Path {
        &self.path
    }

    /// Deletes the path of the namespace, as a runtime does with the container.
    ///
    /// The namespace and its links exist until this value, which keeps the namespace open, is dropped.
    pub fn delete(&self) {
        if !self.deleted.replace(true) {
            let _ = umount2(&self.path, MntFlags::MNT_DETACH);
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Runs `f` in the network namespace `net`.
fn inside<T>(net: &File, host: &Inner, name: &str, f: impl FnOnce() -> T) -> T {
    setns(net, CloneFlags::CLONE_NEWNET)
        .unwrap_or_else(|err| panic!("enter container {name}: {err}"));
    let _back = Back(&host.net);
    f()
}

impl Node for Namespace {
    fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        inside(&self.net, &self.host, &self.name, f)
    }

    fn label(&self) -> &str {
        &self.name
    }
}

impl Node for Container {
    fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        inside(&self.net, &self.host, &self.name, f)
    }

    fn label(&self) -> &str {
        &self.name
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.delete();
    }
}
