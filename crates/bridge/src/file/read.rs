//! Tables, lists and values of JSON5. An error names its key; the parser adds the line of the
//! innermost value that it is about.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::near::meant;

/// Where a value is, as in `channels[2].key`.
#[derive(Clone, Debug)]
pub(super) struct At(String);

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    Text(String),
    Whole(i64),
    Fraction(f64),
    Truth(bool),
    Null,
}

/// What a table is read into.
pub(super) trait Section {
    /// The keys that it may have.
    const KEYS: &'static [&'static str];
    /// Those whose values may be lists, each element of which is put.
    const LISTS: &'static [&'static str] = &[];

    /// Takes a value.
    fn put(&mut self, key: &str, value: Given) -> Result<(), String>;

    /// Looks at what was put, when the table ends.
    fn complete(&mut self) -> Result<(), String>;

    /// Takes a table.
    fn table<'de, A: MapAccess<'de>>(&mut self, at: &At, _: &str, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(at.wrong("is a table, where there shall be one value")))
    }

    /// Takes a list.
    fn list<'de, A: SeqAccess<'de>>(
        &mut self,
        at: &At,
        key: &'static str,
        mut access: A,
    ) -> Result<(), A::Error>
    where
        Self: Sized,
    {
        if !Self::LISTS.contains(&key) {
            return Err(A::Error::custom(at.wrong("is a list, where there shall be one value")));
        }
        let mut n = 0;
        while access
            .next_element_seed(Element(Value { at: &at.nth(n), key, into: self }))?
            .is_some()
        {
            n += 1;
        }
        Ok(())
    }
}

impl At {
    /// The file.
    pub(super) const fn top() -> Self {
        Self(String::new())
    }

    fn key(&self, key: &str) -> Self {
        let dot = if self.0.is_empty() { "" } else { "." };
        Self(format!("{}{dot}{key}", self.0))
    }

    pub(super) fn nth(&self, n: usize) -> Self {
        Self(format!("{}[{n}]", self.0))
    }

    /// What is wrong there, as a sentence.
    pub(super) fn wrong(&self, what: &str) -> String {
        if self.0.is_empty() { what.to_owned() } else { format!("`{}` {what}", self.0) }
    }
}

impl Given {
    /// What it is, for an error.
    fn sort(&self) -> String {
        match self {
            Self::Text(text) => format!("is \"{}\"", text.escape_debug()),
            Self::Whole(number) => format!("is {number}"),
            Self::Fraction(number) => format!("is {number}"),
            Self::Truth(truth) => format!("is {truth}"),
            Self::Null => "is null".to_owned(),
        }
    }

    /// The value as a text.
    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) if text.is_empty() => Err("is empty".to_owned()),
            Self::Text(text) => Ok(text.clone()),
            other => Err(format!("{}, and no text", other.sort())),
        }
    }

    /// The value as a whole number within these bounds.
    pub(super) fn whole(&self, least: u64, most: u64) -> Result<u64, String> {
        let number = match self {
            Self::Whole(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("{}, and no whole number from {least} to {most}", self.sort()))
    }

    /// The value as yes or no.
    pub(super) fn truth(&self) -> Result<bool, String> {
        match self {
            Self::Truth(truth) => Ok(*truth),
            other => Err(format!("{}, and neither true nor false", other.sort())),
        }
    }

    /// The value as one of several words.
    pub(super) fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        let found = known.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            format!("{}, which is not known{}", self.sort(), meant(&text, &words))
        })
    }
}

/// Reads the rest of a table.
pub(super) fn fill<'de, A: MapAccess<'de>, S: Section>(
    at: &At,
    mut access: A,
    into: &mut S,
) -> Result<(), A::Error> {
    let mut seen = Vec::new();
    while let Some(key) = access.next_key_seed(Key { at, known: S::KEYS, seen: &seen })? {
        seen.push(key);
        access.next_value_seed(Value { at: &at.key(key), key, into: &mut *into })?;
    }
    into.complete().map_err(|what| A::Error::custom(at.wrong(&what)))
}

/// Reads a table.
pub(super) struct Table<'a, S> {
    pub(super) at: &'a At,
    pub(super) into: &'a mut S,
}

impl<'de, S: Section> DeserializeSeed<'de> for Table<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, S: Section> Visitor<'de> for Table<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at.wrong("to be a table, as { … }"))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        fill(self.at, access, self.into)
    }
}

/// Reads a key that a table may have.
struct Key<'a> {
    at: &'a At,
    known: &'static [&'static str],
    seen: &'a [&'static str],
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<&'static str, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<&'static str, E> {
        let at = self.at.key(&key.escape_debug().to_string());
        let known = self.known.iter().find(|known| **known == key).ok_or_else(|| {
            E::custom(at.wrong(&format!("is no key that is known{}", meant(key, self.known))))
        })?;
        if self.seen.contains(known) {
            return Err(E::custom(at.wrong("is there twice")));
        }
        Ok(known)
    }
}

/// Reads a value, whatever it is.
struct Value<'a, S> {
    at: &'a At,
    key: &'static str,
    into: &'a mut S,
}

impl<S: Section> Value<'_, S> {
    fn put<E: Error>(self, value: Given) -> Result<(), E> {
        self.into.put(self.key, value).map_err(|what| E::custom(self.at.wrong(&what)))
    }
}

impl<'de, S: Section> DeserializeSeed<'de> for Value<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

/// The values that are neither tables nor lists.
macro_rules! plain_values {
    () => {
        fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
            self.put(Given::Text(text.to_owned()))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
            self.put(Given::Whole(number))
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
            self.put(Given::Fraction(number))
        }

        fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
            self.put(Given::Truth(truth))
        }

        fn visit_unit<E: Error>(self) -> Result<(), E> {
            self.put(Given::Null)
        }
    };
}

impl<'de, S: Section> Visitor<'de> for Value<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at.wrong("to be a value"))
    }

    plain_values!();

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        self.into.table(self.at, self.key, access)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<(), A::Error> {
        self.into.list(self.at, self.key, access)
    }
}

/// Reads an element of a list of values.
struct Element<'a, S>(Value<'a, S>);

impl<S: Section> Element<'_, S> {
    fn put<E: Error>(self, value: Given) -> Result<(), E> {
        self.0.put(value)
    }
}

impl<'de, S: Section> DeserializeSeed<'de> for Element<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, S: Section> Visitor<'de> for Element<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.at.wrong("to be one value"))
    }

    plain_values!();
}
