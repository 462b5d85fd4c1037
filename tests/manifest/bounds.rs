//! Hostile and huge inputs: read or refused, in bounded time and memory.

use std::process::Command;

use super::*;

/// A Pod of about that many bytes, with a comment that is most of them.
fn padded(len: usize) -> String {
    format!("# {}\n{}", "x".repeat(len), in_container("args: []"))
}

#[test]
fn depth_and_size() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let indented = |depth: usize| -> String {
        let line = |i: usize| format!("{}a:\n", " ".repeat(i));
        (0..depth).map(line).collect()
    };
    for (text, expected) in [
        (
            nested(100),
            "m.yaml:1:1: document: expected a mapping, found a list",
        ),
        (nested(101), "m.yaml:1:101: nested deeper than 100 levels"),
        (
            nested(1_000_000),
            "m.yaml:1:256: nested deeper than 100 levels",
        ),
        (
            "[".repeat(1_000_000),
            "m.yaml:1:256: nested deeper than 100 levels",
        ),
        (
            "{a: ".repeat(200_000),
            "m.yaml:1:1021: nested deeper than 100 levels",
        ),
        (
            "- ".repeat(1_000_000),
            "m.yaml:1:201: nested deeper than 100 levels",
        ),
        (
            "? ".repeat(1_000_000),
            "m.yaml:1:201: nested deeper than 100 levels",
        ),
        (indented(99), "m.yaml:1:1: kind is required"),
        (
            indented(100),
            "m.yaml:100:100: nested deeper than 100 levels",
        ),
        (
            format!(
                "a: &a {}\nb: {}*a{}\n",
                nested(50),
                "[".repeat(50),
                "]".repeat(50)
            ),
            "m.yaml:2:54: nested deeper than 100 levels",
        ),
        (padded(10_000_000), "ok p"),
        (
            padded(16 << 20),
            "m.yaml: more than 16777216 bytes, the most a manifest may have",
        ),
        (
            format!("[{}]", "a,".repeat(300_000)),
            "m.yaml:1:400000: more than 200000 values, aliases expanded",
        ),
        (
            "---\n".repeat(300_000),
            "m.yaml:200001:4: more than 200000 values, aliases expanded",
        ),
    ] {
        let start: String = text.chars().take(20).collect();
        assert_eq!(told(&read(&text)), expected, "{start}");
    }
}

#[test]
fn aliases_do_not_explode() {
    let ten = |name: &str| vec![format!("*{name}"); 10].join(", ");
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut merges = "a0: &a0 {k: x}\n".to_owned();
    for i in 1..30 {
        let before = ten(&format!("a{}", i - 1));
        laughs += &format!("a{i}: &a{i} [{before}]\n");
        merges += &format!("a{i}: &a{i} {{<<: [{before}], k{i}: [{before}]}}\n");
    }
    let long = format!("a: &a {}\nb:\n{}", "x".repeat(1 << 20), "- *a\n".repeat(20));
    let documents = "---\na: &a [x, x, x, x, x, x, x, x, x]\nb: [*a, *a, *a, *a, *a, *a, *a, *a]\n"
        .repeat(3000);
    for (text, expected) in [
        (
            &laughs,
            "m.yaml:6:10: more than 200000 values, aliases expanded",
        ),
        (
            &merges,
            "m.yaml:6:35: more than 200000 values, aliases expanded",
        ),
        (
            &long,
            "m.yaml:19:3: aliases expand to more than 16777216 bytes",
        ),
        (
            &documents,
            "m.yaml:5883:29: more than 200000 values, aliases expanded",
        ),
    ] {
        assert_eq!(told(&read(text)), expected, "{}", &text[..60]);
    }
}

#[test]
fn of_many_problems_the_first_are_told() {
    let fields: String = (0..50_000).map(|i| format!("  k{i}: x\n")).collect();
    let text = format!("{}{fields}", in_spec("restartPolicy: No"));
    let told = told(&read(text));
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 101);
    assert_eq!(
        lines[0],
        "m.yaml:6:18: spec.restartPolicy: expected a string, found a boolean (No) | quote it: \"No\""
    );
    assert_eq!(lines[1], "m.yaml:7:3: unknown field \"k0\" in spec");
    assert_eq!(lines[100], "and 49901 more problems");
}

