//! Upstream's CNI library, for the tests and benchmarks of ours.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::Value;

/// Where Debian's package golang-github-appc-cni-dev has the library.
const GO_PATH: &str = "/usr/share/gocode";

/// A program that calls upstream's CNI library (Debian's golang-github-appc-cni-dev, 1.1.2).
#[derive(Clone, Debug)]
pub struct UpstreamLibrary {
    program: PathBuf,
}

impl UpstreamLibrary {
    /// Returns the program, after building it if that has not been done.
    ///
    /// # Panics
    ///
    /// When it cannot be built: an interop test must not be skipped.
    #[track_caller]
    pub fn build() -> UpstreamLibrary {
        let exe = env::current_exe().expect("path of the running program");
        let dir = exe.parent().expect("a program is in a directory");
        let program = dir.join("upstream-libcni");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/upstream/main.go");
        let lock = File::create(dir.join("upstream-libcni.lock")).expect("lock file");
        lock.lock().expect("lock of the build");
        if modified(&program) < modified(&source) || modified(&program).is_none() {
            let output = Command::new("go")
                .args(["build", "-o"])
                .args([&program, &source])
                .env("GOCACHE", dir.join("go-cache"))
                .env("GO111MODULE", "off")
                .env("GOPATH", GO_PATH)
                .output();
            match output {
                Ok(output) if output.status.success() => {}
                failed => panic!(
                    "cannot build a program with upstream's library: {failed:?}\nthe test needs Debian's packages \
                     golang-go and golang-github-appc-cni-dev (apt-get install --no-install-recommends …)"
                ),
            }
        }
        UpstreamLibrary { program }
    }

    /// Returns the answer to a request; see `main.go` for the members of both.
    ///
    /// # Panics
    ///
    /// When the program fails. An error of the library is a member of the answer.
    #[track_caller]
    pub fn ask(&self, request: &Value) -> Value {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the program with upstream's library");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        stdin
            .write_all(request.to_string().as_bytes())
            .expect("write the request");
        drop(stdin);
        let output = child.wait_with_output().expect("wait for the answer");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|err| panic!("no answer: {err}, {:?}", output.status))
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
