//! The list of rules, and its copy on the page.

use crate::program;

const PAGE: &str = include_str!("../../../../Documentation/conformance.md");

#[test]
fn the_page_has_the_list_of_rules() {
    let run = program(&["--list", "--markdown", "-"]).run().expect_ok();
    let list = run.stdout_text();
    assert!(
        PAGE.contains(&list),
        "Documentation/conformance.md differs from: cni-conformance --list --markdown -\n{list}"
    );
}

#[test]
fn the_page_counts_the_rules() {
    let run = program(&["--list", "--json", "-"]).run().expect_ok();
    let count = run.json().as_array().map_or(0, Vec::len);
    assert!(count >= 200, "{count} rules");
    assert!(
        PAGE.contains(&format!("{count} rules")),
        "the page does not say {count} rules"
    );
}

#[test]
fn a_group_can_be_listed() {
    let text = program(&["--list", "--rule", "command"])
        .run()
        .expect_ok()
        .stdout_text();
    assert!(text.contains("command.unknown-text"), "{text}");
    assert!(!text.contains("variables."), "{text}");
}
