//! `cargo xtask dist`: the files of a release, in `release/`.
//!
//! Names and layout of the tarballs are the same as upstream's, so that installers need no change. The same commit and
//! toolchain give the same bytes.

pub(crate) mod archive;

use anyhow::Result;
use lexopt::Arg;

use crate::build::{self, Build, PLATFORMS, Platform};
use crate::{project, text};

/// The files besides the binaries.
const DOCUMENTS: &[&str] = &["LICENSE", "README.md"];

/// What the command line asks for.
#[derive(Default)]
struct Options {
    platforms: Vec<&'static Platform>,
    no_build: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("platform") => {
                    let name = text(parser.value()?)?;
                    options.platforms.push(Platform::named(&name)?);
                }
                Arg::Long("all") => options.platforms = PLATFORMS.iter().collect(),
                Arg::Long("no-build") => options.no_build = true,
                other => return Err(other.unexpected().into()),
            }
        }
        if options.platforms.is_empty() {
            options.platforms.push(Platform::host()?);
        }
        Ok(options)
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    for platform in &options.platforms {
        tarball(&build::for_platform(platform, options.no_build)?)?;
    }
    Ok(())
}

/// Packs the binaries for a platform.
fn tarball(build: &Build) -> Result<()> {
    let stage = archive::stage(build.platform.name)?;
    for binary in &build.binaries {
        archive::put(&binary.path, &stage, "0755")?;
    }
    for name in DOCUMENTS {
        archive::put(&project::root().join(name), &stage, "0644")?;
    }
    let name = format!(
        "cni-plugins-linux-{}-{}.tgz",
        build.platform.name,
        project::version()
    );
    archive::pack(&stage, &name)
}
