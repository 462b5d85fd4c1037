//! `$(NAME)` in commands, arguments and variables, as the kubelet expands it
//! (`k8s.io/kubernetes/third_party/forked/golang/expansion`).

use std::borrow::Cow;

use i2kit_contract::Text;

/// Most parts of a text, since values that only the guest knows have no length here.
const MAX_PARTS: usize = 1000;

/// Replaces each `$(NAME)` that `value_of` knows; others stay. `$$` gives `$`, so `$$(NAME)`
/// escapes. Nothing is expanded twice. `None` when the result has more than `limit` bytes:
/// variables made of variables grow exponentially.
pub fn expand<'a>(
    input: &str,
    limit: usize,
    value_of: impl Fn(&str) -> Option<Cow<'a, Text>>,
) -> Option<Text> {
    let mut out = Text::default();
    let mut rest = input;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push_str("$");
            rest = after;
        } else if let Some((name, after)) = reference(rest) {
            match value_of(name) {
                Some(value) => out.push(&value),
                None => ["$(", name, ")"].iter().for_each(|part| out.push_str(part)),
            }
            rest = after;
        } else {
            out.push_str("$");
        }
        if out.len() > limit || out.parts() > MAX_PARTS {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= limit).then_some(out)
}

/// `(NAME)` and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('(')?.split_once(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_the_kubelet_does() {
        let values: [Text; 3] = ["1", "$(A)", ""].map(Text::from);
        let value_of = |name: &str| match name {
            "A" => Some(Cow::Borrowed(&values[0])),
            "B" => Some(Cow::Borrowed(&values[1])),
            "EMPTY" => Some(Cow::Borrowed(&values[2])),
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
            assert_eq!(expand(input, 100, value_of), Some(want.into()), "{input}");
        }
    }

    #[test]
    fn ends_at_the_limit() {
        let ten = Text::from("0123456789");
        let value_of = |_: &str| Some(Cow::Borrowed(&ten));
        assert_eq!(
            expand("$(A)$(A)", 20, value_of),
            Some("01234567890123456789".into())
        );
        assert_eq!(expand("$(A)$(A)", 19, value_of), None);
        assert_eq!(expand("$(A)$(A)a", 20, value_of), None);
        assert_eq!(expand("012345678901234567890", 20, value_of), None);
        // Nothing is looked up that there is no room for.
        let asked = std::cell::Cell::new(0);
        let counting = |_: &str| {
            asked.set(asked.get() + 1);
            Some(Cow::Borrowed(&ten))
        };
        assert_eq!(expand(&"$(A)".repeat(1000), 20, counting), None);
        assert_eq!(asked.get(), 3);
    }
}
