//! Nodes → YAML text, in block style: what `i2kit convert-manifest` prints.

use std::fmt::Write as _;

use super::scalar::{Scalar, resolve_plain};
use super::yaml::{Node, Value};

/// A document, with a line end.
pub fn emit(node: &Node) -> String {
    let mut out = String::new();
    block(&mut out, node, 0);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Writes a node whose lines begin at `indent`; the cursor stands there already.
fn block(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for (i, entry) in entries.iter().enumerate() {
                start(out, i, indent);
                out.push_str(&key(&entry.key));
                out.push(':');
                child(out, &entry.value, indent);
            }
        }
        Value::Seq(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                start(out, i, indent);
                out.push_str("- ");
                block(out, item, indent + 2);
                end(out);
            }
        }
        _ => out.push_str(&flow(node)),
    }
}

/// What follows a key.
fn child(out: &mut String, node: &Node, indent: usize) {
    let deeper = match &node.value {
        Value::Map(entries) if !entries.is_empty() => indent + 2,
        Value::Seq(items) if !items.is_empty() => indent,
        _ => {
            out.push(' ');
            out.push_str(&flow(node));
            return end(out);
        }
    };
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', deeper));
    block(out, node, deeper);
    end(out);
}

fn start(out: &mut String, index: usize, indent: usize) {
    if index > 0 {
        out.extend(std::iter::repeat_n(' ', indent));
    }
}

fn end(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

fn flow(node: &Node) -> String {
    match &node.value {
        Value::Map(_) => "{}".to_owned(),
        Value::Seq(_) => "[]".to_owned(),
        Value::Scalar { scalar, text } => match scalar {
            Scalar::Str(text) => string(text),
            Scalar::Null => "null".to_owned(),
            _ => text.clone(),
        },
    }
}

fn key(key: &str) -> String {
    string(key)
}

/// Plain where that reads back as the same string, else quoted.
fn string(text: &str) -> String {
    let first = text.chars().next();
    let is_plain = first.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.'))
        && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains(['{', '}', '[', ']', ',', '"', '\''])
        && matches!(resolve_plain(text), Scalar::Str(_));
    match is_plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// Double-quoted, on one line.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Writing to a String cannot fail.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = match u32::from(c) {
                    code @ ..=0xff => write!(out, "\\x{code:02x}"),
                    code => write!(out, "\\u{code:04x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
