//! Kinds, documents, files, and the choice among them.

use super::*;

fn pod_named(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: image-of-{name}}}]}}\n"
    )
}

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{of: deployment}}}}
spec:
  selector: {{matchLabels: {{app: x}}}}
  template:
    metadata: {{labels: {{app: x}}, annotations: {{a: b}}}}
    spec: {{containers: [{{name: c, image: image-of-{name}}}]}}
"
    )
}

fn list(items: &[String]) -> String {
    let item = |text: &String| format!("- {}\n", text.trim_end().replace('\n', "\n  "));
    format!(
        "apiVersion: v1\nkind: List\nitems:\n{}",
        items.iter().map(item).collect::<String>()
    )
}

/// The image tells which Pod was taken.
fn taken(inputs: &[Input], name: Option<&str>) -> String {
    match load(inputs, name) {
        Ok((pod, notes)) if notes.is_empty() => pod.containers[0].image.clone(),
        other => told(&other),
    }
}

#[test]
fn a_pod_is_found_wherever_it_is() {
    let (pod, deploy) = (pod_named("a"), deployment("a"));
    for text in [
        pod.clone(),
        deploy.clone(),
        list(std::slice::from_ref(&pod)),
        list(&[deploy]),
        list(&[list(&[]), list(&[list(std::slice::from_ref(&pod))])]),
        format!("---\n# one\n---\n{pod}---\n---\nnull\n---\n~\n...\n"),
        format!("{}---\n{pod}", list(&[])),
    ] {
        assert_eq!(
            taken(&[input("m.yaml", &text)], None),
            "image-of-a",
            "{text}"
        );
    }
    let empty = || input("empty.yaml", "# nothing\n");
    assert_eq!(
        taken(&[empty(), input("m.yaml", &pod), empty()], None),
        "image-of-a"
    );
}

