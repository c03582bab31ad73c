//! What the bytes of a message mean, by the schema of its type: see `tombolo::Message`. The
//! schema comes from the segment, where any process with write access may have written it.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    /// A name, characters, or a number that JSON cannot carry.
    Text(String),
    List(Vec<Field>),
    Struct(Vec<(String, Field)>),
}

/// So deep can structs be in each other.
const DEPTH: u32 = 16;

/// The fields of a whole message. `None` if the schema does not say them.
pub(super) fn decode(schema: &str, bytes: &[u8]) -> Option<Field> {
    let mut all = Vec::new();
    let mut left = bytes;
    // An array has the schema of its elements.
    while !left.is_empty() {
        let before = left.len();
        let mut reader = Reader { schema, bytes: left };
        all.push(reader.value(DEPTH)?);
        if !reader.schema.is_empty() || reader.bytes.len() == before {
            return None;
        }
        left = reader.bytes;
    }
    Some(folded(all))
}

/// One value as itself, bytes as a text if they are one.
fn folded(mut all: Vec<Field>) -> Field {
    match all.pop() {
        Some(only) if all.is_empty() => only,
        Some(last) => {
            all.push(last);
            Field::List(all)
        }
        None => Field::List(all),
    }
}

struct Reader<'a> {
    schema: &'a str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The schema up to one of these characters.
    fn word(&mut self, until: &[char]) -> &'a str {
        let end = self.schema.find(until).unwrap_or(self.schema.len());
        let (word, rest) = self.schema.split_at(end);
        self.schema = rest;
        word
    }

    fn eat(&mut self, c: char) -> Option<()> {
        self.schema = self.schema.strip_prefix(c)?;
        Some(())
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*first)
    }

    /// The value of the type that the schema goes on with, or an array of such.
    fn value(&mut self, depth: u32) -> Option<Field> {
        let depth = depth.checked_sub(1)?;
        let start = self.schema;
        let bytes = self.bytes;
        let one = self.single(depth)?;
        if !self.schema.starts_with('[') {
            return Some(one);
        }
        self.eat('[')?;
        let count: usize = self.word(&[']']).parse().ok()?;
        self.eat(']')?;
        let after = self.schema;
        let mut all = Vec::new();
        self.bytes = bytes;
        for _ in 0..count {
            self.schema = start;
            let before = self.bytes.len();
            all.push(self.single(depth)?);
            // Nothing repeated is endless.
            (self.bytes.len() < before).then_some(())?;
        }
        self.schema = after;
        Some(if start.starts_with("u8[") { characters(all) } else { Field::List(all) })
    }

    fn single(&mut self, depth: u32) -> Option<Field> {
        let name = self.word(&['{', '}', '[', ',', ':']);
        if self.schema.starts_with('{') {
            self.eat('{')?;
            return self.members(depth);
        }
        if self.schema.starts_with(':') && self.is_enum() {
            self.eat(':')?;
            let kind = self.word(&['{']);
            self.eat('{')?;
            let value = self.number(kind)?;
            let variants = self.word(&['}']);
            self.eat('}')?;
            let named = variants.split(',').filter_map(|it| it.split_once('='));
            let said = value.to_string();
            let variant = named.into_iter().find(|(_, number)| *number == said);
            return Some(variant.map_or(value, |(name, _)| Field::Text(name.to_owned())));
        }
        self.number(name)
    }

    /// Whether `:u8{` or the like follows.
    fn is_enum(&self) -> bool {
        let kind = self.schema.get(1..).and_then(|rest| rest.split_once('{'));
        kind.is_some_and(|(kind, _)| {
            matches!(kind, "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64")
        })
    }

    fn members(&mut self, depth: u32) -> Option<Field> {
        let mut members = Vec::new();
        while self.eat('}').is_none() {
            let name = self.word(&[':']).to_owned();
            self.eat(':')?;
            members.push((name, self.value(depth)?));
            if self.eat(',').is_none() {
                self.eat('}')?;
                break;
            }
        }
        Some(Field::Struct(members))
    }

    fn number(&mut self, kind: &str) -> Option<Field> {
        Some(match kind {
            "u8" => Field::Unsigned(u8::from_ne_bytes(self.take()?).into()),
            "u16" => Field::Unsigned(u16::from_ne_bytes(self.take()?).into()),
            "u32" => Field::Unsigned(u32::from_ne_bytes(self.take()?).into()),
            "u64" => Field::Unsigned(u64::from_ne_bytes(self.take()?)),
            "u128" => Field::Text(u128::from_ne_bytes(self.take()?).to_string()),
            "i8" => Field::Signed(i8::from_ne_bytes(self.take()?).into()),
            "i16" => Field::Signed(i16::from_ne_bytes(self.take()?).into()),
            "i32" => Field::Signed(i32::from_ne_bytes(self.take()?).into()),
            "i64" => Field::Signed(i64::from_ne_bytes(self.take()?)),
            "i128" => Field::Text(i128::from_ne_bytes(self.take()?).to_string()),
            "f32" => Field::Float(f32::from_ne_bytes(self.take()?).into()),
            "f64" => Field::Float(f64::from_ne_bytes(self.take()?)),
            "bool" => Field::Bool(self.take::<1>()? != [0]),
            "char" => {
                let code = u32::from_ne_bytes(self.take()?);
                Field::Text(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).into())
            }
            _ => return None,
        })
    }
}

