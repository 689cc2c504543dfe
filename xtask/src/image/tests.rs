//! The image without a container engine, and in one.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Host, Node, Plugin, Podman, bin_dir};

use super::layout::Layout;
use super::manifests::{MANIFESTS, PLACEHOLDER};
use crate::build::Platform;
use crate::commands;
use crate::dist::archive;

const REFERENCE: &str = "localhost/cni-plugins:test";

/// Writes a layout for these platforms, with the same executable in each.
fn layout(dir: &Path, platforms: &[&str], executable: &Path) {
    let layout = Layout::create(dir).expect("create a layout");
    for name in platforms {
        let platform = Platform::named(name).expect("a platform");
        layout.add(platform, executable).expect("add an image");
    }
    layout.finish(REFERENCE).expect("write the index");
}

/// Reads the blob of a descriptor, and checks its size and hash.
fn blob(dir: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().expect("a digest");
    let hash = digest.strip_prefix("sha256:").expect("SHA-256");
    let path = dir.join("blobs/sha256").join(hash);
    let bytes = fs::read(&path).expect("a blob");
    assert_eq!(descriptor["size"], json!(bytes.len()));
    let sum = commands::read(Command::new("sha256sum").arg(&path)).expect("run sha256sum");
    assert!(sum.starts_with(hash), "{sum}");
    bytes
}

fn document(dir: &Path, descriptor: &Value) -> Value {
    serde_json::from_slice(&blob(dir, descriptor)).expect("JSON")
}

