//! Amazon's registries, and the credentials that they ask for.

use std::fs;

use i2kit::oci::registry::{CredentialError, Keyring, Registries};

use super::Machine;
use super::credentials::reveal;
use crate::support::aws::{Asked, Aws, metadata_keys, role_keys, token};

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
/// Base64 of `AWS:password`.
const AUTH: &str = "QVdTOnBhc3N3b3Jk";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The services, as they answer whom they know.
fn amazon() -> Aws {
    Aws::new(|asked| {
        let header = |name: &str| asked.headers.get(name).map_or("", String::as_str);
        let has = |part: &str| asked.body.contains(part);
        let token_is_right = header("x-aws-ec2-metadata-token") == "imds";
        match asked.what.as_str() {
            "POST /" if !header("x-amz-target").is_empty() => token(AUTH),
            "POST /" if has("Action=AssumeRoleWithWebIdentity&") => {
                role_keys("AssumeRoleWithWebIdentity", "WEB")
            }
            "POST /" if has("Action=AssumeRole&") => role_keys("AssumeRole", "ROLE"),
            "PUT /latest/api/token" => (200, "imds".to_owned()),
            what if what == format!("GET {ROLES}") && token_is_right => (200, "role\n".to_owned()),
            what if what == format!("GET {ROLES}role") && token_is_right => {
                metadata_keys("MACHINE")
            }
            "GET /container?x=y" => metadata_keys("CONTAINER"),
            _ => (404, String::new()),
        }
    })
}

/// A machine whose AWS is `aws`, and which has nothing to do with the one that tests run on.
fn machine(aws: &Aws) -> Machine {
    let mut machine = Machine::new();
    machine
        .set("AWS_ENDPOINT_URL", &aws.origin)
        .set("AWS_EC2_METADATA_DISABLED", "true")
        .set("PATH", "/usr/bin:/bin");
    machine
}

fn ask(machine: &Machine, host: &str) -> Result<String, CredentialError> {
    let registries = Registries::load(machine.settings()).unwrap();
    let found = Keyring::new(&registries).credential(host, "x")?;
    Ok(reveal(found))
}

/// The password, and the requests it took.
fn log_in(machine: &Machine, aws: &Aws) -> Vec<Asked> {
    assert_eq!(ask(machine, HOST).unwrap(), "AWS:password");
    aws.asked()
}

#[test]
fn keys_in_the_environment() {
    let aws = amazon();
    let mut machine = machine(&aws);
    machine
        .set("AWS_ACCESS_KEY_ID", "ENV")
        .set("AWS_SECRET_ACCESS_KEY", "s")
        .file(
            "home/.aws/credentials",
            "[default]\naws_access_key_id=FILE\naws_secret_access_key=x",
        );
    let asked = log_in(&machine, &aws);
    let [asked] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(asked.signer().unwrap(), "ENV");
    assert_eq!(asked.scope(), "eu-central-1/ecr");
    assert_eq!(
        asked.headers["x-amz-target"],
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    );
    assert_eq!(asked.headers["content-type"], "application/x-amz-json-1.1");
    assert!(!asked.headers.contains_key("x-amz-security-token"));
    machine.set("AWS_SESSION_TOKEN", "t");
    let asked = log_in(&machine, &aws);
    assert_eq!(asked[0].headers["x-amz-security-token"], "t");
    assert!(asked[0].signer().is_some());
    // It is asked for once, whatever the repository.
    let registries = Registries::load(machine.settings()).unwrap();
    let keyring = Keyring::new(&registries);
    for repository in ["a", "b", "b"] {
        let found = keyring.credential(HOST, repository).unwrap();
        assert_eq!(reveal(found), "AWS:password");
    }
    assert_eq!(aws.asked().len(), 1);
    // Half a key is a mistake.
    machine.set("AWS_SECRET_ACCESS_KEY", "");
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.contains("in the environment: only half"), "{error}");
}

