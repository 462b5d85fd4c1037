//! YAML as kubectl reads it, seen through a Pod.

use super::*;

#[test]
fn what_is_no_string_needs_quotes_where_a_string_is_due() {
    check(
        &[
            (
                "env: [{name: A, value: yes}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a boolean (yes) | quote it: \"yes\"",
            ),
            (
                "env: [{name: A, value: y}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a boolean (y) | quote it: \"y\"",
            ),
            (
                "env: [{name: A, value: Off}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a boolean (Off) | quote it: \"Off\"",
            ),
            (
                "env: [{name: A, value: true}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a boolean (true) | quote it: \"true\"",
            ),
            (
                "env: [{name: A, value: 0440}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a number (0440) | quote it: \"0440\"",
            ),
            (
                "env: [{name: A, value: 0o440}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a number (0o440) | quote it: \"0o440\"",
            ),
            (
                "env: [{name: A, value: 1_000}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a number (1_000) | quote it: \"1_000\"",
            ),
            (
                "env: [{name: A, value: 1.10}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a number (1.10) | quote it: \"1.10\"",
            ),
            (
                "env: [{name: A, value: 1e3}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a number (1e3) | quote it: \"1e3\"",
            ),
            (
                "env: [{name: A, value: .inf}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a number (.inf) | quote it: \".inf\"",
            ),
            (
                "env: [{name: A, value: [a]}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a list",
            ),
            (
                "env: [{name: A, value: {b: c}}]",
                "m.yaml:8:28: spec.containers[0].env[0].value: expected a string, found a mapping",
            ),
            (
                "env: [{name: yes, value: a}]",
                "m.yaml:8:18: spec.containers[0].env[0].name: expected a string, found a boolean (yes) | quote it: \"yes\"",
            ),
            (
                "args: [-c, 80, no]",
                "m.yaml:8:16: spec.containers[0].args[1]: expected a string, found a number (80) | quote it: \"80\"\nm.yaml:8:20: spec.containers[0].args[2]: expected a string, found a boolean (no) | quote it: \"no\"",
            ),
            (
                "args: [null]",
                "m.yaml:8:12: spec.containers[0].args[0]: expected a string, found null",
            ),
            (
                "args:\n- a\n-\n",
                "m.yaml:10:6: spec.containers[0].args[1]: expected a string, found null",
            ),
            (
                "args: echo",
                "m.yaml:8:11: spec.containers[0].args: expected a list, found a string (\"echo\")",
            ),
            (
                "args: |\n  two\n  lines",
                "m.yaml:9:7: spec.containers[0].args: expected a list, found a string (\"two\\nlines\\n\")",
            ),
            (
                "args: \"\\e[31mred\\n\"",
                "m.yaml:8:11: spec.containers[0].args: expected a list, found a string (\"\\u{1b}[31mred\\n\")",
            ),
            (
                "args: {a: b}",
                "m.yaml:8:11: spec.containers[0].args: expected a list, found a mapping",
            ),
            (
                "workingDir: 1",
                "m.yaml:8:17: spec.containers[0].workingDir: expected a string, found a number (1) | quote it: \"1\"",
            ),
        ],
        in_container,
    );
    check(
        &[
            (
                "name: 123",
                "m.yaml:4:9: metadata.name: expected a string, found a number (123) | quote it: \"123\"",
            ),
            (
                "name: on",
                "m.yaml:4:9: metadata.name: expected a string, found a boolean (on) | quote it: \"on\"",
            ),
            (
                "name: p\nlabels: {a: 1.0}",
                "m.yaml:5:15: metadata.labels[\"a\"]: expected a string, found a number (1.0) | quote it: \"1.0\"",
            ),
            (
                "name: p\nlabels: {a: yes}",
                "m.yaml:5:15: metadata.labels[\"a\"]: expected a string, found a boolean (yes) | quote it: \"yes\"",
            ),
            (
                "name: p\nlabels: {1: a}",
                "m.yaml:5:12: key \"1\" is read as a number, not as a string | quote it: \"1\"",
            ),
            (
                "name: p\nlabels: {y: a}",
                "m.yaml:5:12: key \"y\" is read as a boolean, not as a string | quote it: \"y\"",
            ),
            (
                "name: p\nlabels: {null: a}",
                "m.yaml:5:12: key \"null\" is read as null, not as a string | quote it: \"null\"",
            ),
            (
                "name: p\nlabels: {: a}",
                "m.yaml:5:12: a key is missing before \":\"",
            ),
            (
                "name: p\nlabels: {[a]: b}",
                "m.yaml:5:12: a list cannot be a key | a value that starts with \"{\" or \"[\" (a template?) needs quotes",
            ),
            (
                "name: {{ .Values.name }}",
                "m.yaml:4:10: a mapping cannot be a key | a value that starts with \"{\" or \"[\" (a template?) needs quotes",
            ),
            (
                "name: p\nannotations: {a: {b: c}}",
                "m.yaml:5:20: metadata.annotations[\"a\"]: expected a string, found a mapping",
            ),
        ],
        in_metadata,
    );
}

