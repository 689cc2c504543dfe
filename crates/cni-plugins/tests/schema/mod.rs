//! Reads the JSON Schemas, as far as the tests need it, and derives configurations from them.

mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// All schemas by the names of their files.
pub(crate) struct Schemas(BTreeMap<String, Value>);

/// A schema and the file it is in, which references are relative to.
#[derive(Clone, Copy)]
struct Node<'s> {
    file: &'s str,
    schema: &'s Value,
}

/// A property of a plugin's configuration, and values for it.
pub(crate) struct Property {
    /// JSON pointer.
    pub(crate) path: String,
    /// A valid configuration without the property.
    pub(crate) base: Value,
    pub(crate) valid: Vec<Value>,
    pub(crate) invalid: Vec<Value>,
}

impl Schemas {
    pub(crate) fn load() -> Schemas {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Documentation/schemas");
        let entries = fs::read_dir(&dir).expect("the directory of the schemas");
        let mut all = BTreeMap::new();
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|suffix| suffix == "json") {
                let text = fs::read(&path).expect("a readable schema");
                let schema = serde_json::from_slice(&text);
                let schema = schema.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let name = path.file_stem().expect("a name").to_string_lossy();
                all.insert(name.into_owned(), schema);
            }
        }
        Schemas(all)
    }

    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The types that `plugin.json` has a schema for.
    pub(crate) fn types_of_plugin(&self) -> BTreeSet<&str> {
        let cases = self.0["plugin"]["allOf"].as_array().expect("cases");
        let kind = |case: &'_ Value| -> Option<&str> {
            let kind = case.pointer("/if/properties/type/const")?.as_str()?;
            let reference = case.pointer("/then/$ref")?.as_str()?;
            assert_eq!(reference, format!("{kind}.json"));
            // The lifetime of the schemas.
            self.0.get_key_value(kind).map(|(name, _)| name.as_str())
        };
        cases.iter().filter_map(kind).collect()
    }

    fn root(&self, name: &str) -> Node<'_> {
        let (file, schema) = self.0.get_key_value(name).expect(name);
        Node { file, schema }
    }

    fn target<'s>(&'s self, node: Node<'s>) -> Option<Node<'s>> {
        let reference = node.schema.get("$ref")?.as_str()?;
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = file.strip_suffix(".json").unwrap_or(node.file);
        let root = self.root(file);
        let schema = root
            .schema
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{reference}"));
        Some(Node {
            file: root.file,
            schema,
        })
    }

    /// The schema itself, what it refers to, and its alternatives.
    fn all_of<'s>(&'s self, node: Node<'s>) -> Vec<Node<'s>> {
        let mut all = vec![node];
        if let Some(target) = self.target(node) {
            all.extend(self.all_of(target));
        }
        for schema in node
            .schema
            .get("anyOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            all.extend(self.all_of(Node { schema, ..node }));
        }
        all
    }

    /// The schemas of a property, of an element, or of all.
    fn step<'s>(&'s self, node: Node<'s>, key: &str) -> Vec<Node<'s>> {
        let mut found = Vec::new();
        for Node { file, schema } in self.all_of(node) {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, schema) in properties.into_iter().flatten() {
                if name.eq_ignore_ascii_case(key) {
                    found.push(Node { file, schema });
                }
            }
            let patterns = schema.get("patternProperties").and_then(Value::as_object);
            if key.starts_with("cni.dev/") && patterns.is_some() {
                found.push(Node {
                    file,
                    schema: &Value::Bool(true),
                });
            }
            if let (Some(schema), "0") = (schema.get("items"), key) {
                found.push(Node { file, schema });
            }
        }
        found
    }

    /// Whether the schema of plugin `name` describes `key` of the object at `path`.
    pub(crate) fn has_key(&self, name: &str, path: &str, key: &str) -> bool {
        let common = Node {
            schema: &self.0["common"]["$defs"]["plugin"],
            ..self.root("common")
        };
        let mut nodes = vec![self.root(name), common];
        for part in path.split('/').skip(1).chain([key]) {
            nodes = nodes
                .iter()
                .flat_map(|node| self.step(*node, part))
                .collect();
        }
        !nodes.is_empty()
    }

    /// The keys in the file of a plugin, except for those that runtimes read: the path of the object, and the key.
    pub(crate) fn keys(&self, name: &str) -> BTreeSet<(String, String)> {
        let mut keys = BTreeSet::new();
        self.visit(self.own(name), "", &mut |path, _| {
            let (object, key) = path.rsplit_once('/').expect("a pointer");
            if !path.starts_with("/capabilities") && !samples::is_ignored(path) {
                keys.insert((object.to_owned(), key.to_owned()));
            }
        });
        keys
    }

    /// The part of a plugin's schema that is its own.
    fn own(&self, name: &str) -> Node<'_> {
        let root = self.root(name);
        match root.schema.pointer("/$defs/caller") {
            Some(schema) => Node { schema, ..root },
            None => root,
        }
    }

    /// Calls `seen` with each property below `node`, except for what all plugins have.
    fn visit<'s>(&'s self, node: Node<'s>, path: &str, seen: &mut dyn FnMut(&str, Node<'s>)) {
        let nodes = match path {
            "" => vec![node],
            _ => self.all_of(node),
        };
        for Node { file, schema } in nodes {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (key, schema) in properties.into_iter().flatten() {
                let (path, node) = (format!("{path}/{key}"), Node { file, schema });
                // `delegate` is of another plugin, which may have any keys.
                if !path.starts_with("/delegate/") {
                    seen(&path, node);
                    self.visit(node, &path, seen);
                }
            }
            if let Some(schema) = schema.get("items") {
                self.visit(Node { file, schema }, &format!("{path}/0"), seen);
            }
        }
    }

    /// A valid configuration with what is required only.
    fn minimal(&self, name: &str) -> Value {
        let mut config = json!({"cniVersion": "1.1.0", "name": "net", "type": name});
        if !["flannel", "host-local", "static", "dhcp"].contains(&name) {
            config["ipam"] = json!({"type": "no-such-plugin"});
        }
        samples::complete(name, config)
    }

    /// Configurations in which every object that the schema describes occurs, marked with its path.
    pub(crate) fn deep_examples(&self, name: &str) -> Vec<Value> {
        let mut configs = vec![mark(self.minimal(name))];
        for Property {
            path, base, valid, ..
        } in self.properties(name)
        {
            let value = valid.first().cloned().unwrap_or_default();
            configs.push(mark(with(&base, &path, value)));
        }
        configs
    }

    /// The properties in the file of a plugin that values can be derived for.
    pub(crate) fn properties(&self, name: &str) -> Vec<Property> {
        let mut all = Vec::new();
        self.visit(self.own(name), "", &mut |path, node| {
            if path == "/type" || path.starts_with("/capabilities") {
                return;
            }
            let (valid, invalid) = samples::values(name, path, &self.all_of(node).map_schemas());
            let base = samples::base(self.minimal(name), name, path);
            let path = path.to_owned();
            all.push(Property {
                path,
                base,
                valid,
                invalid,
            });
        });
        all
    }
}