#[test]
fn whoever_logged_in_otherwise_is_not_asked() {
    let aws = amazon();
    let machine = machine(&aws);
    machine.file(
        "home/.docker/config.json",
        &format!("{{\"auths\":{{\"{HOST}\":{{\"username\":\"AWS\",\"password\":\"own\"}}}}}}"),
    );
    assert_eq!(ask(&machine, HOST).unwrap(), "AWS:own");
    assert!(aws.asked().is_empty());
}

#[test]
fn amazons_helper_need_not_be_there() {
    let aws = amazon();
    let mut machine = machine(&aws);
    machine
        .set("AWS_ACCESS_KEY_ID", "ENV")
        .set("AWS_SECRET_ACCESS_KEY", "s")
        .file(
            "home/.docker/config.json",
            &format!("{{\"credHelpers\":{{\"{HOST}\":\"ecr-login\",\"h.io\":\"ecr-login\"}}}}"),
        );
    assert_eq!(log_in(&machine, &aws).len(), 1);
    assert!(matches!(
        ask(&machine, "h.io"),
        Err(CredentialError::NoHelper { .. })
    ));
    let answer = "echo '{\"Username\":\"AWS\",\"Secret\":\"helped\"}'";
    machine.program("docker-credential-ecr-login", answer);
    assert_eq!(ask(&machine, HOST).unwrap(), "AWS:helped");
}

#[test]
fn a_web_identity() {
    let aws = amazon();
    let mut machine = machine(&aws);
    let file = machine.at("token");
    machine.file("token", "jwt+/=\n");
    machine
        .set("AWS_WEB_IDENTITY_TOKEN_FILE", &file)
        .set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")
        .set("AWS_REGION", "eu-west-3");
    let asked = log_in(&machine, &aws);
    assert_eq!(
        asked[0].body,
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=i2kit&WebIdentityToken=jwt%2B%2F%3D"
    );
    assert_eq!(asked[0].signer(), None);
    assert_eq!(asked[1].signer().unwrap(), "WEB");
    assert_eq!(asked[1].headers["x-amz-security-token"], "token of WEB");
    fs::remove_file(file).unwrap();
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.contains("/token: there is no such file"), "{error}");
}

const CONFIG: &str = r#"
[default]
region = eu-west-1
[profile keys]
region = eu-west-2
[profile role]
role_arn = arn:aws:iam::1:role/r
source_profile = keys
external_id = a b
duration_seconds = 900
role_session_name = me
region = eu-west-2
[profile itself]
role_arn = arn:aws:iam::1:role/r
source_profile = itself
aws_access_key_id = ITSELF
aws_secret_access_key = s
[profile environment]
role_arn = arn:aws:iam::1:role/r
credential_source = EcsContainer
[profile web]
role_arn = arn:aws:iam::1:role/r
web_identity_token_file = TOKEN
[profile process]
credential_process = printf '{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"s","SessionToken":"t"}' "$USER"
[profile loop]
role_arn = arn:aws:iam::1:role/r
source_profile = pool
[profile pool]
role_arn = arn:aws:iam::1:role/r
source_profile = loop
[profile mfa]
role_arn = arn:aws:iam::1:role/r
source_profile = keys
mfa_serial = x
[profile sso]
sso_session = x
[profile half]
aws_access_key_id = x
[profile failing]
credential_process = echo secret; exit 4
[profile talking]
credential_process = echo secret
[profile old]
credential_process = echo '{"Version":2}'
[profile lost]
role_arn = arn:aws:iam::1:role/r
source_profile = nobody
"#;