#[test]
fn strings_that_look_like_something_else_stay_strings() {
    for (yaml, value) in [
        ("2001-01-01", "2001-01-01"),
        ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"),
        ("12:30:45", "12:30:45"),
        ("1.2.3", "1.2.3"),
        ("100m", "100m"),
        ("0o8", "0o8"),
        ("yEs", "yEs"),
        ("nil", "nil"),
        ("\"yes\"", "yes"),
        ("'0440'", "0440"),
        ("!!str 0440", "0440"),
        ("! yes", "yes"),
        ("\"\\x41\\u00e9\\U0001F600\\ud83d\\ude00\\/\"", "Aé😀😀/"),
        ("'it''s'", "it's"),
        ("a#b", "a#b"),
        ("a: b", "a: b"),
        ("", ""),
        ("~", ""),
        ("null", ""),
    ] {
        // A plain "a: b" is a mapping.
        let yaml = if yaml == "a: b" { "\"a: b\"" } else { yaml };
        let got = container(&format!("env:\n- name: A\n  value: {yaml}"));
        assert_eq!(template(&got.env[0]), value, "{yaml}");
    }
}

#[test]
fn block_scalars_keep_their_lines() {
    for (yaml, value) in [
        ("|\n  a\n   b\n  c", "a\n b\nc\n"),
        ("|-\n  a\n  b", "a\nb"),
        ("|+\n  a\n\n- name: B", "a\n\n"),
        (">\n  a\n  b\n\n  c", "a b\nc\n"),
        (">-\n  a\n  b", "a b"),
        ("|2\n   a\n  b", " a\nb\n"),
        ("a\n  b\n\n  c", "a b\nc"),
        ("\"a\n  b\\\n  c\"", "a bc"),
    ] {
        let yaml = yaml.replace('\n', "\n  ").replace("\n  - name", "\n- name");
        let got = container(&format!("env:\n- name: A\n  value: {yaml}"));
        assert_eq!(template(&got.env[0]), value, "{yaml}");
    }
}

#[test]
fn numbers_are_read_as_kubectl_reads_them() {
    for (yaml, value) in [
        ("0440", 288),
        ("0o440", 288),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("+7", 7),
        ("1e3", 1000),
        ("1000.0", 1000),
        ("08", 8),
        ("!!int \"7\"", 7),
        ("2147483647", 2_147_483_647),
        ("null", 0),
    ] {
        let got = container(&format!("securityContext: {{runAsUser: {yaml}}}"));
        assert_eq!(
            got.security.run_as_user.unwrap_or_default(),
            value,
            "{yaml}"
        );
    }
    check(
        &[
            (
                "securityContext: {runAsUser: \"1000\"}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: expected a number, found a string (\"1000\") | remove the quotes: 1000",
            ),
            (
                "securityContext: {runAsUser: 1.5}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: expected a whole number, found a number (1.5)",
            ),
            (
                "securityContext: {runAsUser: 1e99}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: \"1e99\" must be between 0 and 2147483647",
            ),
            (
                "securityContext: {runAsUser: 1e12}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: \"1e12\" must be between 0 and 2147483647",
            ),
            (
                "securityContext: {runAsUser: .nan}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: expected a whole number, found a number (.nan)",
            ),
            (
                "securityContext: {runAsUser: yes}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: expected a whole number, found a boolean (yes)",
            ),
            (
                "securityContext: {runAsUser: www-data}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: expected a whole number, found a string (\"www-data\")",
            ),
            (
                "securityContext: {runAsUser: [0]}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: expected a whole number, found a list",
            ),
            (
                "securityContext: {runAsUser: 2001-01-01}",
                "m.yaml:8:34: spec.containers[0].securityContext.runAsUser: expected a whole number, found a string (\"2001-01-01\")",
            ),
        ],
        in_container,
    );
}

