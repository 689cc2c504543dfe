//! Debian's own kernel in QEMU: the kernel of most nodes, with all its modules.
//!
//! The package is downloaded and unpacked below the target directory, not installed. QEMU emulates the processor unless
//! it has virtualization. The kernel reads the host's files through 9p; the modules for that are in an initramfs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};

use super::{Machine, init};
use crate::machine::{self, Need};
use crate::{commands, project};

const NEEDS: &[Need] = &[
    Need {
        what: "qemu-system-x86_64",
        package: "qemu-system-x86",
        why: "boots Debian's kernel",
    },
    Need {
        what: "apt-get",
        package: "apt",
        why: "downloads Debian's kernel",
    },
    machine::BUSYBOX,
    machine::KMOD,
    machine::SETPRIV,
];

/// The package that depends on the newest kernel of the distribution.
const PACKAGE: &str = "linux-image-amd64";

/// The modules that lead to the host's files.
const MODULES: [&str; 3] = ["virtio_pci", "9pnet_virtio", "9p"];

/// An unpacked package of the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    dir: PathBuf,
    /// `uname -r`
    pub(crate) release: String,
}

impl Image {
    fn kernel(&self) -> PathBuf {
        self.dir
            .join("boot")
            .join(format!("vmlinuz-{}", self.release))
    }

    /// A directory that contains one for each release.
    fn modules(&self) -> PathBuf {
        self.dir.join("lib/modules")
    }

    fn initramfs(&self) -> PathBuf {
        self.dir.join("initramfs")
    }
}

/// Downloads the distribution's kernel, unless it is there.
///
/// # Errors
///
/// Contains why it is not available.
pub(crate) fn provide() -> Result<Image> {
    if !cfg!(target_arch = "x86_64") {
        bail!("Debian's kernel is booted on x86_64 only");
    }
    machine::provide(NEEDS)?;
    let package = newest_package()?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    let parent = project::target().join("kernel");
    let dir = parent.join(&package);
    let image = Image { dir, release };
    if !image.dir.is_dir() {
        // Others are of older versions, and large.
        let _ = fs::remove_dir_all(&parent);
        let unfinished = Image {
            dir: parent.join("unfinished"),
            release: image.release.clone(),
        };
        unpack(&package, &unfinished)?;
        fs::rename(&unfinished.dir, &image.dir).with_context(|| image.dir.display().to_string())?;
    }
    // Last, since it contains a file of this program.
    create_initramfs(&image)?;
    Ok(image)
}

/// The name of the package with the kernel.
fn newest_package() -> Result<String> {
    let depends = || commands::read(Command::new("apt-cache").args(["depends", PACKAGE]));
    let found = |text: String| {
        let mut words = text.split_whitespace().map(String::from);
        words.find(|word| word.starts_with("linux-image-") && word != PACKAGE)
    };
    let known = depends().ok().and_then(found);
    let package = match known {
        Some(package) => Some(package),
        None => machine::refresh().and_then(|()| depends()).map(found)?,
    };
    package.with_context(|| {
        format!("the package {PACKAGE} names no kernel; this machine's distribution must be Debian")
    })
}

fn unpack(package: &str, image: &Image) -> Result<()> {
    println!("downloading {package} to {}", image.dir.display());
    fs::create_dir_all(&image.dir).with_context(|| image.dir.display().to_string())?;
    let download = || {
        let mut command = Command::new("apt-get");
        command.current_dir(&image.dir);
        commands::read(command.args(["-q", "download", package]))
    };
    // The first attempt may fail because package lists are outdated.
    download().or_else(|_| machine::refresh().and_then(|()| download()))?;
    let files = fs::read_dir(&image.dir).with_context(|| image.dir.display().to_string())?;
    let archive = files
        .flatten()
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download {package} left no package"))?;
    commands::read(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(&archive)
            .arg(&image.dir),
    )?;
    fs::remove_file(&archive).with_context(|| archive.display().to_string())?;
    // Releases after Debian 12 have the modules in usr/lib only.
    if !image.modules().is_dir() {
        std::os::unix::fs::symlink("usr/lib", image.dir.join("lib"))?;
    }
    // The package leaves this to its installation.
    let mut depmod = Command::new(program("depmod")?);
    commands::read(depmod.arg("-b").arg(&image.dir).arg(&image.release))?;
    Ok(())
}

