//! Which of several named images a reference means.

/// The full form of an image's name, as engines keep it: `nginx` is `docker.io/library/nginx:latest`
/// (distribution/reference, `ParseNormalizedNamed` and `TagNameOnly`). Not a check: what is no name
/// stays as it is and matches nothing.
pub(super) fn full(name: &str) -> String {
    let (path, digest) = match name.split_once('@') {
        Some((path, digest)) => (path, Some(digest)),
        None => (name, None),
    };
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (path, None),
    };
    let path = qualified(path);
    match (tag, digest) {
        (None, Some(digest)) => format!("{path}@{digest}"),
        (Some(tag), Some(digest)) => format!("{path}:{tag}@{digest}"),
        (tag, None) => format!("{path}:{}", tag.unwrap_or("latest")),
    }
}

/// The repository of a full name.
pub(super) fn repository(full: &str) -> &str {
    let path = full.split_once('@').map_or(full, |(path, _)| path);
    match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => path,
    }
}

fn qualified(path: &str) -> String {
    let is_host =
        |first: &str| first.contains(['.', ':']) || first == "localhost" || is_upper(first);
    match path.split_once('/') {
        Some(("index.docker.io", rest)) if rest.contains('/') => format!("docker.io/{rest}"),
        Some(("docker.io" | "index.docker.io", rest)) if !rest.contains('/') => {
            format!("docker.io/library/{rest}")
        }
        Some((first, _)) if is_host(first) => path.to_owned(),
        Some(_) => format!("docker.io/{path}"),
        None => format!("docker.io/library/{path}"),
    }
}

fn is_upper(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
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
        for (name, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("a/b", "docker.io/a/b:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/a/b:c", "docker.io/a/b:c"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("ghcr.io/a/b@sha256:12", "ghcr.io/a/b@sha256:12"),
            ("a:b@sha256:12", "docker.io/library/a:b@sha256:12"),
        ] {
            assert_eq!(full(name), expected);
            assert_eq!(full(expected), expected);
        }
        assert_eq!(
            repository("localhost:5000/a:b@sha256:12"),
            "localhost:5000/a"
        );
        assert_eq!(repository("localhost:5000/a"), "localhost:5000/a");
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