#[test]
fn booleans_have_eleven_spellings_each() {
    let read_only = |word: &str| {
        let fields = format!("volumeMounts: [{{name: v, mountPath: /v, readOnly: {word}}}]");
        container(&fields).mounts[0].read_only
    };
    for (yes, no) in [
        ("y", "n"),
        ("Y", "N"),
        ("yes", "no"),
        ("Yes", "No"),
        ("YES", "NO"),
        ("true", "false"),
        ("True", "False"),
        ("TRUE", "FALSE"),
        ("on", "off"),
        ("On", "Off"),
        ("ON", "OFF"),
    ] {
        assert!(read_only(yes) && !read_only(no), "{yes} {no}");
    }
    assert!(!read_only("null"));
    check(
        &[
            (
                "volumeMounts: [{name: v, mountPath: /v, readOnly: \"true\"}]",
                "m.yaml:8:55: spec.containers[0].volumeMounts[0].readOnly: expected true or false, found a string (\"true\") | remove the quotes: true",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /v, readOnly: oui}]",
                "m.yaml:8:55: spec.containers[0].volumeMounts[0].readOnly: expected true or false, found a string (\"oui\")",
            ),
            (
                "volumeMounts: [{name: v, mountPath: /v, readOnly: 1}]",
                "m.yaml:8:55: spec.containers[0].volumeMounts[0].readOnly: expected true or false, found a number (1)",
            ),
            (
                "tty: \"false\"",
                "m.yaml:8:10: spec.containers[0].tty: expected true or false, found a string (\"false\") | remove the quotes: false",
            ),
            (
                "tty: 0",
                "m.yaml:8:10: spec.containers[0].tty: expected true or false, found a number (0)",
            ),
            ("tty: off", "ok p"),
        ],
        in_container,
    );
}

#[test]
fn anchors_and_merge_keys() {
    let manifest = "apiVersion: v1
kind: Pod
metadata:
  name: p
  labels: &labels {app: a, tier: b}
  annotations: {<<: *labels, tier: c}
spec:
  containers:
  - &first
    name: one
    image: &image i:1
    args: &args [a, b]
    env: [&var {name: A, value: x}]
  - <<: *first
    name: two
  - <<: [{image: *image}, {image: other, args: *args}]
    name: three
    env: [*var, {<<: *var, name: B}]
";
    let pod = pod(manifest);
    assert_eq!(pod.annotations["app"], "a");
    assert_eq!(pod.annotations["tier"], "c");
    let [one, two, three] = pod.containers.as_slice() else {
        panic!("{pod:?}");
    };
    assert_eq!(
        (two.name.as_str(), &two.image, &two.args, &two.env),
        ("two", &one.image, &one.args, &one.env)
    );
    assert_eq!((three.image.as_str(), &three.args), ("i:1", &one.args));
    assert_eq!(
        (three.env[1].name.as_str(), template(&three.env[1])),
        ("B", "x")
    );
    check(
        &[
            (
                "args: *none",
                "m.yaml:8:11: not valid YAML: while parsing node, found unknown anchor",
            ),
            (
                "args: &a [*a]",
                "m.yaml:8:15: alias to a value that contains it",
            ),
            (
                "<<: x",
                "m.yaml:8:9: the value of a merge key \"<<\" must be a mapping or a list of them",
            ),
            (
                "<<: [{args: []}, 1]",
                "m.yaml:8:22: the value of a merge key \"<<\" must be a mapping or a list of them",
            ),
            (
                "<<: null",
                "m.yaml:8:9: the value of a merge key \"<<\" must be a mapping or a list of them",
            ),
            (
                "<<: {imag: i}",
                "m.yaml:8:10: unknown field \"imag\" in spec.containers[0] | did you mean \"image\"?",
            ),
            (
                "<<: {image: j}",
                "m.yaml:7:5: key \"image\" is also merged by the \"<<\" after it | move \"<<\" to the top of its mapping; kubectl lets a later one win",
            ),
            (
                "<<: {args: []}\n<<: {command: []}",
                "m.yaml:9:5: key \"<<\" stands twice, first in line 8",
            ),
            (
                "\"<<\": {args: []}",
                "m.yaml:8:5: unknown field \"<<\" in spec.containers[0]",
            ),
            ("args: [&a x, *a]", "ok p"),
        ],
        in_container,
    );
}

