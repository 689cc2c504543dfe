//! Which tests belong to which code.

use anyhow::{Context, Result};

/// Code, and the tests that it must pass.
struct Area {
    /// The starts of the files' paths.
    files: &'static [&'static str],
    /// The packages whose unit tests contain the code.
    units: &'static [&'static str],
    /// Their test programs that contain it, too.
    linked: &'static [&'static str],
    /// The plugins that contain it; conformance rules run against them.
    plugins: &'static [&'static str],
    /// Test programs by nextest's binary ID, which run the built plugins.
    black_box: &'static [&'static str],
}

/// The first area that fits a file is its area.
const AREAS: &[Area] = &[
    Area {
        files: &["plugins/ipam/host-local/"],
        units: &["cni-host-local"],
        linked: &[],
        plugins: &["host-local"],
        black_box: &["cni-host-local::host-local", "blackbox::gc"],
    },
    Area {
        files: &["plugins/main/bridge/"],
        // All of them are in files that the sample leaves out.
        units: &[],
        linked: &[],
        plugins: &["bridge"],
        black_box: &["cni-bridge::bridge"],
    },
    Area {
        files: &["plugins/meta/portmap/"],
        units: &["cni-portmap"],
        linked: &[],
        plugins: &["portmap"],
        black_box: &["cni-portmap::portmap"],
    },
    Area {
        files: &[
            "crates/cni-core/src/confine/",
            "crates/cni-core/src/invoke/alarm.rs",
            "crates/cni-core/src/invoke/in_process.rs",
            "crates/cni-core/src/ns/held.rs",
            "crates/cni-core/src/skel/bundle.rs",
        ],
        // These tests run all plugins in one program, which belongs to their package.
        units: &["cni-core", "cni-plugins"],
        linked: &["confinement", "plugins"],
        plugins: &["host-local", "bridge"],
        black_box: &["cni-host-local::host-local"],
    },
    Area {
        files: &["crates/cni-core/"],
        units: &["cni-core"],
        linked: &["ns"],
        plugins: &["host-local", "bridge"],
        black_box: &[
            "blackbox::bad_input",
            "blackbox::delegation",
            "blackbox::results",
            "cni-host-local::host-local",
            "cni-bridge::bridge",
        ],
    },
];

/// The tests of one area or of all.
pub(super) struct Tests {
    units: Vec<&'static str>,
    linked: Vec<&'static str>,
    /// The plugins that contain the code.
    pub(super) plugins: Vec<&'static str>,
    /// Test programs that run plugins, by nextest's binary ID.
    pub(super) black_box: Vec<&'static str>,
}

impl Tests {
    /// The tests that code in `file` must pass.
    pub(super) fn of_file(file: &str) -> Result<Tests> {
        let fits = |area: &&Area| area.files.iter().any(|start| file.starts_with(start));
        let area = AREAS.iter().find(fits);
        let area = area.with_context(|| format!("{file}: no tests are known for it"))?;
        Ok(Tests::of(std::slice::from_ref(area)))
    }

    /// All tests, each once.
    pub(super) fn all() -> Tests {
        Tests::of(AREAS)
    }

    fn of(areas: &[Area]) -> Tests {
        Tests {
            units: union(areas, |area| area.units),
            linked: union(areas, |area| area.linked),
            plugins: union(areas, |area| area.plugins),
            black_box: union(areas, |area| area.black_box),
        }
    }

    /// The arguments of `cargo nextest run` that select the tests which contain the code; none if there are no such tests.
    pub(super) fn of_units(&self) -> Vec<&'static str> {
        let packages = self.units.iter().flat_map(|name| ["--package", name]);
        let programs = self.linked.iter().flat_map(|name| ["--test", name]);
        let lib = (!self.units.is_empty()).then_some("--lib");
        packages.chain(lib).chain(programs).collect()
    }
}

/// The names of all areas, each once, in their order.
fn union(areas: &[Area], names: impl Fn(&Area) -> &'static [&'static str]) -> Vec<&'static str> {
    let mut all = Vec::new();
    for name in areas.iter().flat_map(names) {
        if !all.contains(name) {
            all.push(*name);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_area_that_fits_is_that_of_a_file() {
        let tests = |file| Tests::of_file(file).expect("an area").of_units();
        let confined = tests("crates/cni-core/src/confine/mod.rs");
        assert_eq!(
            confined.join(" "),
            "--package cni-core --package cni-plugins --lib --test confinement --test plugins"
        );
        let other = tests("crates/cni-core/src/args.rs");
        assert_eq!(other.join(" "), "--package cni-core --lib --test ns");
        assert!(tests("plugins/main/bridge/src/lib.rs").is_empty());
        assert!(Tests::of_file("crates/rtnl/src/lib.rs").is_err());
    }

    #[test]
    fn all_tests_are_there_once() {
        let all = Tests::all();
        assert_eq!(all.plugins, ["host-local", "bridge", "portmap"]);
        for area in AREAS {
            for test in area.black_box {
                let same = all.black_box.iter().filter(|other| *other == test);
                assert_eq!(same.count(), 1, "{test}");
            }
        }
    }
}