#[test]
fn profiles() {
    let aws = amazon();
    let mut machine = machine(&aws);
    let token = machine.at("token").display().to_string();
    let container = format!("{}/container?x=y", aws.origin);
    machine
        .file("token", "jwt")
        .file("home/.aws/config", &CONFIG.replace("TOKEN", &token))
        .file("home/.aws/credentials", "[keys]\naws_access_key_id = KEYS\naws_secret_access_key = s\n[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n");
    machine
        .set("USER", "PROCESS")
        .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", container);
    let signers = |machine: &Machine| -> Vec<_> {
        let asked = log_in(machine, &aws);
        asked
            .iter()
            .map(|asked| asked.signer().unwrap_or_default())
            .collect()
    };
    assert_eq!(signers(&machine), ["DEFAULT"]);
    for (profile, expected) in [
        ("keys", &["KEYS"][..]),
        ("role", &["KEYS", "ROLE"]),
        ("itself", &["ITSELF", "ROLE"]),
        ("environment", &["", "CONTAINER", "ROLE"]),
        ("web", &["", "WEB"]),
        ("process", &["PROCESS"]),
    ] {
        machine.set("AWS_PROFILE", profile);
        assert_eq!(signers(&machine), expected, "{profile}");
    }
    for (profile, part) in [
        ("loop", "there are no keys"),
        ("mfa", "mfa_serial is not supported"),
        ("sso", "sso is not supported"),
        ("half", "only half"),
        (
            "failing",
            "credential_process: it failed with exit status: 4",
        ),
        ("talking", "credential_process: line 1 column 1: not JSON"),
        ("old", "not of version 1"),
        ("lost", "profile \"nobody\": there is none"),
        ("none", "profile \"none\": there is none"),
    ] {
        machine.set("AWS_PROFILE", profile);
        let error = ask(&machine, HOST).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(part), "{profile}: {shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
    // A role is asked for in the profile's region, with all that the profile says.
    machine.set("AWS_PROFILE", "role");
    let asked = log_in(&machine, &aws);
    assert_eq!(asked[0].scope(), "eu-west-2/sts");
    assert_eq!(asked[1].scope(), "eu-central-1/ecr");
    let body = &asked[0].body;
    assert!(
        body.ends_with("&RoleSessionName=me&ExternalId=a%20b&DurationSeconds=900"),
        "{body}"
    );
    // Files elsewhere.
    machine.file(
        "elsewhere",
        "[x]\naws_access_key_id = X\naws_secret_access_key = s",
    );
    let elsewhere = machine.at("elsewhere");
    machine
        .set("AWS_PROFILE", "x")
        .set("AWS_SHARED_CREDENTIALS_FILE", elsewhere);
    assert_eq!(signers(&machine), ["X"]);
    machine.file("elsewhere", "[x]\nsecret\n");
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(
        error.contains("elsewhere: line 2 is neither") && !error.contains("secret"),
        "{error}"
    );
}

#[test]
fn a_container_and_a_machine_have_roles() {
    let aws = amazon();
    let mut machine = machine(&aws);
    machine.set("AWS_EC2_METADATA_DISABLED", "").set(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        format!("{}/", aws.origin),
    );
    let asked = log_in(&machine, &aws);
    let whats: Vec<_> = asked.iter().map(|asked| asked.what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "PUT /latest/api/token",
            &format!("GET {ROLES}"),
            &format!("GET {ROLES}role"),
            "POST /",
        ]
    );
    assert!(
        asked[0]
            .headers
            .contains_key("x-aws-ec2-metadata-token-ttl-seconds")
    );
    assert_eq!(asked[3].signer().unwrap(), "MACHINE");
    // A container comes before.
    machine
        .set(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("{}/container?x=y", aws.origin),
        )
        .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "env token");
    let asked = log_in(&machine, &aws);
    assert_eq!(asked[0].headers["authorization"], "env token");
    assert_eq!(asked[1].signer().unwrap(), "CONTAINER");
    machine.file("token", "file token\n");
    machine.set(
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        machine.at("token"),
    );
    let asked = log_in(&machine, &aws);
    assert_eq!(asked[0].headers["authorization"], "file token");
    machine.file("token", "two\nlines");
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.contains("several lines"), "{error}");
    machine.file("token", "t");
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/x");
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.contains("neither https, nor this machine"), "{error}");
    machine.set(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        format!("{}/none", aws.origin),
    );
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(
        error.contains("for container credentials") && error.contains("HTTP 404"),
        "{error}"
    );
}