#[test]
fn a_deployment_gives_its_template_and_its_name() {
    let pod = pod(&deployment("d"));
    assert_eq!(pod.name, "d");
    assert_eq!(pod.labels, [("app".to_owned(), "x".to_owned())].into());
    assert_eq!(pod.annotations, [("a".to_owned(), "b".to_owned())].into());
    let change = |from: &str, to: &str| {
        let text = deployment("d");
        assert!(text.contains(from));
        told(&read(text.replace(from, to)))
    };
    for (from, to, expected) in [
        (
            "  template:",
            "  replicas: 3\n  template:",
            "note m.yaml:6:13: spec.replicas: one VM is built; how many run is for who runs them",
        ),
        (
            "  template:",
            "  replicas: 0\n  template:",
            "note m.yaml:6:13: spec.replicas: one VM is built; how many run is for who runs them",
        ),
        (
            "  template:",
            "  replicas: -1\n  template:",
            "m.yaml:6:13: spec.replicas: \"-1\" must be between 0 and 2147483647",
        ),
        (
            "  template:",
            "  replicas: many\n  template:",
            "m.yaml:6:13: spec.replicas: expected a whole number, found a string (\"many\")",
        ),
        ("  template:", "  strategy: {}\n  template:", "ok d"),
        (
            "  template:",
            "  strategy: {type: Recreate}\n  template:",
            "note m.yaml:6:3: spec.strategy: one VM is built; how many run is for who runs them",
        ),
        (
            "  template:",
            "  minReadySeconds: 5\n  template:",
            "note m.yaml:6:3: spec.minReadySeconds: one VM is built; how many run is for who runs them",
        ),
        (
            "  template:",
            "  templat: {}\n  template:",
            "m.yaml:6:3: unknown field \"templat\" in spec | did you mean \"template\"?",
        ),
        (
            "{labels: {app: x}, annotations: {a: b}}",
            "{name: t, generateName: t-, labels: {app: x}}",
            "note m.yaml:7:22: spec.template.metadata.name: the Deployment's name is used\nnote m.yaml:7:39: spec.template.metadata.generateName: the Deployment's name is used",
        ),
        (
            "{labels: {app: x}, annotations: {a: b}}",
            "{creationTimestamp: null, labels: {app: x}}",
            "ok d",
        ),
        (
            "{labels: {app: x}, annotations: {a: b}}",
            "{labels: {app: z}}",
            "m.yaml:5:13: spec.selector: does not match the labels in spec.template.metadata.labels",
        ),
        (
            "{labels: {app: x}, annotations: {a: b}}",
            "{}",
            "m.yaml:5:13: spec.selector: does not match the labels in spec.template.metadata.labels",
        ),
        (
            "{labels: {app: x}, annotations: {a: b}}",
            "{labels: [app]}",
            "m.yaml:7:24: spec.template.metadata.labels: expected a mapping, found a list",
        ),
        (
            "  selector: {matchLabels: {app: x}}\n",
            "",
            "m.yaml:5:3: spec.selector is required",
        ),
        (
            "{matchLabels: {app: x}}",
            "{}",
            "m.yaml:5:13: spec.selector: must select the template's labels, but is empty",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchLabel: {app: x}}",
            "m.yaml:5:14: unknown field \"matchLabel\" in spec.selector | did you mean \"matchLabels\"?",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: app, operator: In, values: [w, x]}]}",
            "ok d",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: app, operator: NotIn, values: [w]}]}",
            "ok d",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: app, operator: Exists}]}",
            "ok d",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: none, operator: DoesNotExist}]}",
            "ok d",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: app, operator: NotIn, values: [x]}]}",
            "m.yaml:5:13: spec.selector: does not match the labels in spec.template.metadata.labels",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: none, operator: Exists}]}",
            "m.yaml:5:13: spec.selector: does not match the labels in spec.template.metadata.labels",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: app, operator: In}]}",
            "m.yaml:5:54: spec.selector.matchExpressions[0].operator: \"In\" needs values",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: app, operator: Exists, values: [x]}]}",
            "m.yaml:5:54: spec.selector.matchExpressions[0].operator: \"Exists\" takes no values",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: app, operator: Is, values: [x]}]}",
            "m.yaml:5:54: spec.selector.matchExpressions[0].operator: \"Is\" must be one of In, NotIn, Exists, DoesNotExist",
        ),
        (
            "{matchLabels: {app: x}}",
            "{matchExpressions: [{key: \"-\", operator: Exists}, {operator: In}]}",
            "m.yaml:5:39: spec.selector.matchExpressions[0].key: \"-\" must be letters, digits, '-', '_' and '.', start and end with a letter or digit, and may have a DNS name and '/' before it\nm.yaml:5:63: spec.selector.matchExpressions[1].key is required",
        ),
        (
            "spec: {containers",
            "spec: {restartPolicy: Always, containers",
            "ok d",
        ),
        (
            "spec: {containers",
            "spec: {restartPolicy: Never, containers",
            "m.yaml:8:27: spec.template.spec.restartPolicy: \"Never\" must be Always in a Deployment",
        ),
        (
            "spec: {containers",
            "spec: {restartPolicy: Nevr, containers",
            "m.yaml:8:27: spec.template.spec.restartPolicy: \"Nevr\" must be one of Always, OnFailure, Never",
        ),
        (
            "    spec: {containers: [{name: c, image: image-of-d}]}\n",
            "",
            "m.yaml:7:5: spec.template.spec is required",
        ),
        (
            "apps/v1",
            "v1",
            "m.yaml:1:13: apiVersion: \"v1\" must be apps/v1 for a Deployment",
        ),
        (
            "apps/v1",
            "extensions/v1beta1",
            "m.yaml:1:13: apiVersion: \"extensions/v1beta1\" must be apps/v1 for a Deployment",
        ),
        ("name: d, ", "", "m.yaml:3:11: metadata.name is required"),
        (
            "kind: Deployment",
            "kind: Deployment\nstatus: {replicas: 1}",
            "note m.yaml:3:1: status: set by the API server, no meaning in a VM",
        ),
        ("kind: Deployment", "kind: Deployment\nstatus: {}", "ok d"),
        (
            "kind: Deployment",
            "kind: Deployment\ntemplate: {}",
            "m.yaml:3:1: unknown field \"template\" in Deployment | it belongs in the Deployment's spec",
        ),
    ] {
        let got = change(from, to);
        assert_eq!(got, expected, "{to}");
    }
}

