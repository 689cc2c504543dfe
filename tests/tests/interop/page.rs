//! `Documentation/compatibility.md` lists the expected differences, and each is expected in a case.

use std::fs;
use std::path::Path;

use crate::differences::ALL;

/// The rows of the page's table of differences.
fn rows() -> Vec<String> {
    let row = |difference: &&crate::difference::Difference| {
        let releases = difference.peers.shown();
        format!(
            "| {} | {} | {releases} | {} |",
            difference.plugins, difference.what, difference.why
        )
    };
    ALL.iter().map(row).collect()
}

#[test]
fn the_page_lists_the_expected_differences() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Documentation/compatibility.md");
    let page = fs::read_to_string(page).expect("read the page");
    let table = page
        .lines()
        .skip_while(|line| !line.starts_with("| plugins | difference |"));
    let listed: Vec<&str> = table
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(listed, rows(), "the rows should be\n{}", rows().join("\n"));
}

#[test]
fn each_difference_is_expected_in_a_case() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let sources = fs::read_dir(dir).expect("list the sources").flatten();
    let others = sources.filter(|file| file.file_name() != "differences.rs");
    let text: String = others
        .map(|file| fs::read_to_string(file.path()).expect("a source"))
        .collect();
    for difference in ALL {
        // Whole words only.
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        assert!(
            words.any(|word| word == difference.name),
            "{} is in no case",
            difference.name
        );
    }
}
