//! `$(VAR)` in command, args and env (Kubernetes `third_party/forked/golang/expansion`).

/// The manifest's variables, each expanded with those before it.
pub(super) fn environment(env: &[(String, String)]) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for (name, value) in env {
        let value = expand(value, &out);
        out.push((name.clone(), value));
    }
    out
}

/// Replaces `$(NAME)` by the variable's last value; `$$` gives `$`; a name that is not known stays
/// as it is written.
pub(super) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('(').and_then(|one| one.split_once(')'))
        {
            let known = variables.iter().rfind(|(known, _)| known == name);
            match known {
                Some((_, value)) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
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
    fn as_the_kubelet_expands() {
        let variables = [
            ("A".to_owned(), "1".to_owned()),
            ("A".to_owned(), "2".to_owned()),
        ];
        for (text, expected) in [
            ("$(A)", "2"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$2"),
            ("$(B)", "$(B)"),
            ("$(A", "$(A"),
            ("$A$", "$A$"),
            ("x$(A)y$(A)", "x2y2"),
            ("$()", "$()"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }
}
