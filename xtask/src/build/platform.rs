//! The platforms of a release.

use anyhow::{Context, Result};

/// An operating system and architecture that binaries are built for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// Go's name of the architecture, which upstream's file names contain. `arm` is version 7, as upstream's.
    pub(crate) name: &'static str,
    /// The Rust target with musl.
    pub(crate) target: &'static str,
    /// zig's name of the same.
    pub(super) zig: &'static str,
    /// zig's name of the oldest processor, where zig would take a newer one.
    pub(super) zig_processor: Option<&'static str>,
    /// Whether its byte order is another than that of nearly all machines that build.
    pub(crate) is_big_endian: bool,
    /// systemd's name of the architecture.
    pub(crate) systemd: &'static str,
    /// The emulator `qemu-NAME-static`.
    pub(crate) qemu: &'static str,
    /// The processor that the emulator must be told to be, where it would be a newer one.
    pub(crate) qemu_processor: Option<&'static str>,
}

const fn platform(
    name: &'static str,
    target: &'static str,
    zig: &'static str,
    systemd: &'static str,
    qemu: &'static str,
) -> Platform {
    Platform {
        name,
        target,
        zig,
        zig_processor: None,
        is_big_endian: false,
        systemd,
        qemu,
        qemu_processor: None,
    }
}

/// All platforms of a release. The first six, with `arm`, are upstream's.
pub(crate) const PLATFORMS: &[Platform] = &[
    platform(
        "amd64",
        "x86_64-unknown-linux-musl",
        "x86_64-linux-musl",
        "x86-64",
        "x86_64",
    ),
    platform(
        "arm64",
        "aarch64-unknown-linux-musl",
        "aarch64-linux-musl",
        "arm64",
        "aarch64",
    ),
    platform(
        "arm",
        "armv7-unknown-linux-musleabihf",
        "arm-linux-musleabihf",
        "arm",
        "arm",
    ),
    Platform {
        zig_processor: Some("arm1176jzf_s"),
        qemu_processor: Some("arm1176"),
        ..platform(
            "armv6",
            "arm-unknown-linux-musleabihf",
            "arm-linux-musleabihf",
            "arm",
            "arm",
        )
    },
    platform(
        "riscv64",
        "riscv64gc-unknown-linux-musl",
        "riscv64-linux-musl",
        "riscv64",
        "riscv64",
    ),
    platform(
        "ppc64le",
        "powerpc64le-unknown-linux-musl",
        "powerpc64le-linux-musl",
        "ppc64-le",
        "ppc64le",
    ),
    Platform {
        is_big_endian: true,
        ..platform(
            "s390x",
            "s390x-unknown-linux-musl",
            "s390x-linux-musl",
            "s390x",
            "s390x",
        )
    },
    platform(
        "mips64le",
        "mips64el-unknown-linux-muslabi64",
        "mips64el-linux-muslabi64",
        "mips64-le",
        "mips64el",
    ),
    platform(
        "loong64",
        "loongarch64-unknown-linux-musl",
        "loongarch64-linux-musl",
        "loongarch64",
        "loongarch64",
    ),
];

impl Platform {
    /// Returns the platform with Go's name `name`.
    ///
    /// # Errors
    ///
    /// Lists the known names.
    pub(crate) fn named(name: &str) -> Result<&'static Platform> {
        let known = || -> Vec<&str> { PLATFORMS.iter().map(|platform| platform.name).collect() };
        PLATFORMS
            .iter()
            .find(|platform| platform.name == name)
            .with_context(|| format!("--platform {name}: not one of {}", known().join(", ")))
    }

    /// Returns the platform of this machine.
    ///
    /// # Errors
    ///
    /// When releases have no such platform.
    pub(crate) fn host() -> Result<&'static Platform> {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "mips64" => "mips64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform::named(arch)
    }

    pub(crate) fn is_host(&self) -> bool {
        Platform::host().is_ok_and(|host| host == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_unknown_ones_are_listed() {
        for platform in PLATFORMS {
            assert_eq!(
                Platform::named(platform.name).expect("a platform's own name"),
                platform
            );
        }
        let error = Platform::named("sparc64").expect_err("no such platform");
        assert!(error.to_string().contains("loong64"), "{error}");
    }
}