#[test]
fn kinds() {
    check(
        &[
            ("", "m.yaml: no Pod or Deployment in it"),
            (
                "# nothing\n---\n...\n---\n",
                "m.yaml: no Pod or Deployment in it",
            ),
            (
                "apiVersion: v1\nkind: List\nitems: []\n",
                "m.yaml: no Pod or Deployment in it",
            ),
            (
                "apiVersion: v1\nkind: List\n",
                "m.yaml: no Pod or Deployment in it",
            ),
            (
                "text\n",
                "m.yaml:1:1: document: expected a mapping, found a string (\"text\")",
            ),
            (
                "42\n",
                "m.yaml:1:1: document: expected a mapping, found a number (42)",
            ),
            (
                "[]\n",
                "m.yaml:1:1: document: expected a mapping, found a list",
            ),
            ("{}\n", "m.yaml:1:1: kind is required"),
            ("apiVersion: v1\n", "m.yaml:1:1: kind is required"),
            ("kind: Pod\n", "m.yaml:1:1: apiVersion is required"),
            ("kind:\napiVersion: v1\n", "m.yaml:1:1: kind is required"),
            (
                "kind: 1\napiVersion: v1\n",
                "m.yaml:1:7: kind: expected a string, found a number (1) | quote it: \"1\"",
            ),
            (
                "kind: [Pod]\napiVersion: v1\n",
                "m.yaml:1:7: kind: expected a string, found a list",
            ),
            (
                "kind: pod\napiVersion: v1\n",
                "m.yaml:1:7: kind: \"pod\" is no kind that holds a Pod | did you mean \"Pod\"?",
            ),
            (
                "kind: Pods\napiVersion: v1\n",
                "m.yaml:1:7: kind: \"Pods\" is no kind that holds a Pod | did you mean \"Pod\"?",
            ),
            (
                "kind: Deploymnet\napiVersion: v1\n",
                "m.yaml:1:7: kind: \"Deploymnet\" is no kind that holds a Pod | did you mean \"Deployment\"?",
            ),
            (
                "kind: StatefulSet\napiVersion: apps/v1\n",
                "m.yaml:1:1: metadata is required\nm.yaml:1:1: spec is required",
            ),
            (
                "kind: Job\napiVersion: batch/v1\n",
                "m.yaml:1:1: metadata is required\nm.yaml:1:1: spec is required",
            ),
            (
                "kind: CronJob\napiVersion: batch/v1\n",
                "m.yaml:1:7: kind: \"CronJob\" starts Pods by a schedule, which is for who runs VMs; make its jobTemplate a Job",
            ),
            (
                "kind: ConfigMap\napiVersion: v1\n",
                "m.yaml:1:1: metadata is required",
            ),
            (
                "kind: Service\napiVersion: v1\n",
                "m.yaml:1:1: metadata is required",
            ),
            (
                "kind: Ingress\napiVersion: networking.k8s.io/v1\n",
                "m.yaml:1:7: kind: \"Ingress\" is no kind that holds a Pod | use a Pod or a Deployment",
            ),
            (
                "kind: Pod\napiVersion: apps/v1\n",
                "m.yaml:2:13: apiVersion: \"apps/v1\" must be v1 for a Pod",
            ),
            (
                "kind: Pod\napiVersion: 1\n",
                "m.yaml:2:13: apiVersion: expected a string, found a number (1) | quote it: \"1\"",
            ),
            (
                "kind: List\napiVersion: v2\n",
                "m.yaml:2:13: apiVersion: \"v2\" must be v1 for a List",
            ),
            (
                "kind: Pod\napiVersion: v1\n",
                "m.yaml:1:1: metadata is required\nm.yaml:1:1: spec is required",
            ),
            (
                "kind: Pod\napiVersion: v1\nmetadata:\nspec:\n",
                "m.yaml:1:1: metadata is required\nm.yaml:1:1: spec is required",
            ),
            (
                "kind: Pod\napiVersion: v1\nmetadata: []\nspec: x\n",
                "m.yaml:3:11: metadata: expected a mapping, found a list\nm.yaml:4:7: spec: expected a mapping, found a string (\"x\")",
            ),
            (
                "kind: Pod\napiVersion: v1\nmetadata: {}\nspec: {}\n",
                "m.yaml:3:11: metadata.name is required\nm.yaml:4:7: spec.containers is required",
            ),
            (
                "apiVersion: v1\nkind: List\nitems:\n-\n- text\n- {kind: Pod}\n- {kind: Secret}\n",
                "m.yaml:4:2: items[0]: expected a mapping, found null\nm.yaml:5:3: items[1]: expected a mapping, found a string (\"text\")\nm.yaml:6:3: items[2].apiVersion is required\nm.yaml:7:3: items[3].apiVersion is required",
            ),
            (
                "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitem: []\nitems: {}\n",
                "m.yaml:4:1: unknown field \"item\" in List | did you mean \"items\"?\nm.yaml:5:8: items: expected a list, found a mapping",
            ),
        ],
        whole,
    );
}

