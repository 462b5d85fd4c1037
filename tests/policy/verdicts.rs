//! The same policies, images and signatures for us and for skopeo.

use serde_json::json;

use super::contents::Contents;
use super::signer::{Pair, layer, payload, tag};
use super::skopeo::Registry;
use super::{LATEST, Layout, digest};

/// What is wrong with the signature.
#[derive(Clone, Copy)]
enum Twist {
    Fine,
    Unsigned,
    OtherKey,
    OtherImage,
    /// The payload is replaced after it was signed.
    Altered,
    /// The payload is replaced before it is signed.
    Payload(&'static str, &'static str),
    NoAnnotation,
    NotBase64,
    /// A signature by another key lies before the good one.
    Second,
    /// Under the digest of another image.
    OtherTag,
}

struct Row {
    name: &'static str,
    /// The name in the payload.
    signed: &'static str,
    twist: Twist,
    /// A policy, or the requirements of the image's repository.
    policy: &'static str,
    /// How the image is asked for after its repository; `@` for by digest.
    asked: &'static str,
    accepted: bool,
}

const fn row(
    name: &'static str,
    signed: &'static str,
    twist: Twist,
    policy: &'static str,
    asked: &'static str,
    accepted: bool,
) -> Row {
    Row {
        name,
        signed,
        twist,
        policy,
        asked,
        accepted,
    }
}

use Twist::{
    Altered, Fine, NoAnnotation, NotBase64, OtherImage, OtherKey, OtherTag, Payload, Second,
    Unsigned,
};

const PLAIN: &str = r#"[{"type":"sigstoreSigned","keyPath":"@KEY"}]"#;
const REPOSITORY: &str =
    r#"[{"type":"sigstoreSigned","keyPath":"@KEY","signedIdentity":{"type":"matchRepository"}}]"#;
const EXACT: &str =
    r#"[{"type":"sigstoreSigned","keyPath":"@KEY","signedIdentity":{"type":"matchExact"}}]"#;
const EXACT_REFERENCE: &str = r#"[{"type":"sigstoreSigned","keyPath":"@KEY","signedIdentity":{"type":"exactReference","dockerReference":"nginx:1"}}]"#;
const EXACT_REPOSITORY: &str = r#"[{"type":"sigstoreSigned","keyPath":"@KEY","signedIdentity":{"type":"exactRepository","dockerRepository":"nginx"}}]"#;
const REMAP: &str = r#"[{"type":"sigstoreSigned","keyPath":"@KEY","signedIdentity":{"type":"remapIdentity","prefix":"@HOST","signedPrefix":"vendor.example"}}]"#;

