//! Where in which manifest something is, and what is wrong there.

use std::fmt;

/// Most problems that are reported; those after them are counted.
pub const MAX_ERRORS: usize = 100;
/// Most characters of a manifest's text that a message repeats.
const MAX_SHOWN: usize = 100;

/// A manifest's text for a message: quoted, on one line, without control characters, cut.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// A place in an input: line and column count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

/// One problem: `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", Place(file, *position))]
pub struct Error {
    /// The input's name, as [`super::Input::name`] gives it; empty when no input is to blame.
    pub file: String,
    /// Where, unless the problem is with the input as a whole.
    pub position: Option<Position>,
    /// What is wrong, naming the field.
    pub message: String,
    /// What would cure it, when that is known.
    pub hint: Option<String>,
}

impl Error {
    /// A problem that has no place in any input.
    #[must_use]
    pub fn new(message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            file: String::new(),
            position: None,
            message: message.into(),
            hint,
        }
    }
}

/// All problems found in one run, in the order of the inputs; of very many the first ones and
/// their number. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    /// The first [`MAX_ERRORS`] of `errors`, and how many more there are.
    #[must_use]
    pub fn first_of(mut errors: Vec<Error>) -> Self {
        let more = errors.len().saturating_sub(MAX_ERRORS);
        if more > 0 {
            errors.truncate(MAX_ERRORS);
            errors.push(Error::new(format!("and {more} more problems"), None));
        }
        Self(errors)
    }

    /// The cure, when there is one problem. With several, each one's hint is in the message.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self.0.as_slice() {
            [one] => one.hint.clone(),
            _ => None,
        }
    }
}

impl std::error::Error for Errors {}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = self.0.as_slice() {
            return one.fmt(f);
        }
        for (i, error) in self.0.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
            if let Some(hint) = &error.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// A field that was accepted although it changes nothing: `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The input's name.
    pub file: String,
    /// Where the field is.
    pub position: Position,
    /// Which field, and why it changes nothing.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place(&self.file, Some(self.position));
        write!(f, "{place}{}", self.message)
    }
}

struct Place<'a>(&'a str, Option<Position>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            ("", _) => Ok(()),
            (file, None) => write!(f, "{file}: "),
            (file, Some(Position { line, column })) => write!(f, "{file}:{line}:{column}: "),
        }
    }
}
