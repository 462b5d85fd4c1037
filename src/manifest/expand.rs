//! `$(NAME)` in commands, arguments and variables, as the kubelet expands it
//! (`k8s.io/kubernetes/third_party/forked/golang/expansion`).

/// Replaces each `$(NAME)` that `value_of` knows; others stay. `$$` gives `$`, so `$$(NAME)`
/// escapes. Nothing is expanded twice.
pub fn expand<'a>(input: &str, value_of: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match value_of(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_the_kubelet_does() {
        let value_of = |name: &str| match name {
            "A" => Some("1"),
            "B" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        };
        for (input, want) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$(B)", "$(A)"),
            ("$(NONE)", "$(NONE)"),
            ("$(EMPTY)", ""),
            ("$()", "$()"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("$$", "$"),
            ("a$", "a$"),
            ("$($(A))", "$($(A))"),
            ("$(A)$", "1$"),
            ("é$(A)ü", "é1ü"),
            ("$(A B)", "$(A B)"),
        ] {
            assert_eq!(expand(input, value_of), want, "{input}");
        }
    }
}