#[test]
fn keys_stand_once() {
    check(
        &[
            (
                "image: j",
                "m.yaml:8:5: key \"image\" stands twice, first in line 7",
            ),
            (
                "args: []\nargs: []",
                "m.yaml:9:5: key \"args\" stands twice, first in line 8",
            ),
            (
                "env: [{name: A, name: B}]",
                "m.yaml:8:21: key \"name\" stands twice, first in line 8",
            ),
            (
                "resources: {limits: {cpu: 1, cpu: 2}}",
                "m.yaml:8:34: key \"cpu\" stands twice, first in line 8",
            ),
            (
                "\"image\": j",
                "m.yaml:8:5: key \"image\" stands twice, first in line 7",
            ),
        ],
        in_container,
    );
}

#[test]
fn json_is_yaml_enough() {
    let json = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"a": "tab\t\"quote\" \\ / é \u{1f600} \u{7}"}},
        "spec": {"containers": [{"name": "c", "image": "i", "args": ["<&>", "{}", ""],
            "ports": [{"containerPort": 80}]}]},
    });
    let compact = json.to_string();
    let escaped = compact
        .replace('\u{1f600}', "\\ud83d\\ude00")
        .replace('/', "\\/");
    let pretty = serde_json::to_string_pretty(&json).unwrap();
    let tabs = pretty.replace("  ", "\t");
    let colon_apart = compact.replace("\":", "\" :\r\n");
    for text in [&compact, &escaped, &pretty, &tabs, &colon_apart] {
        let pod = pod(text);
        assert_eq!(pod.annotations["a"], json["metadata"]["annotations"]["a"]);
        assert_eq!(pod.containers[0].args, ["<&>", "{}", ""]);
        assert_eq!(pod.containers[0].ports[0].container_port, 80);
    }
    check(
        &[
            (
                "{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"p\"}, \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"i\", \"imag\": 1}]}}",
                "m.yaml:1:116: unknown field \"imag\" in spec.containers[0] | did you mean \"image\"?",
            ),
            (
                "{\"kind\": \"Pod\",\n\t\"apiVersion\": \"v1\",\n\t\"spec\": {\"containers\": [}}",
                "m.yaml:3:25: not valid YAML: mismatched bracket '[' closed by '}'",
            ),
            (
                "{\"kind\": \"Pod\"",
                "m.yaml:1:1: not valid YAML: unclosed bracket '{'",
            ),
            (
                "{\"kind\": \"Pod\", \"kind\": \"Pod\"}",
                "m.yaml:1:17: key \"kind\" stands twice, first in line 1",
            ),
            (
                "{\"a\": \"\\q\"}",
                "m.yaml:1:7: not valid YAML: while parsing a quoted scalar, found unknown escape character",
            ),
            (
                "{\"a\": \"\\ud83d\"}",
                "m.yaml:1:7: not valid YAML: while parsing a quoted scalar, found high surrogate without following low surrogate",
            ),
        ],
        whole,
    );
}

#[test]
fn bytes_before_yaml() {
    let good = in_container("args: [\"é\"]");
    for text in [
        good.clone(),
        format!("\u{feff}{good}"),
        good.replace('\n', "\r\n"),
        format!("%YAML 1.1\n---\n{good}"),
        format!("%YAML 1.2\n---\n{good}...\n"),
        format!("%TAG ! tag:yaml.org,2002:\n---\n{good}"),
        format!("# comment\n\n---   # another\n{good}\n---\n# nothing\n---\n...\n"),
        format!("\n\n{good}\n\n"),
        good.trim_end().to_owned(),
    ] {
        assert_eq!(pod(&text).containers[0].args, ["é"], "{text}");
    }
    let cases: [(&[u8], &str); 9] = [
        (
            b"kind: Pod\nmetadata: {name: \xff}\n",
            "m.yaml:2:18: not UTF-8 from here on | is this a manifest? Save it as UTF-8",
        ),
        (
            b"kind: \xc3",
            "m.yaml:1:7: not UTF-8 from here on | is this a manifest? Save it as UTF-8",
        ),
        (
            b"\xff\xfek\0i\0",
            "m.yaml:1:1: is UTF-16, not UTF-8 | save it as UTF-8",
        ),
        (
            b"\xfe\xff\0k\0i",
            "m.yaml:1:1: is UTF-16, not UTF-8 | save it as UTF-8",
        ),
        (
            b"k\0i\0n\0d\0",
            "m.yaml:1:2: control character U+0000 is not allowed in YAML",
        ),
        (
            b"a: \x1b[31m\n",
            "m.yaml:1:4: control character U+001B is not allowed in YAML",
        ),
        (
            b"a: \x7f\n",
            "m.yaml:1:4: control character U+007F is not allowed in YAML",
        ),
        (
            "ä: \u{ffff}\n".as_bytes(),
            "m.yaml:1:4: control character U+FFFF is not allowed in YAML",
        ),
        (
            b"\x7fELF\x02\x01\x01\0",
            "m.yaml:1:1: control character U+007F is not allowed in YAML",
        ),
    ];
    for (bytes, expected) in cases {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let got = told(&read(bytes));
        assert_eq!(got, expected, "{text:?}");
    }
}