#[test]
fn without_credentials_only_the_public_registry_is_open() {
    let aws = amazon();
    let mut machine = machine(&aws);
    let error = ask(&machine, HOST).unwrap_err();
    let start = format!("log in to {HOST}: find AWS credentials: none in");
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(error.hint().unwrap().contains("AWS_PROFILE"));
    assert_eq!(ask(&machine, "public.ecr.aws").unwrap(), "");
    assert!(aws.asked().is_empty());
    let public = Aws::new(|_| {
        let body = format!("{{\"authorizationData\":{{\"authorizationToken\":\"{AUTH}\"}}}}");
        (200, body)
    });
    machine
        .set("AWS_ACCESS_KEY_ID", "ENV")
        .set("AWS_SECRET_ACCESS_KEY", "s")
        .set("AWS_ENDPOINT_URL_ECR_PUBLIC", &public.origin);
    assert_eq!(ask(&machine, "public.ecr.aws").unwrap(), "AWS:password");
    let asked = public.asked().remove(0);
    assert_eq!(asked.scope(), "us-east-1/ecr-public");
    assert_eq!(
        asked.headers["x-amz-target"],
        "SpencerFrontendService.GetAuthorizationToken"
    );
    assert_eq!(ask(&machine, "docker.io").unwrap(), "");
    // Whom it doesn't know may pull all the same.
    machine.set("AWS_ENDPOINT_URL_ECR_PUBLIC", "http://127.0.0.1:1");
    assert_eq!(ask(&machine, "public.ecr.aws").unwrap(), "");
}

#[test]
fn a_refusal_is_told_in_amazons_words_but_for_secrets() {
    for (status, body, part, hint) in [
        (
            400,
            r#"{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired: now secret\nThe Canonical String: token"}"#,
            "InvalidSignatureException (HTTP 400): Signature expired: now …",
            Some("clock"),
        ),
        (
            400,
            r#"{"__type":"AccessDeniedException","Message":"User x is not authorized with token"}"#,
            "AccessDeniedException (HTTP 400): User x is not authorized with …",
            Some("ecr:GetAuthorizationToken"),
        ),
        (
            400,
            r#"{"__type":"ExpiredTokenException","message":"The security token is expired"}"#,
            "ExpiredTokenException (HTTP 400)",
            Some("run out"),
        ),
        (403, "secret", "no code (HTTP 403)", None),
        (200, "{}", "its answer has no token", None),
        (200, "secret", "its answer line 1 column 1: not JSON", None),
        (
            200,
            r#"{"authorizationData":[{"authorizationToken":"c2VjcmV0"}]}"#,
            "its answer auth is not USER:PASSWORD",
            None,
        ),
    ] {
        let aws = Aws::new(move |_| (status, body.to_owned()));
        let mut machine = machine(&aws);
        machine
            .set("AWS_ACCESS_KEY_ID", "ENV")
            .set("AWS_SECRET_ACCESS_KEY", "secret")
            .set("AWS_SESSION_TOKEN", "token");
        let login = aws.origin.replace("http://", "http://me:secret@");
        machine.set("AWS_ENDPOINT_URL", login);
        let error = ask(&machine, HOST).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(part), "{shown}");
        assert!(
            shown.contains(&format!("ask {} for", aws.origin)),
            "{shown}"
        );
        let all = format!("{shown} {error:?}");
        assert!(
            !all.contains("secret") && !all.contains("Canonical"),
            "{all}"
        );
        match hint {
            Some(hint) => assert!(error.hint().unwrap().contains(hint)),
            None => assert_eq!(error.hint(), None),
        }
    }
}