const ROWS: &[Row] = &[
    row("cosign", "@REPO", Fine, REPOSITORY, ":latest", true),
    row("cosign, by digest", "@REPO", Fine, REPOSITORY, "@", true),
    row(
        "no identity, a tag",
        "@REPO:latest",
        Fine,
        PLAIN,
        ":latest",
        true,
    ),
    row(
        "no identity, no tag",
        "@REPO",
        Fine,
        PLAIN,
        ":latest",
        false,
    ),
    row(
        "no identity, other tag",
        "@REPO:1",
        Fine,
        PLAIN,
        ":latest",
        false,
    ),
    row("no identity, by digest", "@REPO:1", Fine, PLAIN, "@", true),
    row("exact", "@REPO:latest", Fine, EXACT, ":latest", true),
    row("exact, by digest", "@REPO:latest", Fine, EXACT, "@", false),
    row(
        "other repository",
        "@HOST/x",
        Fine,
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "other host",
        "other.example/x:latest",
        Fine,
        PLAIN,
        ":latest",
        false,
    ),
    row(
        "a name in capitals",
        "@HOST/X",
        Fine,
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "exact reference",
        "nginx:1",
        Fine,
        EXACT_REFERENCE,
        ":latest",
        true,
    ),
    row(
        "exact reference, docker.io",
        "index.docker.io/library/nginx:1",
        Fine,
        EXACT_REFERENCE,
        ":latest",
        true,
    ),
    row(
        "exact reference, other",
        "nginx:2",
        Fine,
        EXACT_REFERENCE,
        ":latest",
        false,
    ),
    row(
        "exact repository",
        "nginx:2",
        Fine,
        EXACT_REPOSITORY,
        ":latest",
        true,
    ),
    row(
        "exact repository, other",
        "@REPO",
        Fine,
        EXACT_REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "remapped",
        "vendor.example/@PATH:latest",
        Fine,
        REMAP,
        ":latest",
        true,
    ),
    row(
        "remapped, not",
        "@REPO:latest",
        Fine,
        REMAP,
        ":latest",
        false,
    ),
    row("unsigned", "@REPO", Unsigned, REPOSITORY, ":latest", false),
    row("other key", "@REPO", OtherKey, REPOSITORY, ":latest", false),
    row(
        "other image",
        "@REPO",
        OtherImage,
        REPOSITORY,
        ":latest",
        false,
    ),
    row("altered", "@REPO", Altered, REPOSITORY, ":latest", false),
    row(
        "no annotation",
        "@REPO",
        NoAnnotation,
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "not base64",
        "@REPO",
        NotBase64,
        REPOSITORY,
        ":latest",
        false,
    ),
    row("the second", "@REPO", Second, REPOSITORY, ":latest", true),
    row("other tag", "@REPO", OtherTag, REPOSITORY, ":latest", false),
    row(
        "other type",
        "@REPO",
        Payload("cosign container", "atomic container"),
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "critical and unknown",
        "@REPO",
        Payload(r#""type""#, r#""more":1,"type""#),
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "a key twice",
        "@REPO",
        Payload(r#""type""#, r#""type":"","type""#),
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "optional and unknown",
        "@REPO",
        Payload(r#":null}"#, r#":{"x":[1]}}"#),
        REPOSITORY,
        ":latest",
        true,
    ),
    row(
        "no optional",
        "@REPO",
        Payload(r#","optional":null"#, ""),
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "sha512",
        "@REPO",
        Payload("sha256:", "sha512:"),
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "not JSON",
        "@REPO",
        Payload("{", "["),
        REPOSITORY,
        ":latest",
        false,
    ),
    row(
        "no rule",
        "@REPO",
        Fine,
        r#"[{"type":"reject"}]"#,
        ":latest",
        false,
    ),
    row(
        "any",
        "@REPO",
        Unsigned,
        r#"[{"type":"insecureAcceptAnything"}]"#,
        ":latest",
        true,
    ),
    row(
        "key in the policy",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyData":"@DATA"}]"#,
        ":latest",
        true,
    ),
    row(
        "no key file",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyPath":"@KEY.none"}]"#,
        ":latest",
        false,
    ),
    row(
        "no key in it",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyData":"aGk="}]"#,
        ":latest",
        false,
    ),
    row(
        "two, one unmet",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyPath":"@KEY"},{"type":"sigstoreSigned","keyPath":"@OTHER"}]"#,
        ":latest",
        false,
    ),
    row(
        "two, both met",
        "@REPO:latest",
        Fine,
        r#"[{"type":"insecureAcceptAnything"},{"type":"sigstoreSigned","keyPath":"@KEY"}]"#,
        ":latest",
        true,
    ),
    row(
        "all, one rejects",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyPath":"@KEY"},{"type":"reject"}]"#,
        ":latest",
        false,
    ),
    row(
        "unknown field",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyPath":"@KEY","keypath":"x"}]"#,
        ":latest",
        false,
    ),
    row(
        "unknown type",
        "@REPO:latest",
        Fine,
        r#"[{"type":"signed","keyPath":"@KEY"}]"#,
        ":latest",
        false,
    ),
    row(
        "two sources of keys",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyPath":"@KEY","keyData":"@DATA"}]"#,
        ":latest",
        false,
    ),
    row(
        "a field twice",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyPath":"@OTHER","keyPath":"@KEY"}]"#,
        ":latest",
        false,
    ),
    row(
        "no requirement",
        "@REPO:latest",
        Fine,
        "[]",
        ":latest",
        false,
    ),
    row(
        "bad exact reference",
        "@REPO:latest",
        Fine,
        r#"[{"type":"sigstoreSigned","keyPath":"@KEY","signedIdentity":{"type":"exactReference","dockerReference":"nginx"}}]"#,
        ":latest",
        false,
    ),
    row(
        "narrowest accepts",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"@HOST":[{"type":"reject"}],"@REPO":[{"type":"reject"}],"@REPO:latest":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        true,
    ),
    row(
        "narrowest rejects",
        "",
        Unsigned,
        r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"@HOST":[{"type":"insecureAcceptAnything"}],"@REPO":[{"type":"reject"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "other tag's scope",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"@REPO:1":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "namespace",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"@HOST/verdicts":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        true,
    ),
    row(
        "half a namespace",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"@HOST/verdict":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "host",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"@HOST":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        true,
    ),
    row(
        "host without port",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"127.0.0.1":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "wildcard",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"*.0.1":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        true,
    ),
    row(
        "nearest wildcard",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"*.0.1":[{"type":"insecureAcceptAnything"}],"*.0.0.1":[{"type":"reject"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "host before wildcard",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"@HOST":[{"type":"insecureAcceptAnything"}],"*.0.0.1":[{"type":"reject"}]}}}"#,
        ":latest",
        true,
    ),
    row(
        "transport",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        true,
    ),
    row(
        "other transport",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker-daemon":{"":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "default",
        "",
        Unsigned,
        r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
        ":latest",
        true,
    ),
    row(
        "no default",
        "",
        Unsigned,
        r#"{"transports":{"docker":{"":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "a scope twice",
        "",
        Unsigned,
        r#"{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"reject"}],"":[{"type":"insecureAcceptAnything"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "bad scope elsewhere",
        "",
        Unsigned,
        r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"oci":{"a":[{"type":"reject"}]}}}"#,
        ":latest",
        false,
    ),
    row(
        "GPG elsewhere",
        "",
        Unsigned,
        r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"x.example":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]}}}"#,
        ":latest",
        true,
    ),
    row(
        "GPG here",
        "@REPO:latest",
        Fine,
        r#"[{"type":"signedBy","keyType":"GPGKeys","keyPath":"@KEY"}]"#,
        ":latest",
        false,
    ),
];

