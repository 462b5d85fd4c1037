//! Tests: Secrets that Amazon keeps, read by signed requests with the role of an instance.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use super::config::{HEAD, boot, instance, read_head, status};
use super::{contains, pod};
use crate::support::authority::Authority;
use crate::support::aws::{Asked, Aws, metadata_keys};
use crate::support::proxy::Proxy;
use crate::support::tarball::{Dialect, Item, archive};
use crate::support::vm::{Bench, printed};
use crate::support::{layout, samples};

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// An instance metadata service, version 2, with these pages; what nobody has the token for is
/// refused. Answers its port.
fn metadata(pages: BTreeMap<String, String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let request = read_head(&mut stream);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = match pages.get(path) {
                _ if request.starts_with("PUT /latest/api/token ") => status("200 OK", "t0ken"),
                _ if !request.contains("X-aws-ec2-metadata-token: t0ken\r\n") => {
                    status("401 Unauthorized", "")
                }
                Some(page) => status("200 OK", page),
                None => status("404 Not Found", ""),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

/// What the services keep. The first answer of all is that there are too many questions.
fn service(asked: &Asked) -> (u16, String) {
    let error = |kind: &str| (400, format!("{{\"__type\":\"com.amazonaws#{kind}\"}}"));
    if asked.signer().as_deref() != Some("ASIAROLE") || !asked.is_signed_with("secret of ASIAROLE")
    {
        return error("InvalidSignatureException");
    }
    let token = asked.headers.get("x-amz-security-token");
    if token.map(String::as_str) != Some("token of ASIAROLE") {
        return error("UnrecognizedClientException");
    }
    let question: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    let place = (asked.headers["host"].as_str(), asked.scope());
    let target = asked.headers["x-amz-target"].as_str();
    let answer = match (place.0, place.1.as_str(), target) {
        ("ssm.eu-test-1.example.org", "eu-test-1/ssm", "AmazonSSM.GetParametersByPath") => {
            assert_eq!(question["WithDecryption"], true);
            match (question["Path"].as_str(), question["NextToken"].as_str()) {
                (Some("/prod/db/"), None) => {
                    r#"{"Parameters":[{"Name":"/prod/db/user","Value":"me"}],"NextToken":"two"}"#
                }
                (Some("/prod/db/"), Some("two")) => {
                    r#"{"Parameters":[{"Name":"/prod/db/password","Value":"hunter2 ü"}]}"#
                }
                _ => return error("ParameterNotFound"),
            }
        }
        ("ssm.eu-test-1.example.org", "eu-test-1/ssm", "AmazonSSM.GetParameter") => {
            return error("ParameterNotFound");
        }
        (
            "secretsmanager.eu-test-1.example.org",
            "eu-test-1/secretsmanager",
            "secretsmanager.GetSecretValue",
        ) => match question["SecretId"].as_str() {
            Some("prod/api") => r#"{"SecretString":"{\"token\":\"hunter3\",\"port\":5432}"}"#,
            _ => return error("ResourceNotFoundException"),
        },
        other => panic!("{other:?}"),
    };
    (200, answer.to_owned())
}

/// The base image with this authority in place of the world's.
fn base(bench: &Bench, authority: &Path) -> String {
    let file = Item::file(
        "system/etc/ssl/certs/ca-certificates.crt",
        std::fs::read(authority).unwrap(),
    );
    let to = bench.path("base");
    let from = samples::base();
    let from = Path::new(from.strip_prefix("oci:").unwrap());
    layout::with_layer(from, &to, &archive(&[file], Dialect::Pax));
    format!("oci:{}", to.display())
}

/// Of three annotations one is what the user data say otherwise, and one names nothing that is there:
/// what wants that is optional.
#[test]
fn secrets_come_from_amazon_with_the_instances_role() {
    let mut bench = Bench::new();
    let authority = Authority::new();
    let names = [
        "ssm.eu-test-1.example.org",
        "secretsmanager.eu-test-1.example.org",
    ];
    let certificate = Authority::server(&authority.issue(&names, 2999), None);
    let busy = std::sync::atomic::AtomicBool::new(true);
    let aws = Aws::with_certificate(certificate, move |asked| {
        if busy.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return (400, r#"{"__type":"ThrottlingException"}"#.to_owned());
        }
        service(asked)
    });
    let proxy = Proxy::start(aws.origin.strip_prefix("https://").unwrap(), None);
    let port = proxy.host().rsplit(':').next().unwrap().to_owned();

    let from = |name: &str, key: &str, optional| {
        format!("valueFrom: {{secretKeyRef: {{name: {name}, key: {key}, optional: {optional}}}}}")
    };
    let env = format!(
        "env:\n- {{name: USER, {}}}\n- {{name: PASSWORD, {}}}\n- {{name: GONE, {}}}\n\
         volumeMounts: [{{name: api, mountPath: /api}}]",
        from("db", "user", false),
        from("db", "password", false),
        from("gone", "x", true)
    );
    let script =
        "echo $USER:$PASSWORD:${GONE-none}; cat /api/token /api/port; echo; ls -l /api | wc -l";
    let spec = "restartPolicy: Never\n  volumes: [{name: api, secret: {secretName: api}}]";
    let manifest = pod(spec, &[("look", &env, script)]);
    let annotations = "annotations: {i2kit.io/secret.db: 'ssm:/prod/db/', \
                       i2kit.io/secret.api: 'ssm:/elsewhere', i2kit.io/secret.gone: 'ssm:/gone#x'}";
    let manifest = manifest.replace("{name: test}", &format!("\n  name: test\n  {annotations}"));
    bench.base = base(&bench, &authority.write(bench.folder.path()));
    let disk = bench.build(&manifest, "test.raw", &["--scratch", "none"]);

    let document = format!(
        "{HEAD}pod: test\nsecretsFrom: {{api: 'secretsmanager:prod/api'}}\n\
         proxy: {{https: 'http://169.254.2.2:{port}'}}\n"
    );
    let pages = [
        ("/latest/user-data", document),
        ("/latest/meta-data/placement/region", "eu-test-1".to_owned()),
        (
            "/latest/meta-data/services/domain",
            "example.org".to_owned(),
        ),
        (ROLES, "web".to_owned()),
        (&format!("{ROLES}web"), metadata_keys("ASIAROLE").1),
    ];
    let pages = pages.map(|(path, page)| (path.to_owned(), page));
    let path = instance(&bench, metadata(pages.into()));
    let (code, console) = boot(&disk, &path, &[]);
    assert_eq!(code, 0, "{console}");
    contains(
        &console,
        &[
            "i2kit: secret db: from Amazon (password, user)",
            "i2kit: secret api: from Amazon (port, token)",
            "i2kit: secret gone: ssm.eu-test-1.example.org: ParameterNotFound (HTTP status 400)",
        ],
    );
    let shown = ["me:hunter2 ü:none", "hunter35432", "3"];
    assert_eq!(printed(&console, "look"), shown, "{console}");
    let guests: String = console
        .lines()
        .filter(|line| !line.starts_with("[look] "))
        .collect();
    assert!(!guests.contains("hunter"), "{console}");
    let asked = aws.asked();
    // Too many, two pages, one secret, one that is gone.
    assert_eq!(asked.len(), 5, "{asked:#?}");
    assert_eq!(proxy.asked().len(), 5);
    assert!(
        proxy
            .asked()
            .iter()
            .all(|host| host.ends_with(".example.org:443"))
    );
}
