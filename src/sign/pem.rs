//! PEM files, which may hold several things and text between them (RFC 7468, section 2).

/// The blocks of that label, from their first line to their last.
pub(super) fn blocks<'a>(pem: &'a [u8], label: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let mut rest = std::str::from_utf8(pem).unwrap_or_default();
    std::iter::from_fn(move || {
        let from = rest.get(rest.find(&begin)?..)?;
        let len = from.find(&end)? + end.len();
        rest = from.get(len..)?;
        from.get(..len)
    })
}
