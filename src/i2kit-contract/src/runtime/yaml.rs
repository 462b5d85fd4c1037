//! A YAML or JSON text as typed data, for documents that may hold secrets: errors name a line and
//! what is expected there, never what was found. Bounded in depth; one document, no anchors, no
//! aliases, no tags.

use std::fmt;

use granit_parser::{Event, Marker, Parser, ScalarStyle, StrInput};
use serde::de::{self, DeserializeSeed, Deserializer, Visitor, value::StrDeserializer};

/// Deepest nesting. A document of ours needs six levels.
const MAX_DEPTH: usize = 16;

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    place: Option<Place>,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place: Some(place),
            message: message.into(),
        }
    }

    /// Says where, unless that is known more exactly.
    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }
}

/// Serde's own messages show the value that was found; these don't.
impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            place: None,
            message: message.to_string(),
        }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Map => "a mapping",
            de::Unexpected::Seq => "a list",
            de::Unexpected::Unit => "nothing",
            _ => "a scalar",
        };
        Self::custom(format_args!("{found} where {expected} is expected"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("not {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("not one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        // A key is no secret, but may be anything, of any length.
        let shown: String = field.escape_debug().take(64).collect();
        Self::custom(format_args!(
            "unknown key \"{shown}\"; known are {}",
            expected.join(", ")
        ))
    }
}

/// Parses one document.
///
/// # Errors
/// [`Error`] for what is no YAML, is nested too deep, has a key twice, or is no `T`.
pub fn parse<'de, T: de::Deserialize<'de>>(text: &'de str) -> Result<T, Error> {
    let mut composer = Composer {
        parser: Parser::new_from_str(text),
    };
    let node = composer.document()?;
    T::deserialize(&node)
}

#[derive(Debug)]
struct Node {
    place: Place,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Scalar { text: String, plain: bool },
    Seq(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
struct Key {
    place: Place,
    text: String,
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Error> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span.start))),
            // The parser's words may quote the text.
            Some(Err(error)) => Err(Error::new(place(error.marker()), "not valid YAML")),
            None => Err(de::Error::custom("not valid YAML: it ends too early")),
        }
    }

    fn document(&mut self) -> Result<Node, Error> {
        let mut found = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if found.is_some() => return Err(Error::new(place, "a second document")),
                event => found = Some(self.node(event, place, 1)?),
            }
        }
        found.ok_or_else(|| de::Error::custom("the document is empty"))
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Error> {
        if depth > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Error::new(place, message));
        }
        let (anchor, tagged, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let text = text.into_owned();
                (anchor, tag.is_some(), Value::Scalar { text, plain })
            }
            Event::SequenceStart(_, anchor, tag) => {
                (anchor, tag.is_some(), Value::Seq(self.sequence(depth)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                (anchor, tag.is_some(), Value::Map(self.mapping(depth)?))
            }
            _ => return Err(Error::new(place, "an alias, which is not supported here")),
        };
        if anchor != 0 || tagged {
            let message = "an anchor or a tag, which are not supported here";
            return Err(Error::new(place, message));
        }
        Ok(Node { place, value })
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Error> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let (event, place) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(event, place, depth + 1)?;
            let Value::Scalar { text, .. } = key.value else {
                return Err(Error::new(place, "a key that is no scalar"));
            };
            if !seen.insert(text.clone()) {
                return Err(Error::new(place, "the same key a second time"));
            }
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            entries.push((Key { place, text }, value));
        }
    }
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col().saturating_add(1),
    }
}

impl Node {
    fn is_null(&self) -> bool {
        let null = ["", "~", "null", "Null", "NULL"];
        matches!(&self.value, Value::Scalar { text, plain: true } if null.contains(&text.as_str()))
    }

    /// The text of a scalar as it was written, whatever YAML would take it for: what is wanted is
    /// known.
    fn text(&self, visitor: &dyn de::Expected) -> Result<&str, Error> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Ok(text),
            _ => Err(self.mismatch(visitor)),
        }
    }

    fn plain<T: std::str::FromStr>(&self, visitor: &dyn de::Expected) -> Result<T, Error> {
        match &self.value {
            Value::Scalar { text, plain: true } => text.parse().map_err(|_| self.mismatch(visitor)),
            _ => Err(self.mismatch(visitor)),
        }
    }

    fn mismatch(&self, expected: &dyn de::Expected) -> Error {
        let found = match &self.value {
            _ if self.is_null() => de::Unexpected::Unit,
            Value::Scalar { .. } => de::Unexpected::Str(""),
            Value::Seq(_) => de::Unexpected::Seq,
            Value::Map(_) => de::Unexpected::Map,
        };
        <Error as de::Error>::invalid_type(found, expected).at(self.place)
    }
}

