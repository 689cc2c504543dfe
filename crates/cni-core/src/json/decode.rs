//! serde deserializer with upstream's decoding rules.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::{Error, kind, same_key};

/// Decodes a document into `T` by the rules of upstream's decoder.
///
/// - Keys of structs match in any case; of several the last in the document wins. Unknown
///   keys are ignored. If two fields differ only in case, a key belongs to the field that
///   it equals, else to the first of them.
/// - A struct's key with the value `null` is absent: `#[serde(default)]` applies, an
///   `Option` is `None`. A `null` in a list or as the whole document is an error unless
///   the target accepts it (`Option`, [`Value`]).
/// - `1500.0` and `1e3` are not integers.
/// - Maps and the content of a [`Value`] are not changed.
///
/// These rules do not apply below `#[serde(flatten)]` and `#[serde(untagged)]`, since serde
/// first collects the members in a buffer of its own: there keys match exactly, and `null`
/// is not absent. Decode the same document twice instead of flattening, and use a [`Value`]
/// instead of an untagged struct.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Conf {
///     #[serde(default = "default_bridge")]
///     bridge: String,
///     #[serde(default)]
///     is_gateway: bool,
///     mtu: Option<u32>,
/// }
///
/// fn default_bridge() -> String {
///     "cni0".to_owned()
/// }
///
/// use cni_core::json;
///
/// let conf = json::parse(br#"{"type": "bridge", "bridge": null, "ISGATEWAY": true}"#)?;
/// let conf: Conf = json::decode(&conf)?;
/// assert_eq!(conf.bridge, "cni0");
/// assert!(conf.is_gateway);
/// assert_eq!(conf.mtu, None);
///
/// let conf = json::parse(br#"{"mtu": "1500"}"#)?;
/// let error = json::decode::<Conf>(&conf).err().map(|e| e.to_string());
/// assert_eq!(error.as_deref(), Some("mtu: expected an integer, got string"));
/// # Ok::<(), json::Error>(())
/// ```
///
/// # Errors
/// The path of the key, then what was expected and what was found, or the error of the
/// field's own `Deserialize`.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(Decoder(value))
}

#[derive(Clone, Copy)]
struct Decoder<'de>(&'de Value);

impl Decoder<'_> {
    #[cold]
    fn expected(self, what: &str) -> Error {
        Error::new(format!("expected {what}, got {}", kind(self.0)))
    }

    /// Returns an integer of the range of `i64` or `u64`.
    fn integer(self) -> Result<i128, Error> {
        let Value::Number(number) = self.0 else {
            return Err(self.expected("an integer"));
        };
        match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Ok(value.into()),
            (None, Some(value)) => Ok(value.into()),
            (None, None) => Err(Error::new(format!(
                "expected an integer, got {number}: write it without fraction or exponent"
            ))),
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let value = self.integer()?;
            match <$type>::try_from(value) {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Error::new(format!(
                    "{value} is out of range, expected {} to {}", <$type>::MIN, <$type>::MAX
                ))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Decoder<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, Some(value)) => visitor.visit_f64(value),
                _ => Err(self.expected("a number in range")),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(list) => visit_list(list, visitor),
            Value::Object(object) => visit_object(object, visitor),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_f64() {
            Some(value) => visitor.visit_f64(value),
            None => Err(self.expected("a number")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.expected("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(list) => visit_list(list, visitor),
            _ => Err(self.expected("an array")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => visit_object(object, visitor),
            _ => Err(self.expected("an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => {
                #[cfg(feature = "record-keys")]
                super::record::note(object, fields.iter().copied());
                visitor.visit_map(Fields {
                    object,
                    all: fields,
                    fields: fields.iter(),
                    entry: None,
                })
            }
            _ => Err(self.expected("an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            _ => Err(self.expected("a string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct identifier }
}

impl<'de> IntoDeserializer<'de, Error> for Decoder<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn visit_list<'de, V: Visitor<'de>>(list: &'de [Value], visitor: V) -> Result<V::Value, Error> {
    let mut elements = Elements {
        elements: list.iter(),
        len: list.len(),
    };
    let value = visitor.visit_seq(&mut elements)?;
    match elements.elements.len() {
        0 => Ok(value),
        rest => Err(Error::invalid_length(
            list.len(),
            &Shorter(list.len() - rest),
        )),
    }
}

/// The expectation of an error about a list with too many elements.
struct Shorter(usize);

impl serde::de::Expected for Shorter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not more than {} elements", self.0)
    }
}

struct Elements<'de> {
    elements: std::slice::Iter<'de, Value>,
    len: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let index = self.len - self.elements.len();
        match self.elements.next() {
            None => Ok(None),
            Some(element) => seed
                .deserialize(Decoder(element))
                .map(Some)
                .map_err(|e| e.in_element(index)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

fn visit_object<'de, V: Visitor<'de>>(
    object: &'de Map<String, Value>,
    visitor: V,
) -> Result<V::Value, Error> {
    visitor.visit_map(Members {
        members: object.iter(),
        entry: None,
    })
}

/// Access to all members of an object, for maps.
struct Members<'de> {
    members: serde_json::map::Iter<'de>,
    entry: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.members.next() else {
            return Ok(None);
        };
        self.entry = Some((key, value));
        seed.deserialize(BorrowedStrDeserializer::new(key))
            .map(Some)
            .map_err(|e: Error| e.in_key(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        next_value(&mut self.entry, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}

/// Access to the members that match the fields of a struct, under the fields' names.
struct Fields<'de> {
    object: &'de Map<String, Value>,
    all: &'static [&'static str],
    fields: std::slice::Iter<'static, &'static str>,
    entry: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        for field in self.fields.by_ref() {
            let member = self
                .object
                .iter()
                .rev()
                .find(|(key, v)| !v.is_null() && is_key_of(key, field, self.all));
            if let Some((key, value)) = member {
                self.entry = Some((key, value));
                return seed.deserialize(StrDeserializer::new(field)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        next_value(&mut self.entry, seed)
    }
}

/// Returns whether a key belongs to `field`, one of the fields `all` of a struct.
fn is_key_of(key: &str, field: &str, all: &[&str]) -> bool {
    key == field
        || same_key(key, field)
            && !all.contains(&key)
            && all.iter().find(|other| same_key(key, other)) == Some(&field)
}

fn next_value<'de, S: DeserializeSeed<'de>>(
    entry: &mut Option<(&'de str, &'de Value)>,
    seed: S,
) -> Result<S::Value, Error> {
    match entry.take() {
        Some((key, value)) => seed.deserialize(Decoder(value)).map_err(|e| e.in_key(key)),
        None => Err(Error::new("a value was asked for before its key")),
    }
}