/// Bytes as a text if all of them are printed, but for zeros at the end.
fn characters(bytes: Vec<Field>) -> Field {
    let byte = |field: &Field| match field {
        Field::Unsigned(byte) => u8::try_from(*byte).ok(),
        _ => None,
    };
    let text: Option<Vec<u8>> = bytes.iter().map(byte).collect();
    let text = text.unwrap_or_default();
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = text.get(..end).unwrap_or_default();
    if !text.is_empty() && text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        Field::Text(String::from_utf8_lossy(text).into_owned())
    } else {
        Field::List(bytes)
    }
}

impl fmt::Display for Field {
    /// `id 1, price 101.5, side Buy`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => write!(f, "{number}"),
            Self::Signed(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
            Self::List(all) => {
                let mut between = "[";
                for one in all {
                    write!(f, "{between}{one}")?;
                    between = " ";
                }
                f.write_str(if all.is_empty() { "[]" } else { "]" })
            }
            Self::Struct(members) => {
                let mut between = "";
                for (name, value) in members {
                    match value {
                        Self::Struct(_) => write!(f, "{between}{name} ({value})")?,
                        _ => write!(f, "{between}{name} {value}")?,
                    }
                    between = ", ";
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unsigned(number) => number.serialize(to),
            Self::Signed(number) => number.serialize(to),
            Self::Float(number) => number.serialize(to),
            Self::Bool(value) => value.serialize(to),
            Self::Text(text) => text.serialize(to),
            Self::List(all) => all.serialize(to),
            Self::Struct(members) => {
                let mut map = to.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: &str, bytes: &[u8]) -> Option<String> {
        decode(schema, bytes).map(|field| field.to_string())
    }

    #[test]
    fn fields_are_what_the_schema_says() {
        let tick = "Tick{id:u64,price:f64,side:Side:u8{Buy=1,Sell=2},venue:u8[7]}";
        let mut bytes = 7_u64.to_ne_bytes().to_vec();
        bytes.extend(101.5_f64.to_ne_bytes());
        bytes.extend(b"\x02XETRA\0\0");
        assert_eq!(said(tick, &bytes).unwrap(), "id 7, price 101.5, side Sell, venue XETRA");
        bytes[16] = 9;
        assert!(said(tick, &bytes).unwrap().contains("side 9"));
        assert_eq!(said("u16", &[1, 0, 2, 0]).unwrap(), "[1 2]");
        let nested = "A{b:B{c:i8,d:bool[2]}[2],e:char}";
        assert_eq!(
            said(nested, &[0xFF, 1, 0, 2, 0, 1, b'x', 0, 0, 0]).unwrap(),
            "b [c -1, d [true false] c 2, d [false true]], e x"
        );
    }

    #[test]
    fn what_no_schema_says_is_not_made_up() {
        for schema in [
            "", "bytes", "{", "A{", "A{b}", "A{b:u8", "u8[", "u8[9", "u8[9]", "A{}", ":u8{",
            "u8[0]",
        ] {
            assert_eq!(decode(schema, &[1, 2, 3]), None, "{schema}");
        }
        let deep = "A{a:".repeat(60);
        assert_eq!(decode(&deep, &[1; 300]), None);
        assert_eq!(decode("A{a:A{}[4000000000]}", &[1; 300]), None);
    }
}
