//! Name rules of the Kubernetes API (`k8s.io/apimachinery/pkg/util/validation`). Each returns
//! what is wrong, to follow the name in a message.

use super::error::quoted;

fn is_lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn at_most(name: &str, max: usize) -> Result<(), String> {
    match name.len() {
        len if len > max => Err(format!(
            "is {len} characters long, at most {max} are allowed"
        )),
        _ => Ok(()),
    }
}

fn starts_and_ends(text: &str, ok: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| ok(*b)) && bytes.last().is_some_and(|b| ok(*b))
}

fn is_label(text: &str) -> bool {
    starts_and_ends(text, is_lower_alnum) && text.bytes().all(|b| is_lower_alnum(b) || b == b'-')
}

/// RFC 1123 label: at most 63 of `a-z0-9-`, starting and ending with a letter or digit.
///
/// # Errors
/// The rule it breaks.
pub fn dns_label(name: &str) -> Result<(), String> {
    at_most(name, 63)?;
    is_label(name).then_some(()).ok_or_else(|| {
        "must be lower-case letters, digits and '-', and start and end with a letter or digit"
            .to_owned()
    })
}

/// RFC 1123 subdomain: labels joined by dots, at most 253 characters.
///
/// # Errors
/// The rule it breaks.
pub fn dns_subdomain(name: &str) -> Result<(), String> {
    at_most(name, 253)?;
    name.split('.').all(is_label).then_some(()).ok_or_else(|| {
        "must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit"
            .to_owned()
    })
}

/// A label's or annotation's key: `[prefix/]name`.
///
/// # Errors
/// The rule it breaks.
pub fn qualified_name(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            dns_subdomain(prefix)
                .map_err(|e| format!("has a bad prefix {}, which {e}", quoted(prefix)))?;
            name
        }
        None => key,
    };
    at_most(name, 63)?;
    is_qualified(name).then_some(()).ok_or_else(|| {
        "must be letters, digits, '-', '_' and '.', start and end with a letter or digit, and may \
         have a DNS name and '/' before it"
            .to_owned()
    })
}

fn is_qualified(name: &str) -> bool {
    starts_and_ends(name, |b| b.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A label's value: empty, or at most 63 of letters, digits, `-`, `_`, `.`.
///
/// # Errors
/// The rule it breaks.
pub fn label_value(value: &str) -> Result<(), String> {
    at_most(value, 63)?;
    (value.is_empty() || is_qualified(value))
        .then_some(())
        .ok_or_else(|| {
            "must be letters, digits, '-', '_' and '.', and start and end with a letter or digit"
                .to_owned()
        })
}

/// A port's name: IANA service name (RFC 6335).
///
/// # Errors
/// The rule it breaks.
pub fn port_name(name: &str) -> Result<(), String> {
    at_most(name, 15)?;
    let ok = is_label(name) && !name.contains("--") && name.bytes().any(|b| b.is_ascii_lowercase());
    ok.then_some(()).ok_or_else(|| {
        "must be lower-case letters (at least one), digits and single '-' between them".to_owned()
    })
}

/// A variable's name: printable ASCII without `=` (the rule since Kubernetes 1.34).
///
/// # Errors
/// The rule it breaks.
pub fn env_name(name: &str) -> Result<(), String> {
    let ok = !name.is_empty() && name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=');
    ok.then_some(())
        .ok_or_else(|| "must be printable ASCII characters other than '='".to_owned())
}

/// A key of a ConfigMap or a Secret, which may name a file.
///
/// # Errors
/// The rule it breaks.
pub fn data_key(key: &str) -> Result<(), String> {
    at_most(key, 253)?;
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if key.is_empty() || !key.bytes().all(ok) {
        return Err("must be letters, digits, '-', '_' and '.'".to_owned());
    }
    match key {
        "." => Err("must not be \".\"".to_owned()),
        _ if key.starts_with("..") => Err("must not start with \"..\"".to_owned()),
        _ => Ok(()),
    }
}

/// A relative path without `..`, as files of volumes and `subPath` have it.
///
/// # Errors
/// The rule it breaks.
pub fn relative_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("is no path".to_owned());
    }
    if path.starts_with('/') {
        return Err("must be a relative path".to_owned());
    }
    match path.split('/').any(|part| part == "..") {
        true => Err("must not contain \"..\"".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn takes_the_names_that_kubernetes_takes() {
        type Rule = fn(&str) -> Result<(), String>;
        let rules: [(&str, Rule); 6] = [
            ("label", dns_label),
            ("subdomain", dns_subdomain),
            ("key", qualified_name),
            ("value", label_value),
            ("env", env_name),
            ("port", port_name),
        ];
        let table = include_str!("../../fixtures/kubernetes/names.json");
        let rows: Vec<(String, BTreeMap<String, bool>)> = serde_json::from_str(table).unwrap();
        assert!(rows.len() > 60);
        for (name, want) in rows {
            for (rule, check) in rules {
                let got = check(&name);
                assert_eq!(got.is_ok(), want[rule], "{rule} {name:?}: {got:?}");
            }
        }
    }
}
