//! The JSON Schemas of `Documentation/schemas`, and their interpretation by the rules of plugins: keys match in any
//! case, `null` and the empty string are absent, and unknown keys are no errors.
//!
//! Interpreted are the keywords that these schemas use; a test compares the outcome with a general validator.

mod format;
mod object;
mod texts;
mod walk;

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) use texts::nearest;
pub(super) use walk::{Keys, check};

macro_rules! embedded {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../../../../Documentation/schemas/", $name, ".json")))),*]
    };
}

const FILES: [(&str, &str); 22] = embedded![
    "bandwidth" "bridge" "common" "dhcp" "dummy" "firewall" "flannel" "host-device" "host-local" "ipvlan" "loopback"
    "macvlan" "network-list" "plugin" "portmap" "ptp" "sbr" "static" "tap" "tuning" "vlan" "vrf"
];

/// All schemas.
pub(super) struct Schemas(BTreeMap<&'static str, Value>);

/// A schema, and the name of the file that its references are relative to.
#[derive(Clone, Copy)]
pub(super) struct Schema<'s> {
    all: &'s Schemas,
    file: &'s str,
    value: &'s Value,
}

impl Schemas {
    /// Parses the embedded files.
    ///
    /// # Errors
    /// Never, as the tests show.
    pub(super) fn load() -> serde_json::Result<Schemas> {
        let parsed = FILES
            .into_iter()
            .map(|(name, text)| Ok((name, serde_json::from_str(text)?)));
        parsed.collect::<serde_json::Result<_>>().map(Schemas)
    }

    /// The schema in the file of this name.
    pub(super) fn named(&self, name: &str) -> Option<Schema<'_>> {
        let (file, value) = self.0.get_key_value(name)?;
        Some(Schema {
            all: self,
            file,
            value,
        })
    }
}

impl<'s> Schema<'s> {
    /// The schema under a keyword.
    fn under(self, keyword: &str) -> Option<Schema<'s>> {
        self.value
            .get(keyword)
            .map(|value| Schema { value, ..self })
    }

    /// The schemas in the list under a keyword.
    fn each(self, keyword: &str) -> impl Iterator<Item = Schema<'s>> + use<'s> {
        let list = self.value.get(keyword).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(move |value| Schema { value, ..self })
    }

    /// The schemas of the object under a keyword, with their names.
    fn members(self, keyword: &str) -> impl Iterator<Item = (&'s str, Schema<'s>)> + use<'s> {
        let object = self.value.get(keyword).and_then(Value::as_object);
        let members = object.into_iter().flatten();
        members.map(move |(name, value)| (name.as_str(), Schema { value, ..self }))
    }

    /// The schema that this one refers to.
    fn target(self) -> Option<Schema<'s>> {
        let reference = self.value.get("$ref")?.as_str()?;
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let root = self
            .all
            .named(file.strip_suffix(".json").unwrap_or(self.file))?;
        root.value
            .pointer(pointer)
            .map(|value| Schema { value, ..root })
    }

    fn text(self, keyword: &str) -> Option<&'s str> {
        self.value.get(keyword)?.as_str()
    }

    fn number(self, keyword: &str) -> Option<i128> {
        let number = self.value.get(keyword)?;
        number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
    }

    fn list(self, keyword: &str) -> &'s [Value] {
        self.value
            .get(keyword)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The texts in the list under a keyword.
    fn texts(self, keyword: &str) -> impl Iterator<Item = &'s str> + use<'s> {
        self.list(keyword).iter().filter_map(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_references_have_targets() {
        fn visit(schema: Schema<'_>) {
            if schema.value.get("$ref").is_some() {
                assert!(
                    schema.target().is_some(),
                    "{}: {}",
                    schema.file,
                    schema.value
                );
            }
            let members = schema
                .value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(_, value)| value);
            let elements = schema.value.as_array().into_iter().flatten();
            members
                .chain(elements)
                .for_each(|value| visit(Schema { value, ..schema }));
        }
        let schemas = Schemas::load().expect("JSON");
        schemas
            .0
            .keys()
            .for_each(|name| visit(schemas.named(name).expect("a schema")));
    }
}
