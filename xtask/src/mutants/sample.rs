//! The sample: which mutants are tried, in an order that the seed determines.

use super::hash;
use super::list::Mutant;

/// Mutants that are left out: the start of the file's path, and the reason.
pub(super) const EXCLUDED: &[(&str, &str)] = &[
    (
        "crates/cni-core/src/confine/attempts.rs",
        "code of tests (feature `escape-attempts`)",
    ),
    (
        "crates/cni-core/src/json/record.rs",
        "code of tests (feature `record-keys`)",
    ),
    (
        "crates/cni-core/src/arena.rs",
        "only saves time: without the arena, memory comes from the C library",
    ),
    (
        "plugins/main/bridge/src/trunk.rs",
        "runs only where bridges filter VLANs: those tests may need User Mode Linux",
    ),
    (
        "plugins/main/bridge/src/vlan",
        "runs only where bridges filter VLANs: those tests may need User Mode Linux",
    ),
];

/// The mutants that are not excluded, in the order in which a sample takes them.
///
/// A mutant's rank depends on nothing but the seed and the mutant itself, so that other code can change without
/// changing the sample.
pub(super) fn ranked(mutants: &[Mutant], seed: u64) -> Vec<Mutant> {
    let mut ranked: Vec<Mutant> = mutants
        .iter()
        .filter(|m| !is_excluded(m))
        .cloned()
        .collect();
    ranked.sort_by_cached_key(|mutant| hash(&format!("{seed} {}", mutant.id)));
    ranked
}

fn is_excluded(mutant: &Mutant) -> bool {
    EXCLUDED
        .iter()
        .any(|(file, _)| mutant.file.starts_with(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::list::{parse, tests::list};

    fn mutants(names: &[&str]) -> Vec<Mutant> {
        let entry = |name: &&str| {
            (
                "plugins/x.rs",
                1,
                [1, 2],
                "x",
                name.to_string().leak() as &str,
            )
        };
        let entries: Vec<_> = names.iter().map(entry).collect();
        parse(&list(&entries)).expect("a list")
    }

    fn order(mutants: &[Mutant], seed: u64) -> Vec<String> {
        let ranked = ranked(mutants, seed).into_iter();
        ranked.map(|mutant| mutant.change).collect()
    }

    #[test]
    fn the_seed_determines_the_order() {
        let mutants = mutants(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(order(&mutants, 1), order(&mutants, 1));
        assert_ne!(order(&mutants, 1), order(&mutants, 2));
        assert_eq!(order(&mutants, 1).len(), 8);
    }

    #[test]
    fn other_mutants_do_not_change_the_order() {
        let few = order(&mutants(&["a", "c", "e"]), 1);
        let mut many = order(&mutants(&["a", "b", "c", "d", "e", "f"]), 1);
        many.retain(|change| few.contains(change));
        assert_eq!(many, few);
    }

    #[test]
    fn excluded_mutants_are_left_out() {
        let entry = |file| (file, 1, [1, 2], "x", "replace f with ()");
        let files = [
            "crates/cni-core/src/arena.rs",
            "crates/cni-core/src/args.rs",
        ];
        let mutants = parse(&list(&files.map(entry))).expect("a list");
        let left = ranked(&mutants, 1);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].file, files[1]);
    }
}