#[test]
fn one_pod_is_chosen_by_name() {
    let two = format!("{}---\n{}", pod_named("a"), deployment("b"));
    let list = list(&[pod_named("a"), list(&[pod_named("b")])]);
    for text in [&two, &list] {
        let inputs = [input("m.yaml", text)];
        assert_eq!(taken(&inputs, Some("a")), "image-of-a");
        assert_eq!(taken(&inputs, Some("b")), "image-of-b");
    }
    let apart = [
        input("a.yaml", pod_named("a")),
        input("<stdin>", deployment("b")),
    ];
    assert_eq!(taken(&apart, Some("a")), "image-of-a");
    assert_eq!(taken(&apart, Some("b")), "image-of-b");
    assert_eq!(
        taken(&apart, None),
        "2 Pods, but a VM holds one: a (a.yaml:1), b (<stdin>:1) | pick one with --name"
    );
    assert_eq!(
        taken(&apart, Some("c")),
        "no Pod or Deployment is named \"c\" | there is a (a.yaml:1), b (<stdin>:1)"
    );
    assert_eq!(
        taken(&[input("m.yaml", two)], None),
        "2 Pods, but a VM holds one: a (m.yaml:1), b (m.yaml:6) | pick one with --name"
    );
    let same = [
        input("a.yaml", pod_named("a")),
        input("a.yaml", deployment("a")),
    ];
    for name in [None, Some("a")] {
        assert_eq!(
            taken(&same, name),
            "2 Pods, but a VM holds one: a (a.yaml:1), a (a.yaml:1) | remove all but one"
        );
    }
    let many = input(
        "m.yaml",
        pod_named("a") + &format!("---\n{}", pod_named("b")).repeat(11),
    );
    assert_eq!(
        taken(&[many], None),
        "12 Pods, but a VM holds one: a (m.yaml:1), b (m.yaml:6), b (m.yaml:11), b (m.yaml:16), b (m.yaml:21), b (m.yaml:26), b (m.yaml:31), b (m.yaml:36), b (m.yaml:41), b (m.yaml:46), 2 more | pick one with --name"
    );
    assert_eq!(
        taken(&[input("a.yaml", ""), input("<stdin>", "---\n")], None),
        "a.yaml, <stdin>: no Pod or Deployment in it"
    );
    assert_eq!(
        taken(&[input("a.yaml", "")], Some("a")),
        "no Pod or Deployment is named \"a\""
    );
    assert_eq!(
        taken(&[input("a.yaml", pod_named("a"))], Some("a")),
        "image-of-a"
    );
}

