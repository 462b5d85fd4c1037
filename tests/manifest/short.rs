//! The short form, and the long one printed.

use i2kit::manifest::long_form;

use super::*;

const SHORT: &str = "name: web
labels: {tier: front}
containers:
  nginx: nginx:1.27
  app:
    image: example/app:1
    env: [{name: PORT, value: \"8080\"}]
hostname: box
";

fn long(text: &str) -> String {
    long_form(&[input("m.yaml", text)]).unwrap()
}

#[test]
fn a_short_manifest_is_a_pod() {
    let pod = pod(SHORT);
    assert_eq!(
        (pod.name.as_str(), pod.hostname.as_deref()),
        ("web", Some("box"))
    );
    assert_eq!(pod.labels["tier"], "front");
    let images: Vec<_> = pod
        .containers
        .iter()
        .map(|c| (c.name.as_str(), c.image.as_str()))
        .collect();
    assert_eq!(images, [("nginx", "nginx:1.27"), ("app", "example/app:1")]);
    assert_eq!(template(&pod.containers[1].env[0]), "8080");
    // Places are those of the short text.
    let wrong = told(&read("name: p\ncontainers:\n  a: {imag: b}\n"));
    assert!(
        wrong.contains("m.yaml:3:7: unknown field \"imag\" in spec.containers[0]"),
        "{wrong}"
    );
}

#[test]
fn replicas_make_it_a_deployment() {
    let text = SHORT.replace("labels:", "replicas: 2\nlabels:");
    let loaded = read(&text);
    assert!(
        told(&loaded).contains("spec.replicas: one VM is built"),
        "{}",
        told(&loaded)
    );
    let labels = loaded.unwrap().0.labels;
    assert_eq!(
        (labels["app"].as_str(), labels["tier"].as_str()),
        ("web", "front")
    );
    insta::assert_snapshot!(long(&text), @r#"
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: web
      labels:
        tier: front
    spec:
      replicas: 2
      selector:
        matchLabels:
          app: web
      template:
        metadata:
          labels:
            tier: front
            app: web
        spec:
          containers:
          - name: nginx
            image: nginx:1.27
          - name: app
            image: example/app:1
            env:
            - name: PORT
              value: "8080"
          hostname: box
    "#);
}

#[test]
fn the_long_form_means_the_same() {
    for text in [
        SHORT.to_owned(),
        in_container(
            "args: [\"a: b\", \"- x\", \"yes\", \"1\", \"\", \"é\", \"a #b\", \"\\t\\u2028\", \"'q'\", \"{x}\", \"a\\nb\", \"~\", \"x:\"]",
        ),
    ] {
        let printed = long(&text);
        assert_eq!(pod(&text), pod(&printed), "{printed}");
        assert_eq!(long(&printed), printed);
    }
    let two = format!("{SHORT}---\n{SHORT}");
    assert_eq!(long(&two).matches("kind: Pod").count(), 2);
}
