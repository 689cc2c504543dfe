//! The directory `.cni-plugins` beside the plugins: the contents that are installed or can
//! be restored, each once, and the manifest.

use super::manifest::Manifest;
use crate::sys;
use anyhow::{Context, Result, bail};
use cni_core::errno;
use nix::errno::Errno;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DIRECTORY: &str = ".cni-plugins";
const MANIFEST: &str = "installed.json";

/// The file that is written before it gets its name. The lock makes one name sufficient;
/// the next installer removes what a killed one left.
const SCRATCH: &str = "new";

/// How long to wait for another installer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store, locked.
pub(super) struct Store {
    /// The directory of the plugins.
    dest: PathBuf,
    dir: PathBuf,
    /// Holds the lock.
    lock: File,
    /// Hashes by device and inode, since most files are links to one.
    hashes: RefCell<HashMap<(u64, u64), String>>,
}

/// Adds the path and the system's text to an error.
pub(super) fn failed<T>(verb: &str, path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|e| anyhow::anyhow!("cannot {verb} {}: {}", path.display(), errno::of(&e)))
}

impl Store {
    /// Opens and locks the store of the directory `dest`, and creates both.
    ///
    /// # Errors
    /// When that is impossible, or another installer holds the lock for too long.
    pub(super) fn create(dest: &Path) -> Result<Store> {
        let dir = dest.join(DIRECTORY);
        let deadline = Instant::now() + PATIENCE;
        loop {
            failed("create", &dir, fs::create_dir_all(&dir))?;
            if let Some(store) = Store::lock(dest, &dir, deadline)? {
                return Ok(store);
            }
        }
    }

    /// Opens and locks an existing store.
    ///
    /// # Errors
    /// When there is none, and as [`Store::create`].
    pub(super) fn open(dest: &Path) -> Result<Store> {
        let dir = dest.join(DIRECTORY);
        let store = Store::lock(dest, &dir, Instant::now() + PATIENCE)?;
        store.with_context(|| {
            format!(
                "nothing was installed by this program in {}",
                dest.display()
            )
        })
    }

