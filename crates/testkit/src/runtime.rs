//! Container runtimes of the distribution, each in a private host: containerd with its CRI, Docker, and the namespaces of
//! [`Podman`](crate::Podman).
//!
//! Besides the host's namespaces a runtime has a PID namespace, so that all its containers end with it, and a control
//! group of its own, which is removed at the end. `/run` is shared with the calling thread's mount namespace: sockets,
//! and the network namespaces that the runtime mounts there, are visible to the test.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use crate::{Host, Node as _, Service, bin_dir, patience};

/// Where control groups are mounted in the private host.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The name of the only image, a busybox that sleeps. Its program `/bin/serve` with some ports (80 without any) is an HTTP
/// server, whose answer to `/cgi-bin/who` is the host name and the address of the client; it ends with SIGTERM. `/bin/ask`
/// with an address prints that answer.
pub const IMAGE: &str = "localhost/bb:1";

/// The client of [`Runtime::docker`], for [`Runtime::run`].
pub const DOCKER: &str = "/usr/bin/docker --host unix:///run/docker.sock";

/// The root file system of the image, in `$1`, and the image in Docker's format.
const MAKE_IMAGE: &str = r#"
set -e
cd "$1"
mkdir -p root/bin root/www/cgi-bin
cp "$(command -v busybox)" root/bin/busybox
for applet in sh sleep httpd; do ln -s busybox root/bin/$applet; done
cat >root/bin/serve <<'END'
#!/bin/sh
trap 'exit 0' TERM
for port in "${@:-80}"; do httpd -p "$port" -h /www; done
sleep 86400 &
wait
END
cat >root/www/cgi-bin/who <<'END'
#!/bin/sh
read -r name </proc/sys/kernel/hostname
printf 'Content-Type: text/plain\r\n\r\n%s %s\n' "$name" "$REMOTE_ADDR"
END
cat >root/bin/ask <<'END'
#!/bin/sh
printf 'GET /cgi-bin/who HTTP/1.0\r\n\r\n' | busybox nc -w 5 "$1" 80
END
chmod 755 root/bin/* root/www/cgi-bin/who
tar --sort=name -C root -cf layer.tar .
sum=$(sha256sum layer.tar | cut -d' ' -f1)
echo '{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/busybox","sleep","3600"]},
  "rootfs":{"type":"layers","diff_ids":["sha256:'"$sum"'"]}}' >config.json
echo '[{"Config":"config.json","RepoTags":["localhost/bb:1"],"Layers":["layer.tar"]}]' >manifest.json
tar -cf image.tar manifest.json config.json layer.tar
"#;

/// Joins the control group `$1`, then runs the rest in new namespaces.
const ENTER: &str = r#"
echo $$ >"$1/cgroup.procs"
shift
exec unshare --cgroup --pid --fork --kill-child --mount --propagation unchanged -- "$@"
"#;

/// The first process of the PID namespace: writes its number outside, mounts what belongs to the namespaces, and keeps
/// the daemon running, in the directory `$1`.
const INIT: &str = r#"
set -e
cd "$1"
shift
read -r pid rest </proc/self/stat
echo "$pid" >init.new
mount -t proc proc /proc
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/init
echo 0 >/sys/fs/cgroup/init/cgroup.procs
mv init.new init
# This shell reaps orphans, as init does on a host.
export CNI_DEFER=always
while :; do
  "$@" >>log 2>&1 &
  echo $! >daemon
  wait $! || true
done
"#;

/// A running runtime. It ends, with all its containers, when this value is dropped.
pub struct Runtime {
    service: Option<Service>,
    /// Process 1 of its PID namespace, as seen from outside.
    init: String,
    dir: PathBuf,
    socket: PathBuf,
    /// What it logs when it is ready.
    ready: &'static str,
    group: PathBuf,
    /// The directory of that control group, which remains open when the host's mounts are gone.
    groups: File,
}

impl Runtime {
    /// Starts containerd, whose CRI uses the first list in `net.d` of [`Host::dir`], and the plugins under test or those
    /// of [`use_plugins`].
    ///
    /// # Panics
    ///
    /// When it is not ready in time, with its log.
    #[track_caller]
    pub fn containerd(host: &Host) -> Runtime {
        let runtime = Runtime::prepare(
            host,
            "containerd",
            "/run/containerd/containerd.sock",
            "Start streaming server",
        );
        let networks = host.dir().join("net.d");
        fs::create_dir_all(&networks).expect("create net.d");
        let plugins = host.dir().join("bin");
        if !plugins.exists() {
            use_plugins(host, &bin_dir());
        }
        let config = containerd_config(&runtime.dir, &networks, &plugins);
        fs::write(runtime.dir.join("config.toml"), config).expect("write a configuration");
        let runtime = runtime.start(&["containerd", "--config", "config.toml"]);
        runtime.wait_for(runtime.ready, 1);
        let image = runtime.dir.join("image.tar").display().to_string();
        runtime.run(&format!(
            "ctr -n k8s.io images import --snapshotter native {image}"
        ));
        // The CRI learns of the image by an event.
        runtime.wait_for("ImageUpdate event", 1);
        runtime
    }

    /// Starts Docker without networks of its own: containers are to have `--network none`. The image is [`IMAGE`].
    ///
    /// # Panics
    ///
    /// When it is not ready in time, with its log.
    #[track_caller]
    pub fn docker(host: &Host) -> Runtime {
        let runtime = Runtime::prepare(host, "docker", "/run/docker.sock", "API listen on");
        let dir = runtime.dir.display();
        let flags = format!(
            "dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs --data-root={dir}/data \
             --exec-root={dir}/exec --pidfile={dir}/pid --host=unix:///run/docker.sock"
        );
        let runtime = runtime.start(&flags.split_whitespace().collect::<Vec<_>>());
        runtime.wait_for(runtime.ready, 1);
        let layer = runtime.layer().display().to_string();
        // There may be a newer client in /usr/local, which does not speak to the distribution's daemon.
        runtime.run(&format!("{DOCKER} import {layer} {IMAGE}"));
        runtime
    }

    /// Starts the namespaces and the control group in which Podman, which has no daemon, and its containers run.
    #[track_caller]
    pub(crate) fn podman(host: &Host) -> Runtime {
        Runtime::prepare(host, "podman", "", "").start(&["sleep", "infinity"])
    }

    /// The only layer of the image, a tar file.
    pub fn layer(&self) -> PathBuf {
        self.dir.join("layer.tar")
    }

    /// Creates the image, a control group, and an empty directory for the runtime.
    fn prepare(host: &Host, name: &str, socket: &str, ready: &'static str) -> Runtime {
        // Not that of an earlier runtime, whose mounts remain visible here.
        let mut dirs = (1..).map(|number| host.dir().join(format!("{name}{number}")));
        let dir = dirs.find(|dir| fs::create_dir(dir).is_ok());
        let dir = dir.expect("there is no last number");
        host.command(&["sh", "-c", MAKE_IMAGE, "sh", &dir.display().to_string()]);
        share_run().expect("make /run a shared mount");
        let group = control_group(name).expect("a control group of the test (cgroup2)");
        Runtime {
            groups: File::open(group.parent().unwrap_or(Path::new("/"))).expect("its directory"),
            service: None,
            init: String::new(),
            group,
            dir,
            socket: socket.into(),
            ready,
        }
    }

    fn start(mut self, command: &[&str]) -> Runtime {
        let (group, dir) = (
            self.group.display().to_string(),
            self.dir.display().to_string(),
        );
        let mut words = vec![
            "sh", "-c", ENTER, "sh", &group, "sh", "-c", INIT, "sh", &dir,
        ];
        words.extend(command);
        self.service = Some(Service::start(&words));
        let init = self.dir.join("init");
        self.wait("namespaces", || init.exists());
        self.init = fs::read_to_string(init)
            .expect("written by init")
            .trim()
            .to_owned();
        self
    }

    /// The path of its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Runs a program with arguments, separated by blanks, in all of the runtime's namespaces. Returns its standard
    /// output.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        let words: Vec<&str> = self.entering().collect();
        crate::namespace::run(&format!("{} {command}", words.join(" ")))
    }

    /// The words in front of a program that is to run in the runtime's namespaces.
    pub(crate) fn entering(&self) -> impl Iterator<Item = &str> {
        [
            "/usr/bin/nsenter",
            "--pid",
            "--mount",
            "--cgroup",
            "--target",
            &self.init,
            "--",
        ]
        .into_iter()
    }

    /// Sends the daemon a signal that ends it, `TERM` or `KILL`, and waits until it runs again. The containers of
    /// containerd go on.
    ///
    /// # Panics
    ///
    /// When it is not ready in time, with its log.
    #[track_caller]
    pub fn restart(&self, signal: &str) {
        let before = self.log().matches(self.ready).count();
        let daemon = fs::read_to_string(self.dir.join("daemon")).expect("written by init");
        self.kill(signal, daemon.trim());
        self.wait_for(self.ready, before + 1);
    }

    /// Sends a signal to processes of the runtime's PID namespace, whose numbers are separated by blanks.
    ///
    /// # Panics
    ///
    /// When one of them does not exist.
    #[track_caller]
    pub fn kill(&self, signal: &str, processes: &str) {
        // Not the program of procps, which machines may lack.
        self.run(&format!("busybox kill -{signal} {processes}"));
    }

    /// Waits until the log contains `text` so many times, and the socket answers.
    #[track_caller]
    fn wait_for(&self, text: &str, times: usize) {
        let is_ready = || {
            self.log().matches(text).count() >= times && UnixStream::connect(&self.socket).is_ok()
        };
        self.wait(text, is_ready);
    }

    #[track_caller]
    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30) * patience();
        while !done() {
            assert!(
                Instant::now() < end,
                "{}: no {what}\n{}",
                self.dir.display(),
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Its child, process 1, is killed with it, and with that one all others.
        self.service = None;
        let name = self.group.file_name().unwrap_or_default();
        let group = Path::new("/proc/self/fd")
            .join(self.groups.as_raw_fd().to_string())
            .join(name);
        let end = Instant::now() + Duration::from_secs(10) * patience();
        while group.exists() && remove_group(&group).is_err() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_file(&self.socket);
    }
}

/// Makes the directory `plugins` that of a runtime's plugins, from one moment to the next: `bin` of [`Host::dir`] is a link
/// to it.
///
/// # Panics
///
/// When `bin` is something else than a link.
#[track_caller]
pub fn use_plugins(host: &Host, plugins: &Path) {
    let link = host.dir().join("bin.new");
    symlink(plugins, &link).expect("make a link");
    fs::rename(link, host.dir().join("bin")).expect("replace a link");
}

fn containerd_config(dir: &Path, networks: &Path, plugins: &Path) -> String {
    // Snapshotters that need a file system or a module are left out: they only log errors. Limits of resources need
    // controllers, which a hybrid hierarchy does not have.
    format!(
        r#"version = 2
root = "{dir}/data"
state = "{dir}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.overlayfs"]
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
disable_cgroup = true
disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"
"#,
        dir = dir.display(),
        plugins = plugins.display(),
        networks = networks.display(),
    )
}

/// Makes the private `/run` visible, with later mounts, in mount namespaces that are derived from this one.
fn share_run() -> io::Result<()> {
    let none = None::<&str>;
    mount(none, "/run", none, MsFlags::MS_SHARED, none).map_err(io::Error::from)
}

/// Mounts the unified hierarchy of control groups, and creates a group for a runtime.
fn control_group(name: &str) -> io::Result<PathBuf> {
    let (cgroup2, none) = (Some("cgroup2"), None::<&str>);
    if !Path::new(CGROUPS).join("cgroup.procs").exists() {
        mount(cgroup2, CGROUPS, cgroup2, MsFlags::empty(), none)?;
    }
    let groups = fs::read_to_string("/proc/thread-self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let parent = Path::new(CGROUPS).join(own.unwrap_or_default());
    let group = parent.join(format!("testkit-{name}-{}", nix::unistd::gettid()));
    fs::create_dir(&group)?;
    Ok(group)
}

/// Removes a control group and those in it, which must not have processes.
fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