#[test]
fn a_role_that_is_refused() {
    let aws = Aws::new(|_| {
        let body = "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you: jwt\nmore</Message></Error></ErrorResponse>";
        (403, body.to_owned())
    });
    let mut machine = machine(&aws);
    machine.file("token", "jwt");
    machine
        .set("AWS_WEB_IDENTITY_TOKEN_FILE", machine.at("token"))
        .set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
    let error = ask(&machine, HOST).unwrap_err();
    let shown = error.to_string();
    let part = "for AssumeRoleWithWebIdentity: AccessDenied (HTTP 403): not you: …";
    assert!(shown.ends_with(part), "{shown}");
    assert!(error.hint().unwrap().contains("sts:AssumeRole"));
    // What is no XML at all.
    let aws = Aws::new(|_| (200, "no".to_owned()));
    machine.set("AWS_ENDPOINT_URL", &aws.origin);
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.contains("its answer has no AccessKeyId"), "{error}");
}

#[test]
fn a_service_that_is_busy_is_asked_again() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let aws = Aws::new(
        move |_| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => (503, String::new()),
            1 => (429, String::new()),
            _ => token(AUTH),
        },
    );
    let mut machine = machine(&aws);
    machine
        .set("AWS_ACCESS_KEY_ID", "ENV")
        .set("AWS_SECRET_ACCESS_KEY", "s");
    assert_eq!(log_in(&machine, &aws).len(), 3);
    machine.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.contains("ask http://127.0.0.1:1: "), "{error}");
}

/// The services of a machine with keys.
fn machine_with_keys(aws: &Aws) -> Machine {
    let mut machine = machine(aws);
    machine
        .set("AWS_ACCESS_KEY_ID", "ENV")
        .set("AWS_SECRET_ACCESS_KEY", "s");
    machine
}

#[test]
fn services_have_tls_by_an_authority_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let aws = Aws::with_tls(folder.path(), |_| token(AUTH));
    let mut machine = machine_with_keys(&aws);
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let ca = folder.path().join("ca.pem");
    let mut settings = machine.settings();
    settings.registry_ca = vec![ca.clone()];
    let keyring = Keyring::new(&Registries::load(settings).unwrap());
    let found = keyring.credential(HOST, "x").unwrap();
    assert_eq!(reveal(found), "AWS:password");
    machine.set("AWS_CA_BUNDLE", &ca);
    assert_eq!(log_in(&machine, &aws).len(), 2);
    fs::write(&ca, "no PEM").unwrap();
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(error.ends_with("ca.pem: no certificate in it"), "{error}");
    fs::remove_file(ca).unwrap();
    let error = ask(&machine, HOST).unwrap_err().to_string();
    assert!(
        error.contains("certificate ") && error.contains("ca.pem: No such"),
        "{error}"
    );
}

#[test]
fn services_are_reached_through_a_proxy_and_the_machine_is_not() {
    // It refuses everything.
    let proxy = Aws::new(|_| (403, String::new()));
    let aws = amazon();
    let mut machine = machine_with_keys(&aws);
    let login = proxy.origin.replace("http://", "http://me:secret@");
    machine.set("HTTPS_PROXY", &login).set("http_proxy", &login);
    assert_eq!(log_in(&machine, &aws).len(), 1);
    assert!(proxy.asked().is_empty());
    for (url, what) in [
        ("", "CONNECT api.ecr.eu-central-1.amazonaws.com:443"),
        ("http://ecr.invalid", "CONNECT ecr.invalid:80"),
    ] {
        machine.set("AWS_ENDPOINT_URL", url);
        let error = ask(&machine, HOST).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        let asked = proxy.asked();
        assert_eq!(asked[0].what, what);
        assert!(
            asked[0].headers.contains_key("proxy-authorization"),
            "{asked:?}"
        );
    }
    for exceptions in ["invalid", "x, ecr.invalid", ".invalid", "*"] {
        machine.set("NO_PROXY", exceptions);
        let error = ask(&machine, HOST).unwrap_err().to_string();
        assert!(error.contains("ask http://ecr.invalid: "), "{error}");
        assert!(proxy.asked().is_empty(), "{exceptions}");
    }
    machine
        .set("NO_PROXY", "")
        .set("http_proxy", "http://me:secret@a proxy:1");
    let error = ask(&machine, HOST).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("proxy: its URL"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