#[test]
fn what_is_wrong_with_the_other_pods_does_not_count() {
    let bad = pod_named("bad").replace("image:", "imag:");
    let text = format!("{bad}---\n{}", pod_named("good"));
    let inputs = [input("m.yaml", &text)];
    assert_eq!(taken(&inputs, Some("good")), "image-of-good");
    let problems = "m.yaml:4:21: spec.containers[0].image is required\nm.yaml:4:31: unknown field \"imag\" in spec.containers[0] | did you mean \"image\"?";
    assert_eq!(taken(&inputs, Some("bad")), problems);
    assert_eq!(taken(&inputs, None), problems);
    // What belongs to none of them does.
    let service = format!("{}---\nkind: Service\napiVersion: v1\n", pod_named("good"));
    assert_eq!(
        taken(&[input("m.yaml", service)], Some("good")),
        "m.yaml:6:1: metadata is required"
    );
    let broken = [input("a.yaml", pod_named("good")), input("b.yaml", "a: [")];
    assert_eq!(
        taken(&broken, Some("good")),
        "b.yaml:1:4: not valid YAML: unclosed bracket '['"
    );
}

#[test]
fn problems_come_in_the_order_of_files_and_lines() {
    let one = "apiVersion: v1\nkind: Pod\nmetadata: {name: A, x: 1}\nspec: {containers: [{image: \"\"}], z: 1}\n";
    let inputs = [
        input("z.yaml", format!("kind: CronJob\n---\n{one}")),
        input("<stdin>", "}"),
        input(
            "a.yaml",
            format!(
                "apiVersion: v1\nkind: List\nitems:\n- {}",
                one.replace('\n', "\n  ")
            ),
        ),
    ];
    assert_eq!(
        taken(&inputs, None),
        "z.yaml:1:7: kind: \"CronJob\" starts Pods by a schedule, which is for who runs VMs; make its jobTemplate a Job
z.yaml:5:18: metadata.name: \"A\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit
z.yaml:5:21: unknown field \"x\" in metadata
z.yaml:6:21: spec.containers[0].name is required
z.yaml:6:29: spec.containers[0].image: \"\" names no image
z.yaml:6:35: unknown field \"z\" in spec
<stdin>:1:1: not valid YAML: misplaced bracket
a.yaml:6:20: items[0].metadata.name: \"A\" must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit
a.yaml:6:23: unknown field \"x\" in items[0].metadata
a.yaml:7:23: items[0].spec.containers[0].name is required
a.yaml:7:31: items[0].spec.containers[0].image: \"\" names no image
a.yaml:7:37: unknown field \"z\" in items[0].spec"
    );
}

#[test]
fn every_workload_gives_its_template() {
    let of = |kind: &str, version: &str, policy: &str| {
        let text = deployment("w")
            .replace("kind: Deployment", &format!("kind: {kind}"))
            .replace("apps/v1", version)
            .replace(
                "containers:",
                &format!("restartPolicy: {policy}, containers:"),
            );
        told(&read(text))
    };
    for kind in ["Deployment", "DaemonSet", "ReplicaSet", "StatefulSet"] {
        assert_eq!(of(kind, "apps/v1", "Always"), "ok w", "{kind}");
        assert_eq!(
            of(kind, "apps/v1", "Never"),
            format!(
                "m.yaml:8:27: spec.template.spec.restartPolicy: \"Never\" must be Always in a {kind}"
            )
        );
        assert_eq!(
            of(kind, "v1", "Always"),
            format!("m.yaml:1:13: apiVersion: \"v1\" must be apps/v1 for a {kind}")
        );
    }
    let job = deployment("j")
        .replace("apps/v1", "batch/v1")
        .replace("kind: Deployment", "kind: Job")
        .replace("  selector: {matchLabels: {app: x}}\n", "");
    assert_eq!(
        told(&read(&job)),
        "m.yaml:7:11: spec.template.spec.restartPolicy must be OnFailure or Never in a Job"
    );
    let never = job.replace("containers:", "restartPolicy: Never, containers:");
    assert_eq!(told(&read(&never)), "ok j");
    assert_eq!(
        told(&read(
            never.replace("  template:", "  completions: 2\n  template:")
        )),
        "note m.yaml:5:3: spec.completions: the VM runs the Pod once; what comes after is for who runs the VM"
    );
}
