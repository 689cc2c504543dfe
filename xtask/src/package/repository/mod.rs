//! The repository of packages: static files for apt and dnf, signed with the releaser's key.
//!
//! A repository only grows: packages of earlier versions stay, and a published version never changes.

mod apt;
mod dnf;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::catalogue::PROJECT;
use crate::commands;
use crate::machine::{self, Need};

const NEEDS: &[Need] = &[
    Need {
        what: "gpg",
        package: "gnupg",
        why: "signs the indexes and packages of the repository",
    },
    Need {
        what: "apt-ftparchive",
        package: "apt-utils",
        why: "writes the index for apt",
    },
    Need {
        what: "createrepo_c",
        package: "createrepo-c",
        why: "writes the index for dnf",
    },
    Need {
        what: "rpmsign",
        package: "rpm",
        why: "signs .rpm packages",
    },
];

/// Where and how a repository is published.
pub(crate) struct Publication {
    /// The directory of the static files, new or of an earlier publication.
    pub(super) dir: PathBuf,
    /// The key that signs: anything by which gpg finds it in `GNUPGHOME`.
    key: String,
    /// The address of the directory's content for users.
    url: String,
}

impl Publication {
    /// Removes `--repository DIR`, `--key KEY` and `--url URL` from the arguments.
    ///
    /// # Errors
    ///
    /// When only some of them are there.
    pub(crate) fn take(arguments: &mut Vec<String>) -> Result<Option<Publication>> {
        let mut option = |name| super::take(arguments, name);
        match (option("--repository")?, option("--key")?, option("--url")?) {
            (None, None, None) => Ok(None),
            (Some(dir), Some(key), Some(url)) => Ok(Some(Publication {
                dir: dir.into(),
                key,
                url,
            })),
            _ => bail!("--repository DIR, --key KEY and --url URL are given together"),
        }
    }

    /// Adds packages of both formats to the repository and writes its indexes.
    ///
    /// # Errors
    ///
    /// When a package with the same name and other content is published already, or a program fails.
    pub(crate) fn add(&self, packages: &[PathBuf]) -> Result<()> {
        machine::provide(NEEDS)?;
        fs::create_dir_all(&self.dir).with_context(|| self.dir.display().to_string())?;
        // Relative paths would have another meaning for commands that run in a directory of the repository.
        let dir = self.dir.canonicalize()?;
        let of = |suffix| {
            let packages = packages.iter();
            packages.filter(move |path| path.extension().is_some_and(|found| found == suffix))
        };
        apt::add(of("deb"), &dir.join("apt"), self)?;
        dnf::add(of("rpm"), &dir.join("rpm"), self)?;
        self.write_for_users(&dir)
    }

    /// Writes the public key, and the files that tell apt and dnf of this repository.
    fn write_for_users(&self, dir: &Path) -> Result<()> {
        let url = self.url.trim_end_matches('/');
        let mut export = Command::new("gpg");
        export.args(["--batch", "--armor", "--export", &self.key]);
        let key = commands::read(&mut export)?;
        if key.is_empty() {
            bail!(
                "gpg has no key {}: GNUPGHOME names the directory of keys",
                self.key
            );
        }
        let apt = format!(
            "Types: deb\nURIs: {url}/apt\nSuites: stable\nComponents: main\n\
             Signed-By: /usr/share/keyrings/{PROJECT}.asc\n"
        );
        let dnf = format!(
            "[{PROJECT}]\nname=CNI plugins ({PROJECT})\nbaseurl={url}/rpm\nenabled=1\n\
             gpgcheck=1\nrepo_gpgcheck=1\ngpgkey={url}/{PROJECT}.asc\n"
        );
        for (suffix, text) in [("asc", key + "\n"), ("sources", apt), ("repo", dnf)] {
            let path = dir.join(format!("{PROJECT}.{suffix}"));
            fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Signs a file.
    fn sign(&self, option: &str, file: &Path, signature: &Path) -> Result<()> {
        let mut command = Command::new("gpg");
        command
            .args([
                "--batch",
                "--yes",
                "--local-user",
                &self.key,
                "--armor",
                "--output",
            ])
            .arg(signature)
            .arg(option)
            .arg(file);
        commands::read(&mut command).map(drop)
    }
}

/// Returns where in `dir` a package has to be published, or `None` if it is published already.
///
/// `content` returns what identifies the content of a package, whether signed or not.
fn unpublished(
    package: &Path,
    dir: &Path,
    content: impl Fn(&Path) -> Result<Vec<u8>>,
) -> Result<Option<PathBuf>> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let path = dir.join(package.file_name().context("a package has a name")?);
    if !path.exists() {
        return Ok(Some(path));
    }
    if content(package)? != content(&path)? {
        bail!(
            "{} is published with other content: a published version never changes, release a new one",
            path.display()
        );
    }
    Ok(None)
}

/// Copies a package next to its place in the repository, where indexes do not see it yet.
fn copy_beside(package: &Path, place: &Path) -> Result<PathBuf> {
    let new = place.with_extension("new");
    fs::copy(package, &new).with_context(|| new.display().to_string())?;
    Ok(new)
}

/// Moves a package to its place.
fn publish(new: &Path, place: &Path) -> Result<()> {
    fs::rename(new, place).with_context(|| place.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_packages_never_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let package = dir.path().join("a_1_all.deb");
        let pool = dir.path().join("pool");
        let content = |path: &Path| Ok(fs::read(path)?);
        fs::write(&package, "one").expect("a package");
        let place = unpublished(&package, &pool, content).expect("a new package");
        let place = place.expect("a place for it");
        publish(&copy_beside(&package, &place).expect("a copy"), &place).expect("published");
        assert!(matches!(unpublished(&package, &pool, content), Ok(None)));

        fs::write(&package, "two").expect("another package");
        let refused = unpublished(&package, &pool, content).expect_err("other content");
        assert!(refused.to_string().contains("never changes"), "{refused}");
        assert_eq!(fs::read_to_string(&place).expect("the package"), "one");
    }

    #[test]
    fn options_of_a_repository_belong_together() {
        let take = |line: &str| {
            let mut words: Vec<String> = line.split_whitespace().map(String::from).collect();
            Publication::take(&mut words).map(|publication| (publication, words))
        };
        let (publication, rest) = take("--all --repository d --key k --url u").expect("options");
        assert_eq!(publication.expect("a publication").key, "k");
        assert_eq!(rest, ["--all"]);
        assert!(take("--all").expect("no options").0.is_none());
        assert!(take("--repository d --key k").is_err());
        assert!(take("--key").is_err());
    }
}