#[test]
fn what_is_not_yaml() {
    check(
        &[
            ("a: [", "m.yaml:1:4: not valid YAML: unclosed bracket '['"),
            (
                "a: [b\nc: d\n",
                "m.yaml:2:2: not valid YAML: illegal placement of ':' indicator",
            ),
            ("a: {b", "m.yaml:1:4: not valid YAML: unclosed bracket '{'"),
            ("a: 'b\n", "m.yaml:1:4: not valid YAML: unclosed quote"),
            ("a: \"b\n", "m.yaml:1:4: not valid YAML: unclosed quote"),
            (
                "a: b: c\n",
                "m.yaml:1:5: not valid YAML: mapping values are not allowed in this context",
            ),
            (
                "a: - b\n",
                "m.yaml:1:4: not valid YAML: block sequence entries are not allowed in this context",
            ),
            (
                "a: @b\n",
                "m.yaml:1:4: not valid YAML: unexpected character: `@' | quote what begins with it",
            ),
            (
                "a: `b`\n",
                "m.yaml:1:4: not valid YAML: unexpected character: ``' | quote what begins with it",
            ),
            (
                "a: %b\n",
                "m.yaml:1:4: not valid YAML: unexpected character: `%' | quote what begins with it",
            ),
            (
                "a:\n\tb: c\n",
                "m.yaml:2:2: not valid YAML: tabs disallowed within this context (block indentation) | YAML is indented with spaces, not tabs",
            ),
            (
                "a:\n- b\n\t- c\n",
                "m.yaml:2:3: not valid YAML: while scanning a plain scalar, found a tab | YAML is indented with spaces, not tabs",
            ),
            (
                "a: |\n\tb\n",
                "m.yaml:1:4: not valid YAML: a block scalar content cannot start with a tab | YAML is indented with spaces, not tabs",
            ),
            (
                "a:\n  b: c\n d: e\n",
                "m.yaml:3:2: not valid YAML: while parsing a block mapping, did not find expected key",
            ),
            (
                "a: b\n- c\n",
                "m.yaml:2:3: not valid YAML: while parsing a block mapping, did not find expected key",
            ),
            (
                "- a\nb: c\n",
                "m.yaml:2:1: not valid YAML: while parsing a block collection, did not find expected '-' indicator",
            ),
            (
                "a: !foo b\n",
                "m.yaml:1:9: YAML tag \"!foo\" has no meaning in a manifest | remove the tag",
            ),
            (
                "a: !!binary aGk=\n",
                "m.yaml:1:13: YAML tag \"!!binary\" has no meaning in a manifest | remove the tag",
            ),
            ("a: !!int x\n", "m.yaml:1:10: \"x\" is no !!int"),
            (
                "a: !!map [b]\n",
                "m.yaml:1:10: YAML tag \"!!map\" has no meaning in a manifest | remove the tag",
            ),
            (
                "a: !<tag:example.com,2000:x> b\n",
                "m.yaml:1:30: YAML tag \"!<tag:example.com,2000:x>\" has no meaning in a manifest | remove the tag",
            ),
            (
                "%YAML 3.0\n---\na: b\n",
                "m.yaml:1:1: not valid YAML: unsupported YAML major version",
            ),
            (
                "%YAML 1.1\na: b\n",
                "m.yaml:2:1: not valid YAML: did not find expected <document start>",
            ),
            (
                "a: \"\\q\"\n",
                "m.yaml:1:4: not valid YAML: while parsing a quoted scalar, found unknown escape character",
            ),
            (
                "a: b\n--- c\nd: e\n...\nf\n",
                "m.yaml:3:2: not valid YAML: mapping values are not allowed in this context",
            ),
            ("}\n", "m.yaml:1:1: not valid YAML: misplaced bracket"),
        ],
        whole,
    );
}
