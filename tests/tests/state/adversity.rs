//! Records that cannot be written, damaged records, and foreign files: each a clear error in time or none, nothing left
//! behind, and no further problem when the cause is gone.

use crate::chains::full;
use crate::files_below;
use blackbox::chain::Chain;
use blackbox::{answer, state};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testkit::{Container, Host, Run, Snapshot};

const BACKENDS: [&str; 2] = ["iptables", "nftables"];

/// Files that no plugin has written.
const FOREIGN: [&str; 3] = ["README", ".hidden", "network:container:eth0"];

/// A chain of all plugins, an attachment to it, and the state of the host before.
struct Attachment {
    host: Host,
    container: Container,
    chain: Chain,
    before: Snapshot,
    result: Value,
}

impl Attachment {
    /// Prepares the host; nothing is attached.
    fn prepare(backend: &str) -> Attachment {
        let host = Host::new();
        let container = host.container("c1");
        let chain = Chain::new(full(backend));
        // Bridge, tables and directories outlive attachments.
        chain.add(&container);
        chain.del(&container);
        let before = state::of(&host);
        Attachment {
            host,
            container,
            chain,
            before,
            result: Value::Null,
        }
    }

    fn add(backend: &str) -> Attachment {
        let mut attachment = Attachment::prepare(backend);
        attachment.result = attachment.chain.add(&attachment.container);
        attachment
    }

    /// Runs a verb of every plugin, and returns the errors.
    fn attempt(&self, verb: &str) -> Vec<String> {
        let calls = self.chain.calls(verb, self.container.netns(), &self.result);
        let runs = calls.into_iter().map(|call| call.run());
        runs.filter_map(|run| error(&run)).collect()
    }

    /// Runs ADD of the plugins up to the first that fails, then DEL of all, as a runtime does. Returns the first error
    /// and those of DEL.
    fn attempt_add(&self) -> Vec<String> {
        let mut result = Value::Null;
        for position in 0..self.chain.plugins.len() {
            let mut calls = self.chain.calls("ADD", self.container.netns(), &result);
            let run = calls.remove(position).run();
            if let Some(error) = error(&run) {
                return [vec![error], self.attempt("DEL")].concat();
            }
            result = run.json();
        }
        self.attempt("DEL")
    }

    /// Demands that nothing is left, and that everything works again.
    #[track_caller]
    fn assert_recovered(self) {
        assert_eq!(self.attempt("DEL"), [""; 0]);
        state::assert_back(&self.before, &self.host);
        self.chain.add(&self.container);
        self.chain.check(&self.container);
        self.chain.del(&self.container);
        state::assert_back(&self.before, &self.host);
    }
}

/// Returns the text of the error of a plugin, which must come in time.
#[track_caller]
fn error(run: &Run) -> Option<String> {
    assert!(run.elapsed < Duration::from_secs(30), "{}", run.report());
    (!run.is_ok()).then(|| {
        let error = answer::failure(run.clone());
        format!("{}; {}", error.msg, error.details)
    })
}