    /// Locks the directory. `None` if it does not exist, or was removed by the holder of
    /// the lock.
    fn lock(dest: &Path, dir: &Path, deadline: Instant) -> Result<Option<Store>> {
        let lock = match File::open(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => failed("open", dir, opened)?,
        };
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => bail!(
                    "another installer works in {} for more than {PATIENCE:?}; find it with \"fuser {}\"",
                    dest.display(),
                    dir.display()
                ),
                Err(TryLockError::Error(e)) => return failed("lock", dir, Err(e)),
            }
        }
        let opened = failed("look at", dir, lock.metadata())?;
        let is_there = dir
            .metadata()
            .is_ok_and(|now| (now.dev(), now.ino()) == (opened.dev(), opened.ino()));
        Ok(is_there.then(|| Store {
            dest: dest.to_path_buf(),
            dir: dir.to_path_buf(),
            lock,
            hashes: RefCell::default(),
        }))
    }

    /// Returns the path of an installed file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dest.join(name)
    }

    /// Reads the manifest; an empty one if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn manifest(&self) -> Result<Manifest> {
        let path = self.dir.join(MANIFEST);
        let text = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Manifest::default()),
            read => failed("read", &path, read)?,
        };
        let damaged = || {
            format!(
                "{} cannot be decoded; remove {}, which makes all files foreign",
                path.display(),
                self.dir.display()
            )
        };
        let manifest: Manifest = serde_json::from_slice(&text).with_context(damaged)?;
        match manifest.is_known() {
            true => Ok(manifest),
            false => bail!("{} is from a newer version of this program", path.display()),
        }
    }

    /// Replaces the manifest.
    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let text = serde_json::to_vec_pretty(manifest)?;
        self.write(MANIFEST, text.as_slice(), 0o644, None)
    }

    /// Returns the hash of a file's content.
    pub(super) fn hash(&self, path: &Path) -> Result<String> {
        let mut file = failed("open", path, File::open(path))?;
        let metadata = failed("look at", path, file.metadata())?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(hash) = self.hashes.borrow().get(&identity) {
            return Ok(hash.clone());
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match failed("read", path, file.read(&mut buffer))? {
                0 => break,
                length => hasher.update(&buffer[..length]),
            }
        }
        let hash: String = hasher
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        self.hashes.borrow_mut().insert(identity, hash.clone());
        Ok(hash)
    }

    /// Returns whether a content can be installed.
    pub(super) fn has(&self, content: &str) -> bool {
        let path = self.dir.join(content);
        self.hash(&path).is_ok_and(|hash| hash == content)
    }

    /// Copies an executable into the store, with this SELinux label.
    pub(super) fn add(&self, source: &Path, content: &str, label: Option<&[u8]>) -> Result<()> {
        if self.has(content) {
            return Ok(());
        }
        let file = failed("open", source, File::open(source))?;
        self.write(content, file, 0o755, label)
    }

    /// Keeps a file that is about to be replaced: the file itself, by a link.
    pub(super) fn keep(&self, name: &str, content: &str) -> Result<()> {
        if self.has(content) {
            return Ok(());
        }
        let path = self.path(name);
        let file = failed("open", &path, File::open(&path))?;
        failed("sync", &path, file.sync_all())?;
        match fs::hard_link(&path, self.dir.join(content)) {
            Ok(()) => self.sync(&self.dir),
            Err(e) if !lacks_links(&e) => failed("keep", &path, Err(e)),
            Err(_) => {
                let mode = failed("look at", &path, file.metadata())?.mode() & 0o7777;
                self.write(content, &file, mode, sys::label(&file).as_deref())
            }
        }
    }

    /// Installs a content under a name. The name exists at all times if it did before.
    pub(super) fn install(&self, name: &str, content: &str) -> Result<()> {
        let (source, scratch, path) = (
            self.dir.join(content),
            self.dir.join(SCRATCH),
            self.path(name),
        );
        remove(&scratch)?;
        match fs::hard_link(&source, &scratch) {
            Ok(()) => {}
            Err(e) if !lacks_links(&e) => return failed("install", &path, Err(e)),
            Err(_) => {
                let file = failed("open", &source, File::open(&source))?;
                let mode = failed("look at", &source, file.metadata())?.mode() & 0o7777;
                self.write_scratch(&file, mode, sys::label(&file).as_deref())?;
            }
        }
        failed("replace", &path, fs::rename(&scratch, &path))?;
        // Renaming one link of a file to another does nothing and succeeds.
        remove(&scratch)
    }

    /// Removes an installed file.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        remove(&self.path(name))
    }

    /// Makes the changes of names in the plugins' directory permanent.
    pub(super) fn sync_names(&self) -> Result<()> {
        self.sync(&self.dest)
    }

    /// Removes the contents that the manifest does not mention.
    pub(super) fn collect(&self, manifest: &Manifest) -> Result<()> {
        let kept = manifest.contents();
        for entry in failed("read", &self.dir, fs::read_dir(&self.dir))? {
            let name = failed("read", &self.dir, entry)?.file_name();
            let name = name.to_string_lossy();
            if name != MANIFEST && !kept.contains(name.as_ref()) {
                remove(&self.dir.join(name.as_ref()))?;
            }
        }
        Ok(())
    }

    /// Removes the store.
    pub(super) fn destroy(self) -> Result<()> {
        failed("remove", &self.dir, fs::remove_dir_all(&self.dir))?;
        self.sync(&self.dest)?;
        drop(self.lock);
        Ok(())
    }

    fn write(&self, name: &str, content: impl Read, mode: u32, label: Option<&[u8]>) -> Result<()> {
        let path = self.dir.join(name);
        self.write_scratch(content, mode, label)?;
        failed("replace", &path, fs::rename(self.dir.join(SCRATCH), &path))?;
        self.sync(&self.dir)
    }

    fn write_scratch(&self, mut content: impl Read, mode: u32, label: Option<&[u8]>) -> Result<()> {
        let path = self.dir.join(SCRATCH);
        remove(&path)?;
        let mut options = OpenOptions::new();
        let mut file = failed(
            "create",
            &path,
            options.write(true).create_new(true).mode(mode).open(&path),
        )?;
        let written = io::copy(&mut content, &mut file)
            .and_then(|_| file.flush())
            .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
            .and_then(|()| label.map_or(Ok(()), |label| sys::set_label(&file, label)))
            .and_then(|()| file.sync_all());
        if written.is_err() {
            // Its space may be what is lacking. The first error is reported.
            let _ = fs::remove_file(&path);
        }
        failed("write", &path, written)
    }

    fn sync(&self, dir: &Path) -> Result<()> {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        failed("sync", dir, synced)
    }
}

/// Returns whether a file system has no hard links, or no more for this file.
fn lacks_links(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EPERM | Errno::ENOTSUP | Errno::ENOSYS | Errno::EMLINK | Errno::EXDEV)
    )
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => failed("remove", path, removed),
    }
}
