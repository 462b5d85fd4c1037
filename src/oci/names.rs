//! Which of several named images a reference means.

use super::Reference;

/// The full form of an image's name, as engines keep it: `nginx` is `docker.io/library/nginx:latest`.
/// Not a check: what is no name stays as it is and matches nothing.
pub(super) fn full(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) => reference.to_string(),
        Err(_) => name.to_owned(),
    }
}

/// The repository that a name names, in full.
pub(super) fn repository(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) => reference.name(),
        Err(_) => name.to_owned(),
    }
}

/// The candidates that `wanted` means: those with exactly that name; else those with that name in
/// full; else, for a word alone, those with that tag.
pub(super) fn matching<'a, T>(
    candidates: &'a [T],
    names: impl Fn(&'a T) -> Vec<&'a str>,
    wanted: &str,
) -> Vec<&'a T> {
    let having = |is: &dyn Fn(&str) -> bool| -> Vec<&'a T> {
        let candidates = candidates.iter();
        candidates
            .filter(|one| names(one).into_iter().any(is))
            .collect()
    };
    let exact = having(&|name| name == wanted);
    if !exact.is_empty() {
        return exact;
    }
    let in_full = full(wanted);
    let found = having(&|name| full(name) == in_full);
    if !found.is_empty() || wanted.contains(['/', ':', '@']) {
        return found;
    }
    having(&|name| name.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_full() {
        let digest = format!("sha256:{}", "12".repeat(32));
        for (name, expected) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.27", "docker.io/library/nginx:1.27".to_owned()),
            ("a/b", "docker.io/a/b:latest".to_owned()),
            (
                "docker.io/nginx",
                "docker.io/library/nginx:latest".to_owned(),
            ),
            ("index.docker.io/a/b:c", "docker.io/a/b:c".to_owned()),
            ("localhost/a", "localhost/a:latest".to_owned()),
            ("localhost:5000/a", "localhost:5000/a:latest".to_owned()),
            (
                &format!("ghcr.io/a/b@{digest}"),
                format!("ghcr.io/a/b@{digest}"),
            ),
            (
                &format!("a:b@{digest}"),
                format!("docker.io/library/a:b@{digest}"),
            ),
        ] {
            assert_eq!(full(name), expected);
            assert_eq!(full(&expected), expected);
        }
        let name = format!("localhost:5000/a:b@{digest}");
        assert_eq!(repository(&name), "localhost:5000/a");
        assert_eq!(repository("localhost:5000/a"), "localhost:5000/a");
    }

    #[test]
    fn what_is_no_name_stays() {
        for name in ["a:b@sha256:12", "UPPER", ""] {
            assert_eq!(full(name), name);
            assert_eq!(repository(name), name);
        }
    }

    #[test]
    fn a_name_is_matched_exactly_first_then_in_full_then_by_its_tag() {
        let images = [["nginx:1.27"], ["docker.io/library/nginx:1.28"], ["1.27"]];
        let found = |wanted: &str| matching(&images, |names| names.to_vec(), wanted);
        assert_eq!(found("1.27"), [&["1.27"]]);
        assert_eq!(found("1.28"), [&["docker.io/library/nginx:1.28"]]);
        assert_eq!(found("docker.io/library/nginx:1.27"), [&["nginx:1.27"]]);
        assert_eq!(found("nginx:1.28"), [&["docker.io/library/nginx:1.28"]]);
        assert!(found("nginx").is_empty() && found("nginx:1.2").is_empty());
    }
}