/// Puts something of this kind at `path`, in place of what is there.
fn plant(path: &Path, kind: &str) {
    let old = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    match kind {
        "empty" => fs::write(path, ""),
        "zeros" => fs::write(path, vec![0; old.len()]),
        "half" => fs::write(path, &old[..old.len() / 2]),
        "garbage" => fs::write(path, b"\xff\xfe{\"version\":1,\"data\":[[[["),
        "another version" => {
            let text = String::from_utf8(old).unwrap();
            fs::write(path, text.replace("\"version\":1", "\"version\":99"))
        }
        "another record" => {
            let text = String::from_utf8(old).unwrap();
            fs::write(path, text.replace("\"c1\"", "\"other\""))
        }
        "huge" => fs::write(path, vec![b' '; 9 << 20]),
        "link" => symlink("/etc/hostname", path),
        "pipe" => Command::new("mkfifo").arg(path).status().map(drop),
        _ => fs::create_dir(path),
    }
    .unwrap();
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

#[test]
fn damaged_records_leave_nothing_behind() {
    let kinds = [
        "empty",
        "zeros",
        "half",
        "garbage",
        "another version",
        "another record",
        "huge",
        "link",
        "pipe",
        "directory",
    ];
    for backend in BACKENDS {
        for kind in kinds {
            let attachment = Attachment::add(backend);
            let records: Vec<PathBuf> = files_below(Path::new("/run/cni"));
            assert!(records.len() >= 3, "{records:?}");
            for record in &records {
                plant(record, kind);
            }
            attachment.attempt("CHECK");
            let errors = attachment.attempt("DEL");
            // Only what is no file cannot be removed.
            assert!(
                errors.is_empty() || kind == "directory",
                "{kind}: {errors:#?}"
            );
            for error in errors {
                assert!(error.contains("/run/cni/"), "{error}");
            }
            remove(Path::new("/run/cni"));
            attachment.assert_recovered();
        }
    }
}

#[test]
fn without_room_for_records_nothing_is_left() {
    for backend in BACKENDS {
        for options in ["nr_inodes=1", "size=4k,nr_inodes=100"] {
            let attachment = Attachment::prepare(backend);
            attachment.host.mount_tmpfs("/run/cni", options);
            if options.starts_with("size") {
                fs::write("/run/cni/filler", vec![0; 1 << 20]).unwrap_err();
            }
            for error in attachment.attempt_add() {
                assert!(error.contains("/run/cni/"), "{error}");
                assert!(error.contains("no space left on device"), "{error}");
            }
            attachment.host.unmount("/run/cni");
            remove(Path::new("/run/cni"));
            attachment.assert_recovered();
        }
    }
}

#[test]
fn a_full_file_system_does_not_prevent_a_deletion() {
    for backend in BACKENDS {
        let mut attachment = Attachment::prepare(backend);
        attachment.host.mount_tmpfs("/run/cni", "size=256k");
        attachment.result = attachment.chain.add(&attachment.container);
        fs::write("/run/cni/filler", vec![0; 1 << 20]).unwrap_err();
        assert_eq!(attachment.attempt("DEL"), [""; 0]);
        assert_eq!(
            files_below(Path::new("/run/cni")),
            [Path::new("/run/cni/filler")]
        );
        attachment.host.unmount("/run/cni");
        remove(Path::new("/run/cni"));
        attachment.assert_recovered();
    }
}

#[test]
fn read_only_records_are_a_clear_error() {
    for backend in BACKENDS {
        let attachment = Attachment::prepare(backend);
        fs::create_dir_all("/run/cni").unwrap();
        attachment.host.make_read_only("/run/cni");
        for error in attachment.attempt_add() {
            assert!(error.contains("/run/cni"), "{error}");
            assert!(error.contains("read-only file system"), "{error}");
        }
        attachment.host.unmount("/run/cni");
        remove(Path::new("/run/cni"));
        attachment.assert_recovered();
        // Read-only only when the container goes.
        let attachment = Attachment::add(backend);
        attachment.host.make_read_only("/run/cni");
        let errors = attachment.attempt("DEL");
        assert!(!errors.is_empty());
        for error in errors {
            assert!(error.contains("/run/cni/"), "{error}");
            assert!(error.contains("read-only file system"), "{error}");
        }
        attachment.host.unmount("/run/cni");
        attachment.assert_recovered();
    }
}

#[test]
fn foreign_files_are_left_alone() {
    for backend in BACKENDS {
        let attachment = Attachment::add(backend);
        let mut directories = vec![PathBuf::from("/run/cni")];
        for record in files_below(Path::new("/run/cni")) {
            let directory = record.parent().unwrap().to_owned();
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        for directory in &directories {
            for name in FOREIGN {
                fs::write(directory.join(name), "foreign").unwrap();
            }
            fs::create_dir(directory.join("sub")).unwrap();
        }
        attachment.chain.check(&attachment.container);
        attachment.chain.gc(true);
        attachment.chain.check(&attachment.container);
        attachment.chain.del(&attachment.container);
        attachment.chain.gc(false);
        for directory in &directories {
            for name in FOREIGN {
                let text = fs::read_to_string(directory.join(name));
                assert_eq!(text.unwrap(), "foreign", "{}", directory.display());
            }
        }
        assert_eq!(
            files_below(Path::new("/run/cni")).len(),
            FOREIGN.len() * directories.len()
        );
        remove(Path::new("/run/cni"));
        attachment.assert_recovered();
    }
}

/// Another process never finishes changing the rules of an address.
#[test]
fn a_lock_that_is_never_released() {
    let attachment = Attachment::prepare("iptables");
    let calls = |result: &Value| {
        let netns = attachment.container.netns();
        attachment.chain.calls("ADD", netns, result)
    };
    let bridge = calls(&Value::Null).remove(0);
    let result = bridge.run().expect_ok().json();
    fs::create_dir_all("/run/cni/locks").unwrap();
    let path = "/run/cni/locks/firewall-10.60.0.2";
    let lock = fs::File::create(path).unwrap();
    lock.lock().unwrap();
    let firewall = calls(&result).remove(3);
    let run = firewall.deadline(Duration::from_secs(180)).run();
    let error = answer::failure(run.clone());
    let text = format!("{}; {}", error.msg, error.details);
    assert!(text.contains(path), "{text}");
    // Its limit.
    assert!(run.elapsed >= Duration::from_secs(90), "{}", run.report());
    drop(lock);
    // A lock's file goes with its holder.
    fs::remove_file(path).unwrap();
    let _ = fs::remove_dir("/run/cni/locks");
    attachment.assert_recovered();
}