/// Numbers and truth are plain scalars; the visitor checks the range.
macro_rules! plain {
    ($($method:ident $visit:ident $kind:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let value: $kind = self.plain(&visitor)?;
            visitor.$visit(value).map_err(|error: Error| error.at(self.place))
        }
    )*};
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Error;

    plain!(
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i64 i64, deserialize_i16 visit_i64 i64,
        deserialize_i32 visit_i64 i64, deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u64 u64, deserialize_u16 visit_u64 u64,
        deserialize_u32 visit_u64 u64, deserialize_u64 visit_u64 u64,
        deserialize_f32 visit_f64 f64, deserialize_f64 visit_f64 f64
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            _ if self.is_null() => visitor
                .visit_unit()
                .map_err(|error: Error| error.at(self.place)),
            Value::Scalar { .. } => self.deserialize_str(visitor),
            Value::Seq(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text(&visitor)?;
        visitor
            .visit_str(text)
            .map_err(|error: Error| error.at(self.place))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Seq(items) => visitor
                .visit_seq(Items(items.iter()))
                .map_err(|error| error.at(self.place)),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Map(entries) => visitor
                .visit_map(Entries {
                    rest: entries.iter(),
                    value: None,
                })
                .map_err(|error| error.at(self.place)),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.text(&visitor)?;
        visitor
            .visit_enum(StrDeserializer::new(text))
            .map_err(|error: Error| error.at(self.place))
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let node = self.0.next();
        node.map(|node| seed.deserialize(node).map_err(|error| error.at(node.place)))
            .transpose()
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a Node>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let parsed = seed.deserialize(StrDeserializer::new(&key.text));
        parsed.map(Some).map_err(|error: Error| error.at(key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.value.take() {
            // Some errors, such as a wrong element, know no place of their own.
            Some(node) => seed.deserialize(node).map_err(|error| error.at(node.place)),
            None => Err(de::Error::custom("a value without its key")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        name: String,
        #[serde(default)]
        size: Option<u16>,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        list: Vec<String>,
        #[serde(default)]
        map: BTreeMap<String, String>,
    }

    fn message(text: &str) -> String {
        parse::<Thing>(text).unwrap_err().to_string()
    }

    #[test]
    fn yaml_and_json_are_read_alike() {
        let yaml = "name: a\nsize: 7\non: true\nlist: [x, \"y\"]\nmap:\n  k: 0x10\n";
        let json = r#"{"name":"a","size":7,"on":true,"list":["x","y"],"map":{"k":"0x10"}}"#;
        let thing: Thing = parse(yaml).unwrap();
        assert_eq!(thing, parse(json).unwrap());
        assert_eq!((thing.size, thing.map["k"].as_str()), (Some(7), "0x10"));
    }

    #[test]
    fn errors_name_the_place_and_never_the_value() {
        for (text, expected) in [
            (
                "name: a\nsize: s3cret",
                "line 2, column 7: a scalar where u16 is expected",
            ),
            ("name: a\nsize: 65536", "line 2, column 7: not u16"),
            (
                "name: a\nlist: s3cret",
                "line 2, column 7: a scalar where a sequence is expected",
            ),
            (
                "name: [s3cret]",
                "line 1, column 7: a list where a string is expected",
            ),
            (
                "name:\nsize: 1",
                "line 1, column 5: nothing where a string is expected",
            ),
            (
                "name: a\nsise: s3cret",
                "line 2, column 1: unknown key \"sise\"; known are name, size, on, list, map",
            ),
            ("size: 1", "line 1, column 1: missing field `name`"),
            (
                "name: a\nmap: {k: a, k: s3cret}",
                "line 2, column 13: the same key a second time",
            ),
            (
                "name: &x s3cret",
                "line 1, column 10: an anchor or a tag, which are not supported here",
            ),
            (
                "name: !!str s3cret",
                "line 1, column 13: an anchor or a tag, which are not supported here",
            ),
            (
                "name: a\n---\nname: s3cret",
                "line 3, column 1: a second document",
            ),
            ("", "the document is empty"),
            ("name: [s3cret", "line 1, column 7: not valid YAML"),
        ] {
            let found = message(text);
            assert_eq!(found, expected, "{text:?}");
            assert!(!found.contains("s3cret"));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("name: {}x{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(
            message(&deep),
            "line 1, column 22: nested deeper than 16 levels"
        );
        let deeper = format!("name: {}", "[".repeat(900_000));
        assert!(
            message(&deeper).contains("nested deeper")
                || message(&deeper).contains("not valid YAML")
        );
    }
}
