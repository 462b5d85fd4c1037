//! Nodes → typed values. Every field of a mapping is taken by its decoder or judged by the
//! mapping's [`Schema`], so that nothing is silently ignored.

use super::error::{Error, MAX_ERRORS, Note, Position, quoted};
use super::fields::{self, Fate, Schema};
use super::scalar::Scalar;
use super::yaml::{Entry, Node, Value, kind};

/// Problems and notes found so far in one input.
#[derive(Debug, Default)]
pub struct Report {
    /// The input's name.
    pub file: String,
    /// Problems.
    pub errors: Vec<Error>,
    /// Accepted fields that change nothing.
    pub notes: Vec<Note>,
}

impl Report {
    /// A report on `file` with nothing in it.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a problem.
    pub fn error(&mut self, position: Position, message: impl Into<String>) {
        self.push(position, message.into(), None);
    }

    /// Adds a problem with a known cure.
    pub fn error_hint(
        &mut self,
        position: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(position, message.into(), Some(hint.into()));
    }

    fn push(&mut self, position: Position, message: String, hint: Option<String>) {
        self.errors.push(Error {
            file: self.file.clone(),
            position: Some(position),
            message,
            hint,
        });
    }

    /// Adds a note.
    pub fn note(&mut self, position: Position, message: impl Into<String>) {
        self.notes.push(Note {
            file: self.file.clone(),
            position,
            message: message.into(),
        });
    }
}

/// A value with the way to it.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// `spec.containers[1].image`; empty for a whole document.
    pub path: String,
    /// The value.
    pub node: &'a Node,
}