fn index(dir: &Path) -> Value {
    let text = fs::read(dir.join("index.json")).expect("an index");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn the_layout_is_complete_and_reproducible() {
    let host = Host::new();
    let dirs = ["one", "two"].map(|name| host.dir().join(name));
    let platforms = ["amd64", "arm", "armv6", "arm64"];
    for dir in &dirs {
        let executable = host.write("executable", "any bytes");
        layout(dir, &platforms, &executable);
    }
    assert_eq!(index(&dirs[0]), index(&dirs[1]));

    let dir = &dirs[0];
    let top = index(dir);
    assert_eq!(
        top["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
        REFERENCE
    );
    let images = document(dir, &top["manifests"][0]);
    let images = images["manifests"].as_array().expect("a list");
    let kinds: Vec<Value> = images
        .iter()
        .map(|image| image["platform"].clone())
        .collect();
    assert_eq!(
        kinds,
        [
            json!({"os": "linux", "architecture": "amd64"}),
            json!({"os": "linux", "architecture": "arm", "variant": "v7"}),
            json!({"os": "linux", "architecture": "arm", "variant": "v6"}),
            json!({"os": "linux", "architecture": "arm64", "variant": "v8"}),
        ]
    );
    for image in images {
        let manifest = document(dir, image);
        let config = document(dir, &manifest["config"]);
        assert_eq!(
            config["config"]["Entrypoint"],
            json!(["/usr/bin/cni-plugins"])
        );
        let layer = host.dir().join("layer.tar.gz");
        fs::write(&layer, blob(dir, &manifest["layers"][0])).expect("write the layer");
        commands::run(Command::new("gzip").args(["-d", "-f"]).arg(&layer)).expect("unpack");
        let tar = layer.with_extension("");
        let sum = commands::read(Command::new("sha256sum").arg(&tar)).expect("run sha256sum");
        let content = config["rootfs"]["diff_ids"][0].as_str().expect("a digest");
        assert_eq!(content.split(':').nth(1), sum.split(' ').next());
        let list = commands::read(Command::new("tar").arg("-tf").arg(&tar)).expect("list");
        for file in [
            "./usr/bin/cni-plugins",
            "./opt/cni/bin/bridge",
            "./host/opt/cni/bin/",
        ] {
            assert!(
                list.lines().any(|line| line == file),
                "no {file} in\n{list}"
            );
        }
    }
}

/// A new user's path: load the image of this platform out of an index, let it install the plugins, run a container in a network of these plugins.
#[test]
fn podman_runs_the_installer_and_a_container_with_the_plugins() {
    let podman = Podman::new();
    let dir = podman.path("layout");
    let executable = podman.path("executable");
    let mut strip = Command::new("strip");
    let source = bin_dir().join("cni-plugins");
    commands::run(strip.arg("-o").arg(&executable).arg(source)).expect("strip the executable");
    layout(
        &dir,
        &["s390x", Platform::host().expect("a platform").name],
        &executable,
    );
    let file = podman.path("image.tar");
    archive::tar(&dir, &file).expect("pack the layout");
    let bin = podman.path("bin");
    fs::create_dir(&bin).expect("make a directory");
    podman.run(&["load", "--input", file.to_str().expect("UTF-8")]);

    fs::write(bin.join("ptp"), "foreign").expect("write a file");
    let volume = format!("{}:/host/opt/cni/bin", bin.display());
    // The executable under test is not static, unlike that of a release.
    let libraries: Vec<String> = ["/lib", "/lib64"]
        .iter()
        .filter(|dir| Path::new(dir).exists())
        .map(|dir| format!("--volume={dir}:{dir}:ro"))
        .collect();
    let libraries: Vec<&str> = libraries.iter().map(String::as_str).collect();
    let install = |switches: &[&str]| {
        let run = ["run", "--rm", "--network", "none", "--volume", &volume];
        podman.run(&[&run, libraries.as_slice(), switches, &[REFERENCE]].concat())
    };
    let said = install(&["--env", "SKIP_CNI_BINARIES=vrf,sbr"]);
    assert!(said.contains("vrf: skipped"), "{said}");
    assert!(said.contains("ptp: left alone"), "{said}");
    let said = install(&["--env", "UPDATE_CNI_BINARIES=true"]);
    assert!(said.contains("ptp: replaced a foreign file"), "{said}");
    assert!(said.contains("bridge: up to date"), "{said}");
    Plugin::in_dir(&bin, "ptp").version().expect_ok();

    podman.run(&["network", "create", "--subnet", "10.77.0.0/24", "ours"]);
    let run = [
        "run",
        "--detach",
        "--name",
        "c1",
        "--network",
        "ours",
        "--publish",
        "7777:7777",
    ];
    let stay = [REFERENCE, "install", "--dest", "/tmp", "--stay"];
    podman.run(&[&run, libraries.as_slice(), &stay].concat());
    let format = "{{.NetworkSettings.Networks.ours.IPAddress}}";
    let address = podman.run(&["inspect", "--format", format, "c1"]);
    assert_eq!(address, "10.77.0.2");
    podman.host.ping(&address);
    // The installer ends by the signal, and not by being killed after a minute.
    podman.run(&["stop", "--time", "60", "c1"]);
    let status = podman.run(&["inspect", "--format", "{{.State.ExitCode}}", "c1"]);
    assert_eq!(status, "0");
    podman.run(&["rm", "c1"]);
    assert!(testkit::leases("ours").is_empty());
}

/// The manifests are YAML, and name the image, the directory, and the switches that the installer understands.
#[test]
fn the_manifests_are_valid() {
    let host = Host::new();
    for (name, template) in MANIFESTS {
        assert_eq!(template.matches(PLACEHOLDER).count(), 1, "{name}");
        let path = host.write(name, template.replace(PLACEHOLDER, REFERENCE));
        let script =
            "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
        let mut python = Command::new("/usr/bin/python3");
        let text = commands::read(python.args(["-c", script]).arg(path)).expect("valid YAML");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(manifest["apiVersion"], "apps/v1");
        assert_eq!(manifest["kind"], "DaemonSet");
        let (labels, spec) = (
            &manifest["spec"]["selector"]["matchLabels"],
            &manifest["spec"]["template"],
        );
        assert_eq!(*labels, spec["metadata"]["labels"]);
        let container = &spec["spec"]["containers"][0];
        assert_eq!(container["image"], REFERENCE);
        // Every mount has its volume, and the other way round.
        let names = |list: &Value| -> Vec<Value> {
            let list = list.as_array().expect("a list");
            list.iter().map(|item| item["name"].clone()).collect()
        };
        assert_eq!(
            names(&container["volumeMounts"]),
            names(&spec["spec"]["volumes"])
        );
        let args = container["args"].as_array().expect("arguments");
        match args[0].as_str() {
            Some("install") => {
                assert_eq!(args[2], container["volumeMounts"][0]["mountPath"]);
                assert_eq!(
                    names(&container["env"]),
                    ["SKIP_CNI_BINARIES", "UPDATE_CNI_BINARIES"]
                );
            }
            plugin => assert_eq!(plugin, Some("dhcp")),
        }
    }
}
