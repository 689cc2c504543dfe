//! The description of a plugin on the page can be read.

use std::fs;

use crate::program;

const PAGE: &str = include_str!("../../../../Documentation/conformance.md");

#[test]
fn examples_are_valid_descriptions() {
    let examples = testkit::examples(PAGE);
    assert!(!examples.is_empty());
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_string_lossy().into_owned();
    for (number, example) in examples.iter().enumerate() {
        let file = dir.path().join(format!("{number}.json"));
        fs::write(&file, example.to_string()).expect("written");
        let file = file.to_string_lossy().into_owned();
        let run = program(&["--cni-path", &path, "--subject", &file]).run();
        // The description is read before the plugin is missed.
        assert!(
            run.stderr_text().contains("has no plugin that is known"),
            "{}",
            run.report()
        );
    }
}
