//! YAML text → a tree of nodes that know their place. Aliases are shared, merge keys applied,
//! duplicate keys refused; depth and expansion are bounded.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::error::{Error, Position, quoted};
use super::scalar::{Scalar, resolve_plain};

/// Deepest nesting, aliases included. A Pod needs about a dozen levels.
const MAX_DEPTH: usize = 100;
/// Most nodes in an input, aliases expanded. A Pod needs a few hundred.
const MAX_NODES: usize = 200_000;
/// Largest input in bytes, and most bytes that its aliases may add. The API server's own limit is
/// 3 MiB.
pub const MAX_BYTES: usize = 16 << 20;

/// One YAML node.
#[derive(Debug)]
pub struct Node {
    /// Where it starts.
    pub position: Position,
    /// What it is.
    pub value: Value,
    size: Size,
}

/// What a node takes when its aliases are expanded.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Nodes in it, itself included.
    nodes: usize,
    /// Bytes of their texts and keys.
    bytes: usize,
    /// Levels in it, itself included.
    height: usize,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What a node is.
#[derive(Debug)]
pub enum Value {
    /// A scalar. Quoted ones and blocks are always strings.
    Scalar {
        /// The meaning.
        scalar: Scalar,
        /// The text as written, escapes resolved.
        text: String,
    },
    /// A list.
    Seq(Vec<Rc<Node>>),
    /// Entries in the order written, merged ones last; each key once.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub position: Position,
    /// The value.
    pub value: Rc<Node>,
}

impl Entry {
    /// An entry whose key stands at `position`.
    pub(super) fn new(position: Position, key: &str, value: Rc<Node>) -> Self {
        Self {
            key: key.to_owned(),
            position,
            value,
        }
    }
}

impl Node {
    /// A mapping at `position`.
    pub(super) fn map(position: Position, entries: Vec<Entry>) -> Rc<Self> {
        Rc::new(Self::new(position, Value::Map(entries)))
    }

    /// A string at `position`.
    pub(super) fn text(position: Position, text: &str) -> Rc<Self> {
        let scalar = Scalar::Str(text.to_owned());
        let text = text.to_owned();
        Rc::new(Self::new(position, Value::Scalar { scalar, text }))
    }

    /// A node of these parts.
    pub(super) fn new(position: Position, value: Value) -> Self {
        let mut size = Size::default();
        let mut add = |bytes: usize, node: &Self| {
            size.add(node.size);
            size.bytes = size.bytes.saturating_add(bytes);
            size.height = size.height.max(node.size.height);
        };
        match &value {
            Value::Scalar { text, .. } => size.bytes = text.len(),
            Value::Seq(items) => items.iter().for_each(|item| add(0, item)),
            Value::Map(entries) => entries.iter().for_each(|e| add(e.key.len(), &e.value)),
        }
        size.nodes = size.nodes.saturating_add(1);
        size.height = size.height.saturating_add(1);
        Self {
            position,
            value,
            size,
        }
    }

    /// Whether it is `null`, or nothing at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { scalar, .. } if *scalar == Scalar::Null)
    }
}

/// Reads all documents of an input. Empty ones (`null`) are included.
///
/// # Errors
/// The first thing that is not YAML, a duplicate key, or a bound that is exceeded.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Rc<Node>>, Error> {
    let text = decode_text(file, bytes)?;
    let mut composer = Composer {
        file,
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        aliased: Size::default(),
    };
    let mut documents = Vec::new();
    while let Some((event, position)) = composer.next()? {
        match event {
            Event::DocumentStart(..) => composer.anchors.clear(),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            node => documents.push(composer.compose(node, position, 1)?),
        }
    }
    Ok(documents)
}

/// Bytes → text: UTF-8 without byte order mark or control characters.
fn decode_text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error {
            file: file.to_owned(),
            position: None,
            message: format!("more than {MAX_BYTES} bytes, the most a manifest may have"),
            hint: None,
        });
    }
    if bytes.starts_with(&[0xfe, 0xff]) || bytes.starts_with(&[0xff, 0xfe]) {
        let start = Position { line: 1, column: 1 };
        let hint = Some("save it as UTF-8".to_owned());
        return Err(at(file, start, "is UTF-16, not UTF-8".to_owned(), hint));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let good = bytes.get(..e.valid_up_to()).unwrap_or_default();
            let position = position_after(&String::from_utf8_lossy(good));
            let message = "not UTF-8 from here on".to_owned();
            let hint = Some("is this a manifest? Save it as UTF-8".to_owned());
            return Err(at(file, position, message, hint));
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.char_indices().find(|(_, c)| !is_printable(*c)) {
        Some((offset, c)) => {
            let position = position_after(text.get(..offset).unwrap_or_default());
            let message = format!(
                "control character U+{:04X} is not allowed in YAML",
                u32::from(c)
            );
            Err(at(file, position, message, None))
        }
        None => Ok(text),
    }
}

