//! Go's `encoding/gob`, as far as the daemon's protocol needs it.
//!
//! A stream consists of messages, each preceded by its length. A message defines a type or
//! carries a value of a type that was defined before (package documentation of
//! `encoding/gob`, "Encoding Details"). Fields of structures are matched by name, so
//! decoding follows the definitions of the sender.

use std::collections::BTreeMap;

/// Identifiers of the basic types.
pub(super) const BOOL: i64 = 1;
pub(super) const INT: i64 = 2;
pub(super) const UINT: i64 = 3;
pub(super) const FLOAT: i64 = 4;
pub(super) const BYTES: i64 = 5;
pub(super) const STRING: i64 = 6;
const COMPLEX: i64 = 7;
/// Identifiers of the types of which definitions consist.
pub(super) const WIRE_TYPE: i64 = 16;
const ARRAY_TYPE: i64 = 17;
const COMMON_TYPE: i64 = 18;
const SLICE_TYPE: i64 = 19;
const STRUCT_TYPE: i64 = 20;
const FIELD_TYPE: i64 = 21;
const FIELD_TYPES: i64 = 22;
const MAP_TYPE: i64 = 23;
/// Not Go's number: types that encode themselves, whose definition is a common type only.
const OPAQUE_TYPE: i64 = 24;

/// Most types that a peer may define, elements of a list, and levels of nesting.
const MOST_TYPES: usize = 64;
const MOST_ELEMENTS: usize = 4096;
const DEEPEST: u32 = 16;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// Byte slices and strings.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// Fields that are not zero, by name.
    Struct(Vec<(String, Value)>),
    /// A value of a type that the protocol does not use.
    Other,
}

impl Value {
    /// Returns a field of a structure.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        let Value::Struct(fields) = self else {
            return None;
        };
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value)
    }

    /// Returns a field of bytes or text, empty if it is absent.
    pub(super) fn bytes(&self, name: &str) -> &[u8] {
        match self.field(name) {
            Some(Value::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Returns a text field, empty if it is absent.
    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.bytes(name)).into_owned()
    }

    /// Returns a field with a list, empty if it is absent.
    pub(super) fn list(&self, name: &str) -> &[Value] {
        match self.field(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// Returns a field with a number; `None` if it is absent, or zero.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        match self.field(name) {
            Some(Value::Int(number)) => Some(*number),
            Some(Value::Uint(number)) => i64::try_from(*number).ok(),
            _ => None,
        }
    }
}

/// A defined type.
#[derive(Clone, Debug)]
pub(super) enum Type {
    List(i64),
    Map(i64, i64),
    Struct(Vec<(String, i64)>),
    /// Bytes in a form of the type's own.
    Opaque,
}

/// Types that a peer has defined on a connection.
#[derive(Debug)]
pub(super) struct Decoder {
    types: BTreeMap<i64, Type>,
}

impl Default for Decoder {
    fn default() -> Decoder {
        let fields = |list: &[(&str, i64)]| {
            Type::Struct(
                list.iter()
                    .map(|(name, id)| ((*name).to_owned(), *id))
                    .collect(),
            )
        };
        let common = ("CommonType", COMMON_TYPE);
        let wire_type = [
            ("ArrayT", ARRAY_TYPE),
            ("SliceT", SLICE_TYPE),
            ("StructT", STRUCT_TYPE),
            ("MapT", MAP_TYPE),
            ("GobEncoderT", OPAQUE_TYPE),
            ("BinaryMarshalerT", OPAQUE_TYPE),
            ("TextMarshalerT", OPAQUE_TYPE),
        ];
        let types = [
            (WIRE_TYPE, fields(&wire_type)),
            (ARRAY_TYPE, fields(&[common, ("Elem", INT), ("Len", INT)])),
            (COMMON_TYPE, fields(&[("Name", STRING), ("Id", INT)])),
            (SLICE_TYPE, fields(&[common, ("Elem", INT)])),
            (STRUCT_TYPE, fields(&[common, ("Field", FIELD_TYPES)])),
            (FIELD_TYPE, fields(&[("Name", STRING), ("Id", INT)])),
            (FIELD_TYPES, Type::List(FIELD_TYPE)),
            (MAP_TYPE, fields(&[common, ("Key", INT), ("Elem", INT)])),
            (OPAQUE_TYPE, fields(&[common])),
        ];
        Decoder {
            types: types.into_iter().collect(),
        }
    }
}

/// Why a stream cannot be decoded.
pub(super) type Malformed = &'static str;

