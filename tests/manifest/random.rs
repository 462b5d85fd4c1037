//! Manifests made of random nodes: none panics, and each problem has its place.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Keys of the API, and others.
const KEYS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "items",
    "name",
    "labels",
    "annotations",
    "selector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "template",
    "replicas",
    "containers",
    "image",
    "command",
    "args",
    "env",
    "value",
    "ports",
    "containerPort",
    "protocol",
    "hostPort",
    "resources",
    "limits",
    "requests",
    "cpu",
    "memory",
    "securityContext",
    "runAsUser",
    "runAsGroup",
    "privileged",
    "volumeMounts",
    "mountPath",
    "readOnly",
    "volumes",
    "emptyDir",
    "configMap",
    "restartPolicy",
    "hostname",
    "terminationGracePeriodSeconds",
    "generateName",
    "nodeName",
    "workingDir",
    "tty",
    "dnsPolicy",
    "livenessProbe",
    "lifecycle",
    "preStop",
    "exec",
    "httpGet",
    "port",
    "initContainers",
    "restartPolicyRules",
    "foo",
    "a b",
    "é",
    "'<<'",
];
/// Keys that are refused wherever they stand, and merges.
const BAD_KEYS: &[&str] = &["<<", "", "~", "yes", "1", "null", "[a]", "!foo a"];

/// Scalars as they are written.
const SCALARS: &[&str] = &[
    "v1",
    "apps/v1",
    "Pod",
    "Deployment",
    "List",
    "Secret",
    "a",
    "a-b",
    "A",
    "/a",
    "a:b",
    "..",
    "",
    "~",
    "null",
    "yes",
    "off",
    "true",
    "0440",
    "0x1",
    "1e3",
    "1.5",
    "-1",
    ".inf",
    ".nan",
    "80",
    "2147483648",
    "99999999999999999999",
    "64Mi",
    "500m",
    "1E",
    "$(A)",
    "$$",
    "\"\"",
    "\"0\"",
    "\"\\0\"",
    "\"a\\nb\"",
    "'x'",
    "Always",
    "Never",
    "TCP",
    "UDP",
    "In",
    "Exists",
    "2001-01-01",
    "!!str 1",
    "é",
    "\"\\e\"",
];
/// What is no YAML, or needs something elsewhere.
const BAD_SCALARS: &[&str] = &[
    "*a", "&a x", "!!int x", "!foo a", "- ", "[", "{{x}}", "|", "# c", "\t", "%", "\u{7}", "\r\n",
];

fn key() -> impl Strategy<Value = &'static str> {
    prop_oneof![50 => select(KEYS), 1 => select(BAD_KEYS)]
}

/// A node in flow style, so that any key or scalar may stand anywhere.
fn node() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        50 => select(SCALARS).prop_map(str::to_owned),
        1 => select(BAD_SCALARS).prop_map(str::to_owned),
        3 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        3 => any::<i64>().prop_map(|number| number.to_string()),
        3 => any::<f64>().prop_map(|number| number.to_string()),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            3 => prop::collection::btree_map(key(), inner, 0..6).prop_map(|entries| {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {value}"));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

/// Every problem names file, line and column, within the text.
fn has_its_places(text: &str, loaded: &Loaded) -> Result<(), TestCaseError> {
    let Err(errors) = loaded else { return Ok(()) };
    prop_assert!(!errors.0.is_empty());
    let lines = text.lines().count() + 1;
    for error in &errors.0 {
        let Some(position) = error.position else {
            // Nothing at all, or several Pods: no one place is to blame.
            let whole = ["no Pod or Deployment in it", "but a VM holds one"];
            prop_assert!(
                whole.iter().any(|w| error.to_string().contains(w)),
                "{error}"
            );
            continue;
        };
        prop_assert!((1..=lines).contains(&position.line), "{error}");
        let line = text.lines().nth(position.line - 1).unwrap_or_default();
        prop_assert!(
            (1..=line.chars().count() + 1).contains(&position.column),
            "{error}"
        );
        let place = format!("m.yaml:{}:{}: ", position.line, position.column);
        let message = error.to_string();
        prop_assert!(
            message.starts_with(&place) && !message.contains('\n'),
            "{message:?}"
        );
        prop_assert!(!message.chars().any(char::is_control), "{message:?}");
    }
    Ok(())
}

/// A manifest with random nodes in one place or another of a Pod.
fn manifest() -> impl Strategy<Value = String> {
    const HEAD: &str = "kind: Pod\napiVersion: v1\n";
    (0..4, node(), node(), key()).prop_map(|(place, a, b, key)| match place {
        0 => format!("{HEAD}metadata: {a}\nspec: {b}\n"),
        1 => format!("{HEAD}metadata: {{name: p}}\nspec: {{containers: [{{name: c, image: i, {key}: {a}}}]}}\n"),
        2 => format!("{HEAD}metadata: {{name: p}}\nspec: {{{key}: {a}, containers: [{{name: c, image: i, env: [{b}], ports: [{a}]}}]}}\n"),
        _ => format!("kind: List\napiVersion: v1\nitems: [{a}, {b}]\n---\n{a}\n"),
    })
}

#[test]
fn random_nodes_in_the_places_of_a_pod() {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(4000)
    };
    let outcomes = std::cell::Cell::new([0; 3]);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let checked = runner.run(&manifest(), |text| {
        let loaded = read(&text);
        let mut counts = outcomes.get();
        counts[match &loaded {
            Ok(_) => 0,
            Err(errors) if errors.0.iter().any(|e| e.message.contains("YAML")) => 1,
            Err(_) => 2,
        }] += 1;
        outcomes.set(counts);
        has_its_places(&text, &loaded)
    });
    checked.unwrap();
    // None of the ends is missed.
    let counts = outcomes.get();
    assert!(
        counts[0] > 0 && counts[1] > 20 && counts[2] > 2000,
        "{counts:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn random_lines(lines in prop::collection::vec((0..4_usize, key(), node()), 0..12)) {
        let text: String = lines
            .iter()
            .map(|(indent, key, node)| format!("{}{key}: {node}\n", " ".repeat(2 * indent)))
            .collect();
        has_its_places(&text, &read(&text))?;
        let text = format!("kind: Pod\napiVersion: v1\n{text}");
        has_its_places(&text, &read(&text))?;
    }

    /// Any text comes through JSON unchanged, and through quotes of YAML.
    #[test]
    fn strings_come_through(text in "[\\PC\\n\\t]{0,40}") {
        let json = serde_json::to_string(&text).unwrap();
        let single = format!("'{}'", text.replace('\'', "''"));
        let yaml = |quoted: &str| format!("kind: Pod\napiVersion: v1\nmetadata: {{name: p, annotations: {{a: {quoted}}}}}\nspec: {{containers: [{{name: c, image: i}}]}}\n");
        let got = read(yaml(&json)).map(|(pod, _)| pod.annotations["a"].clone());
        prop_assert_eq!(got.map_err(|e| e.to_string()), Ok(text.clone()));
        // Line breaks are folded there.
        if !text.contains(['\n', '\t']) {
            let got = read(yaml(&single)).map(|(pod, _)| pod.annotations["a"].clone());
            prop_assert_eq!(got.map_err(|e| e.to_string()), Ok(text));
        }
    }

    /// Bytes that are no manifest at all.
    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let loaded = read(&bytes);
        if let Err(errors) = &loaded {
            prop_assert!(errors.to_string().starts_with("m.yaml:"), "{text:?}: {errors}");
        }
    }
}
