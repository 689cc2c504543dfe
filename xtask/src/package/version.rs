//! Versions of packages.

use std::cmp::Ordering;

/// The revision of the packaging, for both formats.
const REVISION: &str = "1";

/// The version of upstream's plugins that these ones replace.
pub(crate) const UPSTREAM: &str = "1.9.1";

/// The epoch in versions of the packages that are provided in the place of a distribution's.
///
/// Relations to the distribution's package say "below this epoch", so that they do not apply to ours, which provides
/// the same name. Red Hat's package has epoch 1, Debian's none.
pub(crate) const EPOCH: &str = "2";

/// Converts the version of a build, as of `project::version`, to the version of a package with its revision.
///
/// Both dpkg and rpm order `~` before the end of a version, and `+` after it: pre-releases are older than their
/// release, builds of later commits are newer.
pub(crate) fn of_package(build: &str) -> String {
    format!("{}-{REVISION}", upstream_part(build))
}

/// The part of a package's version before its revision.
pub(crate) fn upstream_part(build: &str) -> String {
    let build = build.strip_prefix('v').unwrap_or(build);
    let Some((base, rest)) = build.split_once('-') else {
        return build.to_owned();
    };
    // "git describe" counts the commits since the tag: v1.0.0-5-gabcdef0.
    let later = rest.starts_with(|first: char| first.is_ascii_digit());
    let separator = if later { '+' } else { '~' };
    format!("{base}{separator}{}", rest.replace('-', "."))
}

/// How a package is related to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    name: String,
    /// Compared with this version. Without it, every version is meant.
    version: Option<(Ordering, String)>,
}

impl Relation {
    /// Any version of a package.
    pub(crate) fn any(name: &str) -> Relation {
        Relation {
            name: name.to_owned(),
            version: None,
        }
    }

    /// This version of a package.
    pub(crate) fn exactly(name: &str, version: &str) -> Relation {
        Relation {
            name: name.to_owned(),
            version: Some((Ordering::Equal, version.to_owned())),
        }
    }

    /// Versions below this one.
    pub(crate) fn below(name: &str, version: &str) -> Relation {
        Relation {
            name: name.to_owned(),
            version: Some((Ordering::Less, version.to_owned())),
        }
    }

    /// As in a control file of dpkg.
    pub(crate) fn deb(&self) -> String {
        self.shown("<<", |name, comparison| format!("{name} ({comparison})"))
    }

    /// As in a spec file of rpm.
    pub(crate) fn rpm(&self) -> String {
        self.shown("<", |name, comparison| format!("{name} {comparison}"))
    }

    fn shown(&self, below: &str, join: impl Fn(&str, &str) -> String) -> String {
        let Some((order, version)) = &self.version else {
            return self.name.clone();
        };
        let operator = if order.is_eq() { "=" } else { below };
        join(&self.name, &format!("{operator} {version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_builds_become_versions_of_packages() {
        let cases = [
            ("v1.2.3", "1.2.3-1"),
            ("1.2.3", "1.2.3-1"),
            ("v1.2.3-rc.1", "1.2.3~rc.1-1"),
            ("v1.2.3-5-gabc1234-dirty", "1.2.3+5.gabc1234.dirty-1"),
            ("v0.1.0-dev-abc1234", "0.1.0~dev.abc1234-1"),
        ];
        for (build, package) in cases {
            assert_eq!(of_package(build), package);
        }
    }

    #[test]
    fn relations_are_written_in_both_formats() {
        let relation = Relation::below("kubernetes-cni", "2:0");
        assert_eq!(relation.deb(), "kubernetes-cni (<< 2:0)");
        assert_eq!(relation.rpm(), "kubernetes-cni < 2:0");
        assert_eq!(Relation::exactly("a", "1").deb(), "a (= 1)");
        assert_eq!(Relation::any("a").rpm(), "a");
    }
}
