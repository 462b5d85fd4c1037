//! `i2kit build` with manifests, end to end.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::support::{i2kit, samples};

fn manifest(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: image-of-{name}}}]}}\n"
    )
}

/// Runs it with files of these names and contents in its folder, and an input.
fn build(files: &[(&str, &str)], input: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut child = i2kit()
        .args(["build", "-o", "disk.raw"])
        .args(arguments)
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails before it reads breaks the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(!folder.path().join("disk.raw").exists());
    output
}

/// The command's words, and that it failed.
fn said(files: &[(&str, &str)], input: &str, arguments: &[&str]) -> String {
    let output = build(files, input, arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn problems_are_told_with_their_place_and_hint() {
    let one = manifest("a").replace("image:", "imag:");
    assert_eq!(
        said(&[("a.yaml", &one)], "", &["-f", "a.yaml"]),
        "error: a.yaml:4:21: spec.containers[0].image is required
a.yaml:4:31: unknown field \"imag\" in spec.containers[0]
  hint: did you mean \"image\"?"
    );
    let one = manifest("a").replace("image-of-a", "yes");
    assert_eq!(
        said(&[("a.yaml", &one)], "", &["-f", "a.yaml"]),
        "error: a.yaml:4:38: spec.containers[0].image: expected a string, found a boolean (yes)
hint: quote it: \"yes\""
    );
    // Each of several files and standard input, in their order.
    let bad = manifest("a").replace("name: a", "name: A");
    let words =
        "must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit";
    assert_eq!(
        said(
            &[("b.yaml", &bad), ("a.yaml", &bad)],
            &bad,
            &["-f", "b.yaml", "-f", "-", "-f", "a.yaml"]
        ),
        format!(
            "error: b.yaml:3:18: metadata.name: \"A\" {words}
<stdin>:3:18: metadata.name: \"A\" {words}
a.yaml:3:18: metadata.name: \"A\" {words}"
        )
    );
    assert_eq!(
        said(&[], "a: [", &["-f", "-"]),
        "error: <stdin>:1:4: not valid YAML: unclosed bracket '['"
    );
}

#[test]
fn files_that_are_no_manifests() {
    assert_eq!(
        said(&[], "", &["-f", "none.yaml"]),
        "error: read none.yaml: No such file or directory (os error 2)"
    );
    assert_eq!(
        said(&[], "", &["-f", "."]),
        "error: read .: Is a directory (os error 21)"
    );
    assert_eq!(
        said(&[], "", &["-f", "-"]),
        "error: <stdin>: no Pod or Deployment in it"
    );
    assert_eq!(
        said(
            &[("a.yaml", "# nothing\n")],
            "---\n",
            &["-f", "a.yaml", "-f", "-"]
        ),
        "error: a.yaml, <stdin>: no Pod or Deployment in it"
    );
}

/// The Pod that was taken is told by the image that is not given.
#[test]
fn the_pod_is_taken_from_several_files_and_standard_input() {
    let (a, b) = (manifest("a"), manifest("b"));
    let both = format!("{a}---\n{b}");
    let base = samples::base();
    let said = |files: &[(&str, &str)], input: &str, arguments: &[&str]| {
        let more = [arguments, &["--offline", "--base", &base]].concat();
        said(files, input, &more)
    };
    let taken = |name: &str| {
        format!(
            "error: image image-of-{name}: find docker.io/library/image-of-{name}:latest: not in the cache, and no connection may be made\nhint: pull it while there is a network (i2kit pull), take it from a bundle (--bundle), or say where it is (--image NAME=oci:DIR)"
        )
    };
    assert_eq!(said(&[("a", &a)], "", &["-f", "a"]), taken("a"));
    assert_eq!(said(&[], &b, &["-f", "-"]), taken("b"));
    assert_eq!(
        said(&[("a", &a), ("e", "")], "", &["-f", "a", "-f", "e"]),
        taken("a")
    );
    assert_eq!(
        said(&[("a", &a)], &b, &["-f", "a", "-f", "-", "--name", "a"]),
        taken("a")
    );
    assert_eq!(
        said(&[("a", &a)], &b, &["-f", "a", "-f", "-", "--name", "b"]),
        taken("b")
    );
    assert_eq!(
        said(&[("ab", &both)], "", &["--filename", "ab", "--name=b"]),
        taken("b")
    );
    assert_eq!(
        said(&[("a", &a)], &b, &["-f", "a", "-f", "-"]),
        "error: 2 Pods, but a VM holds one: a (a:1), b (<stdin>:1)\nhint: pick one with --name"
    );
    assert_eq!(
        said(&[("ab", &both)], "", &["-f", "ab", "--name", "c"]),
        "error: no Pod or Deployment is named \"c\"\nhint: there is a (ab:1), b (ab:6)"
    );
}

#[test]
fn notes_are_told_unless_quiet() {
    let noted = manifest("a").replace("spec: {", "spec: {nodeName: n, ");
    let note = "note: a.yaml:4:8: spec.nodeName: there is nothing to schedule, the Pod is the VM\n";
    let text = said(&[("a.yaml", &noted)], "", &["-f", "a.yaml"]);
    assert!(text.starts_with(&format!("{note}error: ")), "{text}");
    let text = said(&[("a.yaml", &noted)], "", &["-f", "a.yaml", "-q"]);
    assert!(text.starts_with("error: "), "{text}");
}

#[test]
fn a_name_needs_files() {
    assert_eq!(
        said(&[], "", &["--from", "oci:x", "--name", "a"]),
        "error: parse \"--name\": it picks among the Pods of -f, and there is no -f"
    );
}