/// YAML 1.1 `c-printable`.
fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

fn position_after(text: &str) -> Position {
    let line_start = text.rfind('\n').map_or(0, |i| i.saturating_add(1));
    let last = text.get(line_start..).unwrap_or_default();
    Position {
        line: text.matches('\n').count().saturating_add(1),
        column: last.chars().count().saturating_add(1),
    }
}

fn at(file: &str, position: Position, message: String, hint: Option<String>) -> Error {
    Error {
        file: file.to_owned(),
        position: Some(position),
        message,
        hint,
    }
}

fn position_of(marker: &Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col().saturating_add(1),
    }
}

struct Composer<'a> {
    file: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    /// Finished anchored nodes of this document, by the parser's number.
    anchors: HashMap<usize, Rc<Node>>,
    /// Nodes so far, aliases not counted.
    nodes: usize,
    /// What aliases added.
    aliased: Size,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Position)>, Error> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, position_of(&span.start)))),
            Some(Err(e)) => Err(self.syntax(&e)),
        }
    }

    fn error(&self, position: Position, message: impl Into<String>, hint: Option<&str>) -> Error {
        at(self.file, position, message.into(), hint.map(str::to_owned))
    }

    fn syntax(&self, e: &ScanError) -> Error {
        let position = position_of(e.marker());
        let hint = match e.kind() {
            ErrorKind::RecursionLimitExceeded => return self.too_deep(position),
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart => Some(TABS),
            ErrorKind::UnexpectedCharacter { .. } => Some("quote what begins with it"),
            _ if e.info().contains("found a tab") => Some(TABS),
            _ => None,
        };
        self.error(position, format!("not valid YAML: {}", e.info()), hint)
    }

    fn too_deep(&self, position: Position) -> Error {
        let message = format!("nested deeper than {MAX_DEPTH} levels");
        self.error(position, message, None)
    }

    fn compose(&mut self, event: Event<'a>, at: Position, depth: usize) -> Result<Rc<Node>, Error> {
        if depth > MAX_DEPTH {
            return Err(self.too_deep(at));
        }
        self.nodes = self.nodes.saturating_add(1);
        self.check_nodes(at)?;
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, at, depth),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, tag.as_deref(), at)?)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_collection_tag(tag.as_deref(), "seq", at)?;
                (anchor, Value::Seq(self.sequence(depth)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_collection_tag(tag.as_deref(), "map", at)?;
                (anchor, Value::Map(self.mapping(depth)?))
            }
            _ => return Err(self.error(at, "not valid YAML: a value was expected", None)),
        };
        let node = Rc::new(Node::new(at, value));
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, at: Position, depth: usize) -> Result<Rc<Node>, Error> {
        // An anchor is known only once its node is finished.
        let Some(node) = self.anchors.get(&id).map(Rc::clone) else {
            return Err(self.error(at, "alias to a value that contains it", None));
        };
        if depth.saturating_add(node.size.height) > MAX_DEPTH.saturating_add(1) {
            return Err(self.too_deep(at));
        }
        self.aliased.add(node.size);
        self.check_nodes(at)?;
        if self.aliased.bytes > MAX_BYTES {
            let message = format!("aliases expand to more than {MAX_BYTES} bytes");
            return Err(self.error(at, message, None));
        }
        Ok(node)
    }

    fn check_nodes(&self, at: Position) -> Result<(), Error> {
        if self.nodes.saturating_add(self.aliased.nodes) <= MAX_NODES {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} values, aliases expanded");
        Err(self.error(at, message, None))
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<Value, Error> {
        let plain = style == ScalarStyle::Plain;
        let string = || Scalar::Str(text.to_owned());
        let scalar = match tag.map(|t| (t, t.core_suffix())) {
            None if plain => resolve_plain(text),
            None | Some((_, Some("str"))) => string(),
            Some((tag, None)) if tag.suffix() == "!" => string(),
            Some((tag, kind)) => {
                let scalar = resolve_plain(text);
                match (kind, scalar) {
                    (Some("bool"), s @ Scalar::Bool(_))
                    | (Some("int"), s @ Scalar::Int(_))
                    | (Some("null"), s @ Scalar::Null)
                    | (Some("float"), s @ (Scalar::Float(_) | Scalar::Int(_))) => s,
                    (None, _) => return Err(self.foreign_tag(tag, at)),
                    _ => {
                        let message = format!("{} is no {}", quoted(text), tag.original());
                        return Err(self.error(at, message, None));
                    }
                }
            }
        };
        Ok(Value::Scalar {
            scalar,
            text: text.to_owned(),
        })
    }

    fn check_collection_tag(
        &self,
        tag: Option<&Tag>,
        kind: &str,
        at: Position,
    ) -> Result<(), Error> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema_tag(kind) => Err(self.foreign_tag(tag, at)),
            _ => Ok(()),
        }
    }

    fn foreign_tag(&self, tag: &Tag, at: Position) -> Error {
        let tag = quoted(&tag.original());
        let message = format!("YAML tag {tag} has no meaning in a manifest");
        self.error(at, message, Some("remove the tag"))
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Rc<Node>>, Error> {
        let mut items = Vec::new();
        while let Some((event, at)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.compose(event, at, depth.saturating_add(1))?);
        }
        Ok(items)
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, Error> {
        let inner = depth.saturating_add(1);
        let mut seen: HashMap<String, Position> = HashMap::new();
        let mut entries = Vec::new();
        let mut merges = Vec::new();
        while let Some((event, position)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let merge = is_merge(&event);
            let key = self.compose(event, position, inner)?;
            let key = self.key(&key, position)?;
            if let Some(first) = seen.insert(key.clone(), position) {
                let key = quoted(&key);
                let message = format!("key {key} stands twice, first in line {}", first.line);
                return Err(self.error(position, message, None));
            }
            let Some((event, at)) = self.next()? else {
                break;
            };
            let value = self.compose(event, at, inner)?;
            if merge {
                merges.push((entries.len(), value));
            } else {
                entries.push(Entry {
                    key,
                    position,
                    value,
                });
            }
        }
        for (before, source) in merges {
            self.merge(&source, before, &mut entries)?;
        }
        Ok(entries)
    }

    fn key(&self, node: &Node, position: Position) -> Result<String, Error> {
        let what = match &node.value {
            Value::Scalar {
                scalar: Scalar::Str(text),
                ..
            } => return Ok(text.clone()),
            // The parser's text for nothing at all.
            Value::Scalar { text, .. } if text == "~" => {
                return Err(self.error(position, "a key is missing before \":\"", None));
            }
            Value::Scalar { scalar, text } => {
                let text = quoted(text);
                let message = format!("key {text} is read as {}, not as a string", kind(scalar));
                let hint = format!("quote it: {text}");
                return Err(self.error(position, message, Some(&hint)));
            }
            Value::Seq(_) => "list",
            Value::Map(_) => "mapping",
        };
        let message = format!("a {what} cannot be a key");
        let hint = "a value that starts with \"{\" or \"[\" (a template?) needs quotes";
        Err(self.error(position, message, Some(hint)))
    }

    /// `<<`: adds what is not there yet; in a list of mappings the first wins. An entry that stands
    /// `before` it and in it would win by YAML's rule and lose by kubectl's, so it is refused.
    fn merge(
        &self,
        source: &Rc<Node>,
        before: usize,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Error> {
        let sources = match &source.value {
            Value::Seq(items) => items.as_slice(),
            _ => std::slice::from_ref(source),
        };
        let earlier = entries.get(..before).unwrap_or_default().iter();
        let earlier: HashMap<String, Position> =
            earlier.map(|e| (e.key.clone(), e.position)).collect();
        let mut have: HashSet<String> = entries.iter().map(|e| e.key.clone()).collect();
        for source in sources {
            let Value::Map(merged) = &source.value else {
                let message = "the value of a merge key \"<<\" must be a mapping or a list of them";
                return Err(self.error(source.position, message, None));
            };
            for entry in merged {
                if let Some(position) = earlier.get(&entry.key) {
                    let key = quoted(&entry.key);
                    let message = format!("key {key} is also merged by the \"<<\" after it");
                    return Err(self.error(*position, message, Some(MERGE_FIRST)));
                }
                if have.insert(entry.key.clone()) {
                    entries.push(entry.clone());
                }
            }
        }
        Ok(())
    }
}

const TABS: &str = "YAML is indented with spaces, not tabs";
const MERGE_FIRST: &str = "move \"<<\" to the top of its mapping; kubectl lets a later one win";

fn is_merge(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// What a scalar is called in messages, with its article.
#[must_use]
pub fn kind(scalar: &Scalar) -> &'static str {
    match scalar {
        Scalar::Null => "null",
        Scalar::Bool(_) => "a boolean",
        Scalar::Int(_) | Scalar::Float(_) => "a number",
        Scalar::Str(_) => "a string",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    /// Documents that kubectl takes and we refuse.
    const REFUSED: &[(&str, &str)] = &[
        (
            "base: &b {p: 1, q: 2}\nm:\n  q: 3\n  <<: *b\n",
            "m.yaml:3:3: key \"q\" is also merged by the \"<<\" after it",
        ),
        (
            "a: 1\na: 2\n",
            "m.yaml:2:1: key \"a\" stands twice, first in line 1",
        ),
        (
            "a: {b: 1, b: 2}\n",
            "m.yaml:1:11: key \"b\" stands twice, first in line 1",
        ),
        (
            "a: !foo b\n",
            "m.yaml:1:9: YAML tag \"!foo\" has no meaning in a manifest",
        ),
        (
            "a: !!binary aGk=\n",
            "m.yaml:1:13: YAML tag \"!!binary\" has no meaning in a manifest",
        ),
        (
            "a: !!timestamp 2001-01-01\n",
            "m.yaml:1:16: YAML tag \"!!timestamp\" has no meaning in a manifest",
        ),
        (
            "a: !!set {b, c}\n",
            "m.yaml:1:10: YAML tag \"!!set\" has no meaning in a manifest",
        ),
        (
            "a: b#c\nd: \"e\"#f\n",
            "m.yaml:2:7: not valid YAML: comments must be separated from other tokens by whitespace",
        ),
    ];
    /// Documents that kubectl's YAML reader refuses and we take. The first two are JSON, which
    /// kubectl reads with another reader; then YAML 1.2.
    const TAKEN: &[&str] = &[
        "{\"a\": {\"b\": [1, 2.5, true, null, \"x\\u00e9\\/\\n\"]}, \"c\": 1e3}",
        "{\"a\": \"\\ud83d\\ude00\"}",
        "%YAML 1.2\n---\na: b\n",
        "%FOO bar\n---\na: b\n",
        "a: x\u{85}y\u{2028}z\n",
    ];

    /// Numbers as Go's JSON has them: without a difference between whole ones and others.
    fn to_json(node: &Node) -> Json {
        match &node.value {
            Value::Scalar { scalar, .. } => match scalar {
                Scalar::Null => Json::Null,
                Scalar::Bool(value) => json!(value),
                Scalar::Int(value) => floats(&serde_json::from_str(&value.to_string()).unwrap()),
                Scalar::Float(value) => json!(value),
                Scalar::Str(value) => json!(value),
            },
            Value::Seq(items) => items.iter().map(|item| to_json(item)).collect(),
            Value::Map(entries) => {
                let pairs = entries.iter();
                let pairs = pairs.map(|e| (e.key.clone(), to_json(&e.value)));
                Json::Object(pairs.collect())
            }
        }
    }

    fn floats(json: &Json) -> Json {
        match json {
            Json::Number(number) => json!(number.as_f64()),
            Json::Array(items) => items.iter().map(floats).collect(),
            Json::Object(map) => {
                let pairs = map.iter().map(|(key, value)| (key.clone(), floats(value)));
                Json::Object(pairs.collect())
            }
            other => other.clone(),
        }
    }

    fn read(text: &str) -> Result<Json, String> {
        let documents = parse("m.yaml", text.as_bytes()).map_err(|e| e.to_string())?;
        Ok(documents.first().map_or(Json::Null, |doc| to_json(doc)))
    }

    /// `fixtures/kubernetes/`: what `sigs.k8s.io/yaml` makes of each.
    fn table(text: &str) -> Vec<(String, Json)> {
        let rows: Vec<_> = serde_json::from_str(text).unwrap();
        assert!(rows.len() > 80);
        rows
    }

    #[test]
    fn documents_mean_what_they_mean_to_kubectl() {
        for (text, want) in table(include_str!("../../fixtures/kubernetes/documents.json")) {
            let refused = REFUSED.iter().find(|(known, _)| *known == text);
            match (read(&text), want.get("json"), refused) {
                (got, _, Some((_, message))) => {
                    assert_eq!(got, Err((*message).to_owned()), "{text:?}");
                }
                (got, Some(json), None) => assert_eq!(got, Ok(floats(json)), "{text:?}"),
                (got, None, None) => {
                    let taken = TAKEN.contains(&text.as_str());
                    assert_eq!(got.is_ok(), taken, "{text:?}: {got:?}");
                }
            }
        }
        assert_eq!(read(TAKEN[1]), Ok(json!({"a": "\u{1f600}"})));
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl() {
        for (text, want) in table(include_str!("../../fixtures/kubernetes/scalars.json")) {
            let got = read(&format!("v: {text}\n"));
            match want.get("json") {
                Some(json) => assert_eq!(got, Ok(floats(json)), "{text:?}"),
                // Not numbers in JSON, so kubectl goes no further.
                None if want["error"]
                    .as_str()
                    .unwrap()
                    .contains("unsupported value") =>
                {
                    assert_eq!(got, Ok(json!({"v": null})), "{text:?}");
                }
                None => assert!(got.is_err(), "{text:?}: {got:?}"),
            }
        }
    }
}
