//! Amazon's services, as far as its registries need them, on a port of this machine: ECR, STS, the
//! metadata of containers and of machines. What it was asked is written down.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};

use super::output_of;

/// A request: `POST /`, headers by lower-case names, body.
#[derive(Clone, Debug)]
pub struct Asked {
    pub what: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    /// The access key's id, if the request is signed: headers that must be are.
    pub fn signer(&self) -> Option<String> {
        let authorization = self.headers.get("authorization")?;
        let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
        let (scope, rest) = rest.split_once(", SignedHeaders=")?;
        let (signed, signature) = rest.split_once(", Signature=")?;
        assert_eq!(signature.len(), 64);
        for name in ["host", "x-amz-date", "x-amz-security-token", "x-amz-target"] {
            let is_signed = signed.split(';').any(|one| one == name);
            assert_eq!(
                is_signed,
                self.headers.contains_key(name),
                "{name} in {signed}"
            );
        }
        assert!(scope.ends_with("/aws4_request"), "{scope}");
        Some(scope.split('/').next()?.to_owned())
    }

    /// Whether the signature is what this secret access key makes of the request as it came: worked
    /// out here anew, from Amazon's description ("Create a signed AWS API request").
    pub fn is_signed_with(&self, key: &str) -> bool {
        let authorization = &self.headers["authorization"];
        let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=");
        let parts: Vec<&str> = rest.unwrap().split(", ").collect();
        let scope = parts[0].split_once('/').unwrap().1;
        let names = parts[1].strip_prefix("SignedHeaders=").unwrap();
        let headers = names.split(';');
        let headers: String = headers
            .map(|name| format!("{name}:{}\n", self.headers[name].trim()))
            .collect();
        let (method, path) = self.what.split_once(' ').unwrap();
        let body = hex::encode(Sha256::digest(&self.body));
        let canonical = format!("{method}\n{path}\n\n{headers}\n{names}\n{body}");
        let canonical = hex::encode(Sha256::digest(canonical));
        let time = &self.headers["x-amz-date"];
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let first = format!("AWS4{key}").into_bytes();
        let chain = scope.split('/').chain([text.as_str()]);
        let signature = chain.fold(first, |key, part| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(part.as_bytes());
            mac.finalize().into_bytes().to_vec()
        });
        parts[2] == format!("Signature={}", hex::encode(signature))
    }

    /// Region and service of the signature.
    pub fn scope(&self) -> String {
        let parts: Vec<_> = self.headers["authorization"].split('/').collect();
        format!("{}/{}", parts[2], parts[3])
    }
}

type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// The services; they end with the process.
pub struct Aws {
    pub origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Aws {
    /// Answers with `answer`.
    pub fn new(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::start(None, Box::new(answer))
    }

    /// The same with TLS, as `localhost`; its authority is `ca.pem` in `folder`.
    pub fn with_tls(
        folder: &Path,
        answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(Arc::new(tls(folder))), Box::new(answer))
    }

    /// The same with TLS, as whom the configuration says.
    pub fn with_certificate(
        tls: Arc<ServerConfig>,
        answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(tls), Box::new(answer))
    }

    fn start(tls: Option<Arc<ServerConfig>>, answer: Box<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin = match &tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer: Arc<Answer> = answer.into();
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let (answer, seen, tls) = (Arc::clone(&answer), Arc::clone(&seen), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &*answer, &seen),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(connection, stream), &*answer, &seen);
                    }
                });
            }
        });
        Self { origin, asked }
    }

    /// What was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn tls(folder: &Path) -> ServerConfig {
    let at = |name: &str| folder.join(name).display().to_string();
    let (ca, ca_key, key) = (at("ca.pem"), at("ca.key"), at("key.pem"));
    let (request, leaf, extensions) = (at("request"), at("leaf.pem"), at("extensions"));
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-subj"];
    let arguments = [
        "/CN=authority",
        "-x509",
        "-days",
        "1",
        "-keyout",
        &ca_key,
        "-out",
        &ca,
    ];
    output_of("openssl", &[&new[..], &arguments].concat());
    let arguments = ["/CN=localhost", "-keyout", &key, "-out", &request];
    output_of("openssl", &[&new[..], &arguments].concat());
    std::fs::write(&extensions, "subjectAltName=DNS:localhost\n").unwrap();
    let sign = ["x509", "-req", "-days", "1", "-in", &request, "-CA", &ca];
    let arguments = ["-CAkey", &ca_key, "-extfile", &extensions, "-out", &leaf];
    output_of("openssl", &[&sign[..], &arguments].concat());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let leaf = CertificateDer::from_pem_file(leaf).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap()
}

/// One request of one connection; one that ends before is none.
fn serve(stream: impl Read + Write, answer: &Answer, seen: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        line.trim_end().to_owned()
    };
    let what = line();
    if what.is_empty() {
        return;
    }
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line().split_once(": ") {
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let len = headers
        .get("content-length")
        .map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let asked = Asked {
        what: what.trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
    };
    let (status, body) = answer(&asked);
    seen.lock().unwrap().push(asked);
    let len = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n");
    let _ = reader.get_mut().write_all((head + &body).as_bytes());
    let _ = reader.get_mut().flush();
}

/// What `GetAuthorizationToken` of a private registry answers; `auth` is Base64.
pub fn token(auth: &str) -> (u16, String) {
    let body = format!(
        "{{\"authorizationData\":[{{\"authorizationToken\":\"{auth}\",\"expiresAt\":1.9E9,\
         \"proxyEndpoint\":\"https://x\"}}]}}"
    );
    (200, body)
}

/// What `AssumeRole` and its like answer.
pub fn role_keys(action: &str, id: &str) -> (u16, String) {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n<{action}Result>\
         <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret&amp;of {id}\
         </SecretAccessKey><SessionToken>token of {id}</SessionToken><Expiration>\
         2030-01-01T00:00:00Z</Expiration></Credentials></{action}Result></{action}Response>"
    );
    (200, body)
}

/// What a container's or machine's metadata service answers.
pub fn metadata_keys(id: &str) -> (u16, String) {
    let body = format!(
        "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"{id}\",\
         \"SecretAccessKey\":\"secret of {id}\",\"Token\":\"token of {id}\",\
         \"Expiration\":\"2030-01-01T00:00:00Z\"}}"
    );
    (200, body)
}