impl Decoder {
    /// Takes one message; returns its value, or `None` for the definition of a type.
    ///
    /// # Errors
    /// When it is malformed.
    pub(super) fn message(&mut self, message: &[u8]) -> Result<Option<Value>, Malformed> {
        let mut input = Input(message);
        let id = input.int()?;
        if id >= 0 {
            return self.value(&mut input, id, true).map(Some);
        }
        let definition = self.value(&mut input, WIRE_TYPE, true)?;
        let id = id
            .checked_neg()
            .ok_or("a type identifier is out of range")?;
        if self.types.len() >= MOST_TYPES || self.types.contains_key(&id) {
            return Err("too many types, or one is defined twice");
        }
        self.types.insert(id, defined(&definition)?);
        Ok(None)
    }

    fn value(&self, input: &mut Input<'_>, id: i64, is_whole: bool) -> Result<Value, Malformed> {
        // A whole value that is no structure has a zero before it.
        if is_whole && !matches!(self.types.get(&id), Some(Type::Struct(_))) && input.uint()? != 0 {
            return Err("a value that is no structure has a field");
        }
        self.nested(input, id, 0)
    }

    fn nested(&self, input: &mut Input<'_>, id: i64, depth: u32) -> Result<Value, Malformed> {
        if depth > DEEPEST {
            return Err("values are nested too deeply");
        }
        match (id, self.types.get(&id)) {
            (BOOL, _) => Ok(Value::Bool(input.uint()? != 0)),
            (INT, _) => Ok(Value::Int(input.int()?)),
            (UINT, _) => Ok(Value::Uint(input.uint()?)),
            (FLOAT, _) => input.uint().map(|_| Value::Other),
            (COMPLEX, _) => input
                .uint()
                .and_then(|_| input.uint())
                .map(|_| Value::Other),
            (BYTES | STRING, _) => Ok(Value::Bytes(input.bytes()?.to_vec())),
            (_, Some(Type::Opaque)) => input.bytes().map(|_| Value::Other),
            (_, Some(Type::List(element))) => {
                let elements = (0..input.count()?).map(|_| self.nested(input, *element, depth + 1));
                elements.collect::<Result<_, _>>().map(Value::List)
            }
            (_, Some(Type::Map(key, element))) => {
                for _ in 0..input.count()? {
                    self.nested(input, *key, depth + 1)?;
                    self.nested(input, *element, depth + 1)?;
                }
                Ok(Value::Other)
            }
            (_, Some(Type::Struct(fields))) => self.structure(input, fields, depth),
            (_, None) => Err("a type was not defined"),
        }
    }

    fn structure(
        &self,
        input: &mut Input<'_>,
        fields: &[(String, i64)],
        depth: u32,
    ) -> Result<Value, Malformed> {
        let mut values = Vec::new();
        // Numbers of fields are sent as differences; the first one is that to -1.
        let mut next = 0usize;
        loop {
            let delta = usize::try_from(input.uint()?).map_err(|_| "a field is out of range")?;
            if delta == 0 {
                return Ok(Value::Struct(values));
            }
            let at = next.saturating_add(delta - 1);
            let (name, id) = fields.get(at).ok_or("a field is out of range")?;
            values.push((name.clone(), self.nested(input, *id, depth + 1)?));
            next = at + 1;
        }
    }
}

/// Returns the type that a definition describes.
fn defined(definition: &Value) -> Result<Type, Malformed> {
    let Value::Struct(parts) = definition else {
        return Err("a definition is no structure");
    };
    let [(kind, part)] = parts.as_slice() else {
        return Err("a definition is not of one kind");
    };
    let id = |name| part.int(name).unwrap_or_default();
    Ok(match kind.as_str() {
        "ArrayT" | "SliceT" => Type::List(id("Elem")),
        "MapT" => Type::Map(id("Key"), id("Elem")),
        "StructT" => {
            let fields = part.list("Field").iter();
            let field = |field: &Value| (field.text("Name"), field.int("Id").unwrap_or_default());
            Type::Struct(fields.map(field).collect())
        }
        _ => Type::Opaque,
    })
}

/// What is left of a message.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("the message is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn uint(&mut self) -> Result<u64, Malformed> {
        let (number, length) = uint(self.0)?.ok_or("the message is cut off")?;
        self.take(length)?;
        Ok(number)
    }

    fn int(&mut self) -> Result<i64, Malformed> {
        let number = self.uint()?;
        let half = (number >> 1).cast_signed();
        Ok(if number & 1 == 0 { half } else { !half })
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.uint()?).map_err(|_| "a length is out of range")?;
        self.take(length)
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.uint()?).map_err(|_| "a length is out of range")?;
        // Each element has at least one byte.
        match count <= self.0.len().min(MOST_ELEMENTS) {
            true => Ok(count),
            false => Err("a list is too long"),
        }
    }
}

/// Reads an unsigned number: below 128 one byte, else the negated count of bytes, then these,
/// the highest first. Returns it with its length; `None` if it is not complete.
///
/// # Errors
/// When it has more than eight bytes.
pub(super) fn uint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    if first < 0x80 {
        return Ok(Some((first.into(), 1)));
    }
    let count = usize::from(!first) + 1;
    if count > 8 {
        return Err("a number has more than eight bytes");
    }
    let digits = bytes.get(1..=count);
    Ok(digits.map(|digits| {
        let number = digits
            .iter()
            .fold(0, |number, digit| number << 8 | u64::from(*digit));
        (number, count + 1)
    }))
}