impl<'a> Field<'a> {
    /// Where the value is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.node.position
    }

    /// Reports that this value is wrong: `path value reason`.
    pub fn refuse(&self, report: &mut Report, reason: impl AsRef<str>) {
        let reason = reason.as_ref();
        let message = match &self.node.value {
            Value::Scalar { text, .. } => format!("{}: {} {reason}", self.path, quoted(text)),
            _ => format!("{}: {reason}", self.path),
        };
        report.error(self.position(), message);
    }

    fn mismatch(&self, report: &mut Report, wanted: &str) {
        let found = match &self.node.value {
            Value::Scalar { scalar, text } => match scalar {
                Scalar::Null => "null".to_owned(),
                scalar => format!("{} ({})", kind(scalar), written(scalar, text)),
            },
            Value::Seq(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        };
        let path = if self.path.is_empty() {
            "document"
        } else {
            &self.path
        };
        let message = format!("{path}: expected {wanted}, found {found}");
        report.error(self.position(), message);
    }

    /// A string. Anything unquoted that means something else is refused.
    pub fn string(&self, report: &mut Report) -> Option<String> {
        match &self.node.value {
            Value::Scalar {
                scalar: Scalar::Str(text),
                ..
            } => {
                if text.contains('\0') {
                    self.refuse(report, "must not contain a NUL character");
                    return None;
                }
                Some(text.clone())
            }
            Value::Scalar { scalar, text } if *scalar != Scalar::Null => {
                let message = format!(
                    "{}: expected a string, found {} ({})",
                    self.path,
                    kind(scalar),
                    written(scalar, text)
                );
                let hint = format!("quote it: {}", quoted(text));
                report.error_hint(self.position(), message, hint);
                None
            }
            _ => {
                self.mismatch(report, "a string");
                None
            }
        }
    }

    /// A string that follows a rule of [`super::names`].
    pub fn checked(
        &self,
        report: &mut Report,
        rule: fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        let text = self.string(report)?;
        match rule(&text) {
            Ok(()) => Some(text),
            Err(reason) => {
                self.refuse(report, reason);
                None
            }
        }
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        let Value::Scalar { scalar, .. } = &self.node.value else {
            return false;
        };
        matches!(scalar, Scalar::Str(_))
    }

    /// `true` or `false`.
    pub fn boolean(&self, report: &mut Report) -> Option<bool> {
        match &self.node.value {
            Value::Scalar {
                scalar: Scalar::Bool(value),
                ..
            } => Some(*value),
            Value::Scalar {
                scalar: Scalar::Str(text),
                ..
            } if text == "true" || text == "false" => {
                self.quoted_by_mistake(report, "true or false", text)
            }
            _ => {
                self.mismatch(report, "true or false");
                None
            }
        }
    }

    fn quoted_by_mistake<T>(&self, report: &mut Report, wanted: &str, text: &str) -> Option<T> {
        let message = format!(
            "{}: expected {wanted}, found a string ({text:?})",
            self.path
        );
        let hint = format!("remove the quotes: {text}");
        report.error_hint(self.position(), message, hint);
        None
    }

    /// A whole number. `1e3` and `1.0` are whole, as they are to kubectl.
    pub fn integer(&self, report: &mut Report) -> Option<i128> {
        match &self.node.value {
            Value::Scalar {
                scalar: Scalar::Int(value),
                ..
            } => Some(*value),
            Value::Scalar {
                scalar: Scalar::Float(value),
                ..
            } if value.fract() == 0.0 => {
                // Written without exponent or fraction, so it parses as what it is.
                let end = if *value < 0.0 { i128::MIN } else { i128::MAX };
                Some(format!("{value:.0}").parse().unwrap_or(end))
            }
            Value::Scalar {
                scalar: Scalar::Str(text),
                ..
            } if text.parse::<i128>().is_ok() => self.quoted_by_mistake(report, "a number", text),
            _ => {
                self.mismatch(report, "a whole number");
                None
            }
        }
    }

    /// A number as it was written, or a string: what a quantity may be.
    pub fn number_or_string(&self, report: &mut Report) -> Option<String> {
        match &self.node.value {
            Value::Scalar {
                scalar: Scalar::Str(text),
                ..
            } => Some(text.clone()),
            Value::Scalar {
                scalar: Scalar::Int(value),
                ..
            } => Some(value.to_string()),
            Value::Scalar {
                scalar: Scalar::Float(value),
                ..
            } if value.is_finite() => Some(format!("{value:e}")),
            _ => {
                self.mismatch(report, "a quantity");
                None
            }
        }
    }

    /// A whole number in `min..=max`.
    pub fn ranged(&self, report: &mut Report, min: u32, max: u32) -> Option<u32> {
        let value = self.integer(report)?;
        let in_range = u32::try_from(value)
            .ok()
            .filter(|v| (min..=max).contains(v));
        if in_range.is_none() {
            self.refuse(report, format!("must be between {min} and {max}"));
        }
        in_range
    }

    /// A list's items.
    pub fn items(&self, report: &mut Report) -> Vec<Field<'a>> {
        let Value::Seq(items) = &self.node.value else {
            self.mismatch(report, "a list");
            return Vec::new();
        };
        let item = |(i, node): (usize, &'a std::rc::Rc<Node>)| Field {
            path: format!("{}[{i}]", self.path),
            node,
        };
        items.iter().enumerate().map(item).collect()
    }

    /// A list of strings.
    pub fn strings(&self, report: &mut Report) -> Vec<String> {
        let items = self.items(report);
        items
            .iter()
            .filter_map(|item| item.string(report))
            .collect()
    }

    /// The entries of a mapping with keys of the user's choice, each with its key's place.
    pub fn entries(&self, report: &mut Report) -> Vec<(&'a str, Position, Field<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.mismatch(report, "a mapping");
            return Vec::new();
        };
        let entry = |e: &'a Entry| {
            let path = format!("{}[{}]", self.path, quoted(&e.key));
            (
                e.key.as_str(),
                e.position,
                Field {
                    path,
                    node: &e.value,
                },
            )
        };
        entries.iter().map(entry).collect()
    }

    /// A mapping whose fields `schema` knows.
    pub fn fields(&self, report: &mut Report, schema: &'static Schema) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.mismatch(report, "a mapping");
            return None;
        };
        let fields = Fields {
            path: self.path.clone(),
            position: self.position(),
            entries,
        };
        fields.judge(report, schema);
        Some(fields)
    }
}

