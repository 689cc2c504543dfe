//! Podman of an unprivileged user, whose networks are in a namespace behind slirp4netns.

use blackbox::state;
use testkit::runtime::IMAGE;
use testkit::{Podman, bin_dir};

use crate::{ask, wait_until};

/// Prepares the mounts, in `$1` the directory of plugins, `$2` a containers.conf. Podman mounts a `/run` of its own over
/// ours in the namespace of its networks, hence a home elsewhere.
const PREPARE: &str = r#"
set -e
mount -t tmpfs -o mode=755 home /srv
mkdir -p /srv/bin /srv/dev /srv/home/.config/containers /run/user/65534
mount --bind "$1" /srv/bin
mknod -m 666 /srv/dev/tun c 10 200
mount --bind /srv/dev /dev/net
echo nobody:200000:65536 >/srv/subid
mount --bind /srv/subid /etc/subuid
mount --bind /srv/subid /etc/subgid
cp "$2" /srv/containers.conf
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/srv/home/.config/containers/policy.json
chown -R nobody:nogroup /srv/home /run/user/65534
chmod 700 /run/user/65534
"#;

/// The user's command.
const USER: &str = "setpriv --reuid=nobody --regid=nogroup --clear-groups \
    env -i --chdir=/srv/home HOME=/srv/home XDG_RUNTIME_DIR=/run/user/65534 \
    PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CONTAINERS_CONF=/srv/containers.conf \
    podman --storage-driver vfs";

const SETTINGS: &str = r#"
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/srv/bin"]
"#;

#[test]
fn containers_of_an_unprivileged_user() {
    let podman = Podman::new();
    let (host, runtime) = (&podman.host, &podman.runtime);
    let settings = host.write("rootless.conf", SETTINGS);
    let script = host.write("prepare", PREPARE);
    let (script, plugins) = (script.display(), bin_dir());
    runtime.run(&format!(
        "sh {script} {} {}",
        plugins.display(),
        settings.display()
    ));
    let user = |command: &str| runtime.run(&format!("{USER} {command}"));
    let start = |name: &str, options: &str| {
        let fixed = format!("run --detach --name {name} --hostname {name} --network=n");
        user(&format!("{fixed} {options} {IMAGE} /bin/serve"))
    };
    let before = state::of(host).without("/run/user/").without("/run/crun/");

    user(&format!(
        "import --quiet {} {IMAGE}",
        runtime.layer().display()
    ));
    user("network create --ipv6 --subnet=10.81.0.0/24 --subnet=fd00:81::/64 n");
    start("c1", "--publish=8080:80");
    start("c2", "");
    // rootlessport's doing.
    assert_eq!(ask(host, "127.0.0.1:8080").server, "c1");
    let reached = |to: &str| user(&format!("exec c2 /bin/ask {to}"));
    for (to, from) in [("10.81.0.2", "10.81.0.3"), ("fd00:81::2", "fd00:81::3")] {
        wait_until("c2 reaches c1", || reached(to).contains("c1 "));
        assert!(reached(to).contains(from), "{}", reached(to));
    }
    let inside = |command: &str| user(&format!("unshare --rootless-netns {command}"));
    assert!(inside("ls /var/lib/cni/networks/n").contains("10.81.0.2"));
    assert!(inside("nft list ruleset").contains("dnat to 10.81.0.2:80"));

    inside("nft flush ruleset");
    user("network reload --all");
    assert!(inside("nft list ruleset").contains("dnat to 10.81.0.2:80"));
    wait_until("c2 reaches c1", || reached("10.81.0.2").contains("c1 "));

    user("rm --force --time 0 c1");
    for command in ["nft list ruleset", "ls /var/lib/cni/networks/n"] {
        let text = inside(command);
        assert!(
            !text.contains("10.81.0.2\n") && !text.contains("10.81.0.2 "),
            "{text}"
        );
        assert!(text.contains("10.81.0.3"), "{text}");
    }
    user("rm --force --all --time 0");
    user("network rm n");
    let after = state::of(host).without("/run/user/").without("/run/crun/");
    before.assert_same(&after);
}