#[test]
fn messages_stay_short_and_on_one_line() {
    let long = format!("\"{}\\e[31m\\n\"", "é".repeat(1 << 20));
    for fields in [
        format!("args: {long}"),
        format!("image2: {long}"),
        format!("workingDir: {long}"),
        format!("tty: {long}"),
        format!("env: [{{name: {long}}}]"),
        format!("ports: [{{containerPort: 1, protocol: {long}}}]"),
        format!("securityContext: {{procMount: {long}}}"),
        format!("resources: {{limits: {{cpu: {long}}}}}"),
        format!("securityContext: {{runAsUser: {}}}", "9".repeat(300)),
        format!("env: [{{name: A, value: {}}}]", "9".repeat(300)),
        format!("? {long}\n: x"),
        format!("resources: {{limits: {{? {long} : x}}}}"),
        format!("args: !<{}> x", "x".repeat(1 << 20)),
        format!("args: !{} x", "%1b".repeat(1 << 20)),
        format!("? {long}\n: x\n? {long}\n: y"),
    ] {
        let told = told(&read(in_container(&fields)));
        assert!(
            told.len() < 1000 && !told.contains('\u{1b}'),
            "{}",
            &told[..1000]
        );
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.starts_with("m.yaml:"), "{told}");
    }
    let metadata = in_metadata(&format!("name: {long}\nlabels: {{? {long} : {long}}}"));
    let told = told(&read(metadata));
    assert!(told.lines().count() == 3 && told.len() < 2000, "{told}");
}

/// Quadratic work would take minutes.
#[test]
fn many_of_everything() {
    let range = || 0..15_000;
    let volumes: String = range().map(|i| format!("{{name: v{i}}}, ")).collect();
    let mounts: String = range()
        .map(|i| format!("{{name: w{i}, mountPath: /{i}}}, "))
        .collect();
    let text = in_container(&format!("volumeMounts: [{mounts}]")).replace("{name: v}, ", &volumes);
    let said = told(&read(&text));
    assert_eq!(said.lines().count(), 101, "{}", &said[..200]);
    let text = text
        .replace("name: w", "name: v")
        .replace("name: v, empty", "name: w, empty");
    assert_eq!(told(&read(text)), "ok p");
    let env: String = range()
        .map(|i| format!("{{name: A{i}, value: $(A{i})}}, "))
        .collect();
    assert_eq!(container(&format!("env: [{env}]")).env.len(), 15_000);
    let labels: String = range().map(|i| format!("k{i}: v, ")).collect();
    assert_eq!(
        pod(&in_metadata(&format!("name: p\nlabels: {{{labels}}}")))
            .labels
            .len(),
        15_000
    );
    let pods = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b}]}\n---\n";
    assert!(
        told(&read(pods.repeat(5000))).starts_with("5000 Pods, but a VM holds one: a (m.yaml:1), ")
    );
    let annotations =
        "name: p\nannotations: {i2kit.io/secret.db: 'vault:x', i2kit.io/secret.a: 'ssm:/x'}";
    assert_eq!(
        told(&read(in_metadata(annotations))),
        "m.yaml:5:37: metadata.annotations[\"i2kit.io/secret.db\"]: \"vault:x\" is neither \
         ssm:/PATH/NAME[#KEY], ssm:/PATH/ nor secretsmanager:ID[#KEY]"
    );
    let annotations = format!("name: p\nannotations: {{a: {}}}", "x".repeat(256 << 10));
    assert_eq!(
        told(&read(in_metadata(&annotations))),
        "m.yaml:5:16: metadata.annotations: must be at most 262144 bytes together"
    );
}

/// The command's whole memory, with inputs of 10 MB and more.
#[test]
fn memory_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.yaml");
    for text in [
        "- a\n".repeat(2_500_000),
        format!("[{}]", "[],".repeat(3_300_000)),
        format!(
            "{{{}",
            (0..900_000)
                .map(|i| format!("\"{i}\":0,"))
                .collect::<String>()
        ),
        format!("a: \"{}\"", "\\x41".repeat(2_500_000)),
        "a: &a x\n--- &b\n".repeat(700_000),
        format!(
            "a: &a {}\nb: [{}]",
            "x".repeat(900_000),
            "*a, ".repeat(100_000)
        ),
    ] {
        std::fs::write(&file, &text).unwrap();
        let output = Command::new("sh")
            .arg("-c")
            // In KiB; the program's own mappings included.
            .arg("ulimit -v 300000 && exec timeout 60 \"$0\" build -f \"$1\" -o \"$1.raw\"")
            .arg(env!("CARGO_BIN_EXE_i2kit"))
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{} {said}", &text[..20]);
        assert!(said.starts_with("error: ") && said.len() < 1000, "{said}");
    }
    // What never ends is read no further than a manifest may go.
    let output = Command::new("sh")
        .arg("-c")
        .arg("ulimit -v 300000 && exec timeout 60 \"$0\" build -f /dev/zero -o /dev/null")
        .arg(env!("CARGO_BIN_EXE_i2kit"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said.trim_end(),
        "error: /dev/zero: more than 16777216 bytes, the most a manifest may have"
    );
}