/// The fields of one mapping, all of them known to be honoured or already reported.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    position: Position,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The mapping's path with `name` appended.
    #[must_use]
    pub fn path_to(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    /// A field that is set; `null` counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Field<'a>> {
        let entry = self
            .entries
            .iter()
            .find(|e| e.key == name && !e.value.is_null())?;
        Some(Field {
            path: self.path_to(name),
            node: &entry.value,
        })
    }

    /// A string field that is set; the empty string is Go's "not set".
    #[must_use]
    pub fn get_text(&self, name: &str) -> Option<Field<'a>> {
        self.get(name).filter(|field| !is_empty(field.node))
    }

    /// A field that must be set.
    pub fn require(&self, report: &mut Report, name: &str) -> Option<Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            let message = format!("{} is required", self.path_to(name));
            report.error(self.position, message);
        }
        field
    }

    /// The items of a list; none when it is not set.
    pub fn items(&self, report: &mut Report, name: &str) -> Vec<Field<'a>> {
        self.get(name).map_or_else(Vec::new, |f| f.items(report))
    }

    /// A list of strings; empty when it is not set.
    pub fn strings(&self, report: &mut Report, name: &str) -> Vec<String> {
        self.get(name).map_or_else(Vec::new, |f| f.strings(report))
    }

    fn judge(&self, report: &mut Report, schema: &'static Schema) {
        for entry in self.entries {
            match schema.fate(&entry.key) {
                Some(Fate::Honoured) => {}
                Some(_) if entry.value.is_null() => {}
                Some(fate) => self.judge_known(report, entry, fate),
                None => self.unknown(report, entry, schema),
            }
        }
    }

    fn judge_known(&self, report: &mut Report, entry: &Entry, fate: Fate) {
        let path = self.path_to(&entry.key);
        match fate {
            Fate::Honoured => {}
            // `kubectl create --dry-run -o yaml` prints unset fields so; and "" is unset in Go.
            Fate::Only(_) | Fate::Noted(_) if is_empty(&entry.value) => {}
            // An empty mapping would still be a volume's source.
            Fate::Refused(_) if is_empty_list(&entry.value) => {}
            Fate::Only(values) => {
                let node = &entry.value;
                let field = Field { path, node };
                let is_known = |text: &String| values.contains(&text.as_str());
                if field.string(report).is_some_and(|text| !is_known(&text)) {
                    let values = values.join(" or ");
                    field.refuse(
                        report,
                        format!(
                            "must be {values}, the rest is behind a feature gate in Kubernetes"
                        ),
                    );
                }
            }
            Fate::Bool(only, why) => {
                let node = &entry.value;
                let field = Field { path, node };
                if field.boolean(report).is_some_and(|value| value != only) {
                    field.refuse(report, format!("must be {only}, {why}"));
                }
            }
            Fate::Noted(why) => report.note(entry.position, format!("{path}: {why}")),
            Fate::Refused(why) => report.error(entry.position, format!("{path} {why}")),
        }
    }

    fn unknown(&self, report: &mut Report, entry: &Entry, schema: &'static Schema) {
        let place = match self.path.as_str() {
            "" => schema.name.to_owned(),
            path => path.to_owned(),
        };
        let message = format!("unknown field {} in {place}", quoted(&entry.key));
        // Whoever has so many problems has another one than a typing error.
        let few = report.errors.len() < MAX_ERRORS;
        let meant = || closest(&entry.key, schema.names().filter(|_| few));
        let hint = match fields::home(&entry.key, schema) {
            Some(place) => Some(format!("it belongs in {place}")),
            None => meant().map(|name| format!("did you mean {name:?}?")),
        };
        report.push(entry.position, message, hint);
    }
}

/// As written, on one line.
fn written(scalar: &Scalar, text: &str) -> String {
    match scalar {
        Scalar::Bool(_) | Scalar::Int(_) => text.to_owned(),
        Scalar::Float(_) if text.len() <= MAX_TYPED => text.to_owned(),
        _ => quoted(text),
    }
}

fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, Value::Seq(items) if items.is_empty())
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Seq(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Scalar { scalar, .. } => *scalar == Scalar::Str(String::new()),
    }
}

/// Longest name that is compared with the known ones, in bytes.
const MAX_TYPED: usize = 64;

/// The name that `typed` was probably meant to be.
#[must_use]
pub fn closest(typed: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if typed.len() > MAX_TYPED {
        return None;
    }
    let lower = typed.to_lowercase();
    let scored = names.map(|name| {
        let likeness = strsim::jaro_winkler(&lower, &name.to_lowercase());
        (likeness, name)
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.85).then_some(best.1)
}