/// The names of the plugins that are shipped.
pub(crate) fn plugin_directories() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let classes =
        ["main", "ipam", "meta"].map(|class| fs::read_dir(root.join(class)).expect("a class"));
    let names = classes
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

trait MapSchemas<'s> {
    fn map_schemas(&self) -> Vec<&'s Value>;
}

impl<'s> MapSchemas<'s> for Vec<Node<'s>> {
    fn map_schemas(&self) -> Vec<&'s Value> {
        self.iter().map(|node| node.schema).collect()
    }
}

/// `config` with `value` at `path`, whose parents are created: arrays for the name `0`.
pub(crate) fn with(config: &Value, path: &str, value: Value) -> Value {
    fn set(at: &mut Value, mut path: std::str::Split<'_, char>, value: Value) {
        match path.next() {
            None => *at = value,
            Some("0") => {
                if !at.is_array() {
                    *at = json!([null]);
                }
                set(&mut at[0], path, value);
            }
            Some(key) => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                set(&mut at[key], path, value);
            }
        }
    }
    let mut config = config.clone();
    let mut parts = path.split('/');
    parts.next();
    set(&mut config, parts, value);
    config
}

/// Adds its path to each object, as the member `#`, except for those whose members are all read.
fn mark(mut config: Value) -> Value {
    fn walk(value: &mut Value, path: &str) {
        match value {
            Value::Object(object) => {
                for (key, member) in object.iter_mut() {
                    if key != "sysctl" && key != "capabilities" {
                        walk(member, &format!("{path}/{key}"));
                    }
                }
                object.insert("#".into(), path.into());
            }
            Value::Array(list) => list.iter_mut().for_each(|e| walk(e, &format!("{path}/0"))),
            _ => {}
        }
    }
    walk(&mut config, "");
    config
}