pub(super) fn put_uint(out: &mut Vec<u8>, number: u64) {
    let digits = number.to_be_bytes();
    match u8::try_from(number) {
        Ok(small @ 0..0x80) => out.push(small),
        _ => {
            let count = 8 - number.leading_zeros() as usize / 8;
            // Between 1 and 8.
            out.push(!(count as u8 - 1));
            out.extend(&digits[8 - count..]);
        }
    }
}

pub(super) fn put_int(out: &mut Vec<u8>, number: i64) {
    let doubled = number.cast_unsigned() << 1;
    put_uint(out, if number < 0 { !doubled } else { doubled });
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// A type that this side defines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definition {
    pub(super) id: i64,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
}

/// The shape of a [`Definition`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Slice(i64),
    Struct(&'static [(&'static str, i64)]),
}

/// Types that this side has defined on a connection.
#[derive(Debug)]
pub(super) struct Encoder {
    known: &'static [Definition],
    sent: Vec<i64>,
}

impl Encoder {
    /// Returns an encoder of the types `known`.
    pub(super) fn new(known: &'static [Definition]) -> Encoder {
        Encoder {
            known,
            sent: Vec::new(),
        }
    }

    /// Appends a value of a known structure, preceded by the definitions that it needs.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, id: i64, value: &Value) {
        self.define(out, id);
        let mut message = Vec::new();
        put_int(&mut message, id);
        self.value(&mut message, id, value);
        put_bytes(out, &message);
    }

    fn definition(&self, id: i64) -> Option<&'static Definition> {
        self.known.iter().find(|known| known.id == id)
    }

    fn define(&mut self, out: &mut Vec<u8>, id: i64) {
        let Some(definition) = self.definition(id).filter(|_| !self.sent.contains(&id)) else {
            return;
        };
        self.sent.push(id);
        let mut message = Vec::new();
        put_int(&mut message, -id);
        // The number of a field in the definition of a type: SliceT is 1, StructT is 2.
        let (kind, parts): (u64, Vec<i64>) = match definition.shape {
            Shape::Slice(element) => (1, vec![element]),
            Shape::Struct(fields) => (2, fields.iter().map(|(_, id)| *id).collect()),
        };
        put_uint(&mut message, kind + 1);
        // CommonType: name and identifier.
        put_uint(&mut message, 1);
        if !definition.name.is_empty() {
            put_uint(&mut message, 1);
            put_bytes(&mut message, definition.name.as_bytes());
        }
        put_uint(&mut message, if definition.name.is_empty() { 2 } else { 1 });
        put_int(&mut message, id);
        put_uint(&mut message, 0);
        match definition.shape {
            Shape::Slice(element) => {
                put_uint(&mut message, 1);
                put_int(&mut message, element);
            }
            Shape::Struct([]) => {}
            Shape::Struct(fields) => {
                put_uint(&mut message, 1);
                put_uint(&mut message, fields.len() as u64);
                for (name, id) in fields {
                    put_uint(&mut message, 1);
                    put_bytes(&mut message, name.as_bytes());
                    put_uint(&mut message, 1);
                    put_int(&mut message, *id);
                    put_uint(&mut message, 0);
                }
            }
        }
        // The end of the type, and of the definition.
        put_uint(&mut message, 0);
        put_uint(&mut message, 0);
        put_bytes(out, &message);
        for part in parts {
            self.define(out, part);
        }
    }

    fn value(&self, out: &mut Vec<u8>, id: i64, value: &Value) {
        match (
            value,
            self.definition(id).map(|definition| definition.shape),
        ) {
            (Value::Bool(value), _) => put_uint(out, (*value).into()),
            (Value::Int(value), _) => put_int(out, *value),
            (Value::Uint(value), _) => put_uint(out, *value),
            (Value::Bytes(value), _) => put_bytes(out, value),
            (Value::List(list), Some(Shape::Slice(element))) => {
                put_uint(out, list.len() as u64);
                for value in list {
                    self.value(out, element, value);
                }
            }
            (value, Some(Shape::Struct(fields))) => {
                let mut last = 0;
                for (at, (name, id)) in (1u64..).zip(fields) {
                    if let Some(value) = value.field(name).filter(|value| !is_zero(value)) {
                        put_uint(out, at - last);
                        last = at;
                        self.value(out, *id, value);
                    }
                }
                put_uint(out, 0);
            }
            _ => {}
        }
    }
}

/// Whether a field is left out: zeros and empty lists are.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Bytes(value) => value.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Struct(_) => false,
        Value::Other => true,
    }
}