/// Makes the image and its signature as a row says.
fn contents(row: &Row, signed: &str, main: &Pair, other: &Pair) -> Contents {
    let mut contents = Contents::default();
    let image = contents.image(Some(LATEST), "amd64");
    let stranger = contents.image(Some("stranger"), "arm64");
    let of = if matches!(row.twist, OtherImage) {
        &stranger
    } else {
        &image
    };
    let mut payload = payload(signed, digest(of));
    if let Payload(from, to) = row.twist {
        assert!(payload.contains(from), "{}", row.name);
        payload = payload.replacen(from, to, 1);
    }
    let by = if matches!(row.twist, OtherKey) {
        other
    } else {
        main
    };
    let mut signature = by.sign_base64(payload.as_bytes());
    match row.twist {
        Unsigned => return contents,
        Altered => payload = payload.replace(":null}", ":{}}"),
        NotBase64 => signature.insert(0, '!'),
        _ => {}
    }
    let mut layers = Vec::new();
    if matches!(row.twist, Second) {
        let bad = other.sign_base64(payload.as_bytes());
        layers.push(layer(&mut contents, &payload, &bad));
    }
    let mut good = layer(&mut contents, &payload, &signature);
    if matches!(row.twist, NoAnnotation) {
        good["annotations"] = json!({});
    }
    layers.push(good);
    let under = if matches!(row.twist, OtherTag) {
        &stranger
    } else {
        &image
    };
    contents.signatures(Some(&tag(digest(under))), &layers, &json!({}));
    contents
}

#[test]
fn verdicts_are_skopeos() {
    let registry = Registry::start();
    let (main, other) = (Pair::p256(), Pair::p256());
    let mut wrong = Vec::new();
    for row in ROWS {
        // The same image in two repositories: under its tag of signatures lie this row's, or none.
        let path = match row.twist {
            Unsigned | OtherTag => "verdicts/unsigned",
            _ => "verdicts/signed",
        };
        let repository = format!("{}/{path}", registry.host);
        let fill = |text: &str| {
            let text = text
                .replace("@REPO", &repository)
                .replace("@HOST", &registry.host);
            let text = text.replace("@PATH", path).replace("@DATA", &main.data());
            text.replace("@KEY", &main.public())
                .replace("@OTHER", &other.public())
        };
        let contents = contents(row, &fill(row.signed), &main, &other);
        registry.push(path, &contents);
        let layout = Layout::new(&contents);
        let reference = match row.asked {
            "@" => format!("{repository}@{}", layout.image.manifest.digest),
            tag => format!("{repository}{tag}"),
        };
        let policy = match row.policy.starts_with('{') {
            true => fill(row.policy),
            false => format!(
                r#"{{"default":[{{"type":"reject"}}],"transports":{{"docker":{{"{repository}":{}}}}}}}"#,
                fill(row.policy)
            ),
        };
        let skopeo = registry.copy(&reference, &policy);
        let ours = layout.check(&policy, &reference);
        if skopeo.is_ok() != row.accepted || ours.is_ok() != row.accepted {
            wrong.push(format!("{}:\n skopeo: {skopeo:?}\n we: {ours:?}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
