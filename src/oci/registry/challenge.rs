//! `WWW-Authenticate`: what a registry wants to be told (RFC 9110 §11.6.1).

/// One challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case.
    pub scheme: String,
    /// Names in lower case.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The challenges of one header; a header may hold several, and an answer several headers.
/// What cannot be read ends the list.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Scanner(header);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c == ',' || c.is_whitespace());
        let Some(word) = rest.token() else {
            return challenges;
        };
        match (rest.value(), challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                let name = word.to_ascii_lowercase();
                challenge.parameters.push((name, value));
            }
            (None, _) => {
                challenges.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                });
                rest.skip_token68();
            }
            (Some(_), None) => return challenges,
        }
    }
}

struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(skipped);
    }

    fn take(&mut self, taken: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !taken(c)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        word
    }

    fn token(&mut self) -> Option<&'a str> {
        Some(self.take(is_token)).filter(|word| !word.is_empty())
    }

    /// `= value`, if that comes next.
    fn value(&mut self) -> Option<String> {
        let rest = self.0.trim_start().strip_prefix('=')?.trim_start();
        let mut after = Scanner(rest);
        let value = match rest.strip_prefix('"') {
            Some(quoted) => {
                after.0 = quoted;
                after.quoted()?
            }
            None => after.token()?.to_owned(),
        };
        self.0 = after.0;
        Some(value)
    }

    /// What is left of a quoted string, and its closing quote.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.0.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next()?),
                c => text.push(c),
            }
        }
        self.0 = chars.as_str();
        Some(text)
    }

    /// The other form of a challenge, `Negotiate abc==`, which no registry client answers.
    fn skip_token68(&mut self) {
        let mut ahead = Scanner(self.0.trim_start());
        let word = ahead.take(|c| is_token(c) || c == '/');
        let padding = ahead.take(|c| c == '=');
        let ends = ahead.0.trim_start();
        if !word.is_empty() && (ends.is_empty() || ends.starts_with(',')) {
            self.0 = ahead.0;
        } else if padding.len() > 1 {
            self.0 = "";
        }
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemes(header: &str) -> Vec<String> {
        parse(header).into_iter().map(|one| one.scheme).collect()
    }

    #[test]
    fn bearer_with_quoted_commas_and_escapes() {
        let header = r#"Bearer realm="https://auth.example/token",service="reg \"x\"", scope="repository:a/b:pull,push" , error=invalid_token"#;
        let parsed = parse(header);
        let [one] = &parsed[..] else {
            panic!("{parsed:?}")
        };
        assert_eq!(one.scheme, "bearer");
        assert_eq!(one.get("realm"), Some("https://auth.example/token"));
        assert_eq!(one.get("service"), Some("reg \"x\""));
        assert_eq!(one.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(one.get("error"), Some("invalid_token"));
        assert_eq!(one.get("none"), None);
    }

    #[test]
    fn several_in_one_header() {
        let header = r#"Negotiate, NTLM abc+/d==, Basic realm = "a, Bearer b" , BEARER Realm="x""#;
        assert_eq!(schemes(header), ["negotiate", "ntlm", "basic", "bearer"]);
        let parsed = parse(header);
        assert_eq!(parsed[2].get("realm"), Some("a, Bearer b"));
        assert_eq!(parsed[3].get("realm"), Some("x"));
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "[ -~é,=\"\\\\]{0,80}") {
            parse(&header);
        }
    }

    #[test]
    fn nonsense_gives_nothing_and_no_panic() {
        for nonsense in ["", ",,,", "=", "\"", "a=b", "é", "Basic realm=\"x"] {
            let parsed = parse(nonsense);
            assert!(
                parsed.iter().all(|one| one.parameters.is_empty()),
                "{nonsense}"
            );
        }
    }
}
