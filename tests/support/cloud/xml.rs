//! As much of XML as answers need.

/// An element with a text.
#[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike")]
pub fn text(name: &str, value: impl ToString) -> String {
    format!("<{name}>{}</{name}>", escaped(&value.to_string()))
}

/// The same, where there is a text.
pub fn maybe(name: &str, value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| text(name, value))
}

/// An element with what is XML already.
pub fn element(name: &str, inner: impl AsRef<str>) -> String {
    format!("<{name}>{}</{name}>", inner.as_ref())
}

/// A list, of EC2's kind with `item`, of the others' with `member`.
pub fn list(name: &str, each: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: String = items.into_iter().map(|item| element(each, item)).collect();
    element(name, items)
}

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
