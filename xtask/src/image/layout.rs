//! An image in OCI's image layout.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::build::{self, Platform};
use crate::dist::archive;
use crate::{commands, project};

/// Where the executable is in the image.
const EXECUTABLE: &str = "usr/bin/cni-plugins";

/// A layout that is being written.
pub(super) struct Layout {
    dir: PathBuf,
    /// The descriptors of the images, one per platform.
    images: RefCell<Vec<Value>>,
}

impl Layout {
    pub(super) fn create(dir: &Path) -> Result<Layout> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| blobs.display().to_string())?;
        Ok(Layout {
            dir: dir.to_path_buf(),
            images: RefCell::default(),
        })
    }

    /// Adds the image of a platform.
    pub(super) fn add(&self, platform: &Platform, executable: &Path) -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let root = scratch.path().join("root");
        fill(&root, executable)?;
        let tar = root.with_extension("tar");
        archive::tar(&root, &tar)?;
        let content = digest(&tar)?;
        let mut gzip = Command::new("gzip");
        commands::run(gzip.args(["--no-name", "--best", "--force"]).arg(&tar))?;
        let layer = root.with_extension("tar.gz");
        let layer = self.blob(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &fs::read(&layer).with_context(|| layer.display().to_string())?,
        )?;

        let (architecture, variant) = match platform.name {
            "arm" => ("arm", Some("v7")),
            "armv6" => ("arm", Some("v6")),
            "arm64" => ("arm64", Some("v8")),
            other => (other, None),
        };
        let mut kind = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            kind["variant"] = json!(variant);
        }
        let mut config = kind.clone();
        config["created"] = json!(created()?);
        config["config"] = json!({
            "User": "0:0",
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": [format!("/{EXECUTABLE}")],
            "Cmd": ["install", "--dest", "/host/opt/cni/bin", "--update"],
            "WorkingDir": "/",
            "Labels": labels(),
        });
        config["rootfs"] = json!({"type": "layers", "diff_ids": [content]});
        let config = self.json("application/vnd.oci.image.config.v1+json", &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
            "annotations": labels(),
        });
        let mut image = self.json("application/vnd.oci.image.manifest.v1+json", &manifest)?;
        image["platform"] = kind;
        self.images.borrow_mut().push(image);
        Ok(())
    }

    /// Writes the index. It refers to an index of the images, so that a reader selects one by its platform.
    pub(super) fn finish(&self, reference: &str) -> Result<()> {
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        let images = self.images.take();
        // Some readers of layouts do not look into a nested index, so a single image is named directly.
        let mut target = match images.as_slice() {
            [image] => image.clone(),
            _ => self.json(
                INDEX,
                &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images}),
            )?,
        };
        target["annotations"] = json!({
            "org.opencontainers.image.ref.name": reference,
            // containerd's name for the same.
            "io.containerd.image.name": reference,
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [target]});
        write(&self.dir.join("index.json"), index.to_string().as_bytes())?;
        write(
            &self.dir.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )
    }

    fn json(&self, media_type: &str, value: &Value) -> Result<Value> {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// Stores a blob. Returns its descriptor.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let blobs = self.dir.join("blobs/sha256");
        let scratch = blobs.join("new");
        write(&scratch, bytes)?;
        let digest = digest(&scratch)?;
        let name = digest.strip_prefix("sha256:").unwrap_or_default();
        fs::rename(&scratch, blobs.join(name)).with_context(|| scratch.display().to_string())?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }
}

/// Writes the content of the image: the executable, links for those who copy plugins out of it, and the mount points of
/// the manifests.
fn fill(root: &Path, executable: &Path) -> Result<()> {
    let dir = |path: &str| -> Result<PathBuf> {
        let dir = root.join(path);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(dir)
    };
    dir("usr/bin")?;
    archive::put(executable, &root.join(EXECUTABLE), "0755")?;
    let documents = dir("usr/share/doc/cni-plugins")?;
    archive::put(&project::root().join("LICENSE"), &documents, "0644")?;
    let plugins = dir("opt/cni/bin")?;
    for plugin in project::plugins()? {
        for name in &plugin.binaries {
            link(&format!("../../../{EXECUTABLE}"), &plugins.join(name))?;
        }
    }
    dir("host/opt/cni/bin")?;
    dir("run")?;
    dir("tmp")?;
    link("../run", &dir("var")?.join("run"))
}

fn labels() -> Value {
    json!({
        "org.opencontainers.image.title": "cni-plugins",
        "org.opencontainers.image.description": "All CNI plugins in one executable, which installs them on the host",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": project::version(),
    })
}

/// The date of the commit, as the format wants it.
fn created() -> Result<String> {
    let date = format!("@{}", build::source_date());
    commands::read(Command::new("date").args(["--utc", "--date", &date, "+%Y-%m-%dT%H:%M:%SZ"]))
}

fn digest(file: &Path) -> Result<String> {
    let sum = commands::read(Command::new("sha256sum").arg("--").arg(file))?;
    let sum = sum.split(' ').next().unwrap_or_default();
    Ok(format!("sha256:{sum}"))
}

fn link(target: &str, path: &Path) -> Result<()> {
    symlink(target, path).with_context(|| path.display().to_string())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())
}