/// A program that may not be in `PATH`.
fn program(name: &str) -> Result<PathBuf> {
    commands::which(name).with_context(|| format!("{name} is missing"))
}

/// Creates an initramfs with `initramfs.sh`, a static busybox, and the modules in the order in which they are loaded.
fn create_initramfs(image: &Image) -> Result<()> {
    let content = tempfile::tempdir().context("a temporary directory")?;
    let dir = content.path();
    let mut names = String::new();
    for module in modules(image)? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        if !names.lines().any(|line| line == name) {
            fs::copy(&module, dir.join(&*name)).with_context(|| module.display().to_string())?;
            names += &format!("{name}\n");
        }
    }
    fs::copy(program("busybox")?, dir.join("busybox")).context("copy busybox")?;
    fs::write(dir.join("modules"), names)?;
    fs::write(dir.join("init"), include_str!("initramfs.sh"))?;
    fs::set_permissions(dir.join("init"), fs::Permissions::from_mode(0o755))?;
    // Another machine may be booting with the file.
    let file = image
        .initramfs()
        .with_extension(std::process::id().to_string());
    let archive = "find . | busybox cpio -o -H newc > \"$0\"";
    commands::read(
        Command::new("sh")
            .current_dir(dir)
            .args(["-c", archive])
            .arg(&file),
    )?;
    fs::rename(&file, image.initramfs()).with_context(|| file.display().to_string())
}

/// The files of the modules, those that others depend on first.
fn modules(image: &Image) -> Result<Vec<PathBuf>> {
    let mut modprobe = Command::new(program("modprobe")?);
    modprobe
        .args(["--show-depends", "--all", "--dirname"])
        .arg(&image.dir)
        .arg("--set-version")
        .arg(&image.release)
        .args(MODULES);
    let text = commands::read(&mut modprobe)?;
    // "insmod FILE [OPTION...]"; what the kernel contains already is "builtin NAME".
    let files = text.lines().filter_map(|line| line.strip_prefix("insmod "));
    Ok(files.map(|file| PathBuf::from(file.trim_end())).collect())
}

/// The command that boots a machine.
pub(super) fn command(image: &Image, machine: &Machine, room: &Path) -> Command {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let share = |tag: &str, path: &Path, more: &str| {
        format!(
            "local,mount_tag={tag},path={},security_model=none,multidevs=remap{more}",
            // A comma ends the value.
            path.display().to_string().replace(',', ",,")
        )
    };
    let mut append = machine.parameters("9p", &image.modules());
    append.push(format!("INIT=\"{}\"", init(room).display()));
    append.extend(["console=ttyS0", "panic=-1", "mitigations=off", "nokaslr"].map(String::from));
    let accelerator = match has_virtualization() {
        true => "kvm",
        false => "tcg,thread=multi",
    };
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio", "-nic", "none"])
        .args(["-accel", accelerator, "-cpu", "max"])
        .args(["-smp", &processors.to_string()])
        .args(["-m", &format!("{}M", machine.memory)])
        .arg("-kernel")
        .arg(image.kernel())
        .arg("-initrd")
        .arg(image.initramfs())
        .args(["-append", &append.join(" ")])
        .args(["-virtfs", &share("root", Path::new("/"), ",readonly=on")])
        .args(["-virtfs", &share("room", room, "")]);
    command
}

/// Whether this machine's processor runs virtual machines. A `/dev/kvm` alone does not mean that.
fn has_virtualization() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut words = info.split_whitespace();
    words.any(|word| matches!(word, "vmx" | "svm")) && fs::File::open("/dev/kvm").is_ok()
}
