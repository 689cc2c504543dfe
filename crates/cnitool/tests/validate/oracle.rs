//! The schemas beside a general validator: they are well-formed, and mean the same to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use crate::{in_repository, validate};

/// Rules of findings that come from schemas, except for `format`, which only we assert.
const RULES: [&str; 6] = [
    "combination",
    "missing-key",
    "range",
    "type",
    "unknown-key",
    "value",
];

/// Files whose keys or values plugins read in another way than a general validator does.
const LENIENT: [(&str, &str); 2] = [
    ("26-key-twice.conflist", "MTU"),
    ("87-podman-bridge.conflist", "\"backend\": \"\""),
];

struct Oracle {
    schemas: Schemas,
    by_name: BTreeMap<&'static str, SchemaIndex>,
}

impl Oracle {
    fn new() -> Oracle {
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        let files = fs::read_dir(in_repository("Documentation/schemas")).expect("the schemas");
        let mut urls = Vec::new();
        for path in files.map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_some_and(|suffix| suffix == "json") {
                let text = fs::read(&path).expect("a schema");
                let name = path.file_name().expect("a name").to_string_lossy();
                let url = format!("file:///schemas/{name}");
                compiler
                    .add_resource(&url, serde_json::from_slice(&text).expect("JSON"))
                    .expect("a URL");
                urls.push(url);
            }
        }
        // Those of plugins that no list refers to, too.
        for url in &urls {
            compiler
                .compile(url, &mut schemas)
                .unwrap_or_else(|error| panic!("{url}: {error:#}"));
        }
        let mut index = |name| {
            let url = format!("file:///schemas/{name}.json");
            (
                name,
                compiler.compile(&url, &mut schemas).expect("a schema"),
            )
        };
        let by_name = BTreeMap::from([index("network-list"), index("plugin")]);
        Oracle { schemas, by_name }
    }

    fn accepts(&self, document: &Value) -> bool {
        let is_plugin = document.get("type").is_some() && document.get("plugins").is_none();
        let schema = self.by_name[if is_plugin { "plugin" } else { "network-list" }];
        self.schemas.validate(document, schema).is_ok()
    }
}

/// Files of a directory of this repository.
fn files(dir: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(in_repository(dir)).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn a_general_validator_agrees() {
    let oracle = Oracle::new();
    let (mut accepted, mut refused) = (0, 0);
    for path in [
        files("crates/cnitool/tests/broken"),
        files("crates/libcni/tests/net.d"),
    ]
    .concat()
    {
        let text = fs::read_to_string(&path).expect("UTF-8");
        // Not all of them are JSON.
        let Ok(document) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        if let Some((_, part)) = LENIENT.iter().find(|(name, _)| path.ends_with(name)) {
            assert!(
                text.contains(part) && !oracle.accepts(&document),
                "{}",
                path.display()
            );
            continue;
        }
        let findings = validate(&["--json", &path.display().to_string()]).json();
        let findings = findings["findings"].as_array().expect("a list");
        let by_schema = |finding: &&Value| RULES.iter().any(|rule| finding["rule"] == *rule);
        let ours = findings.iter().filter(by_schema).count() == 0;
        assert_eq!(
            ours,
            oracle.accepts(&document),
            "{}: {findings:?}",
            path.display()
        );
        *if ours { &mut accepted } else { &mut refused } += 1;
    }
    assert!(
        accepted > 20 && refused > 20,
        "{accepted} accepted, {refused} refused"
    );
}
