//! The two services: what they are asked, and how their answers become a Secret.

use std::{
    thread,
    time::{Duration, Instant, SystemTime},
};

use i2kit_contract::{
    SecretPlace, is_secret_key, last_part,
    runtime::{Base64, Secret, SecretBytes},
};
use i2kit_sigv4::{Keys, Scope, sign};
use serde_json::{Value, json};

use super::{Error, Role, Route};
use crate::{config::http::Request, net::client::random};

/// A secret has 64 KiB at most, ten parameters 80 KiB; JSON's escapes make them longer.
const MAX_ANSWER: usize = 1 << 20;
/// Pages of ten parameters.
const MOST_PAGES: usize = 20;
/// Between tries; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The service that keeps one Secret.
pub struct Service<'a> {
    role: &'a Role,
    route: &'a Route,
    place: &'a SecretPlace,
    deadline: Instant,
    /// As signatures and hosts have it.
    name: &'static str,
    host: String,
}

impl<'a> Service<'a> {
    /// The service for a place, asked until the deadline.
    pub fn new(
        role: &'a Role,
        route: &'a Route,
        place: &'a SecretPlace,
        deadline: Instant,
    ) -> Self {
        let name = match place {
            SecretPlace::Parameter { .. } | SecretPlace::Parameters { .. } => "ssm",
            SecretPlace::Secret { .. } => "secretsmanager",
        };
        Self {
            role,
            route,
            place,
            deadline,
            name,
            host: format!("{name}.{}.{}", role.region, role.domain),
        }
    }

    /// Reads the Secret.
    ///
    /// # Errors
    /// [`Error`]; what can pass was tried again.
    pub fn read(&self) -> Result<Secret, Error> {
        match self.place {
            SecretPlace::Parameter { name, key } => self.parameter(name, key),
            SecretPlace::Parameters { path } => self.parameters(path),
            SecretPlace::Secret { id, key } => self.secret(id, key.as_deref()),
        }
    }

    fn parameter(&self, name: &str, key: &str) -> Result<Secret, Error> {
        let question = json!({ "Name": name, "WithDecryption": true });
        let answer = self.ask("AmazonSSM.GetParameter", &question)?;
        let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
        let value = value.ok_or_else(|| self.bad("the answer has no value"))?;
        let mut secret = Secret::default();
        self.put(&mut secret, key, value)?;
        Ok(secret)
    }

    fn parameters(&self, path: &str) -> Result<Secret, Error> {
        let mut secret = Secret::default();
        let mut question = json!({ "Path": path, "WithDecryption": true });
        for _ in 0..MOST_PAGES {
            let answer = self.ask("AmazonSSM.GetParametersByPath", &question)?;
            let page = answer.get("Parameters").and_then(Value::as_array);
            for parameter in page.ok_or_else(|| self.bad("the answer has no parameters"))? {
                let text = |field| parameter.get(field).and_then(Value::as_str);
                let pair = text("Name").zip(text("Value"));
                let (name, value) = pair.ok_or_else(|| self.bad("a parameter has no value"))?;
                self.put(&mut secret, last_part(name), value)?;
            }
            match (answer.get("NextToken"), question.as_object_mut()) {
                (Some(token), Some(question)) if !token.is_null() => {
                    question.insert("NextToken".to_owned(), token.clone());
                }
                _ => return Ok(secret),
            }
        }
        Err(self.bad("more parameters than a Secret can have"))
    }

    fn secret(&self, id: &str, key: Option<&str>) -> Result<Secret, Error> {
        let question = json!({ "SecretId": id });
        let mut answer = self.ask("secretsmanager.GetSecretValue", &question)?;
        let text = answer.get("SecretString").and_then(Value::as_str);
        let mut secret = Secret::default();
        match (text, key) {
            (Some(text), Some(key)) => self.put(&mut secret, key, text)?,
            (Some(text), None) => self.object(&mut secret, text)?,
            (None, Some(key)) => {
                let bytes = answer.get_mut("SecretBinary").map(Value::take);
                let bytes = bytes.and_then(|value| serde_json::from_value::<Base64>(value).ok());
                let bytes = bytes.ok_or_else(|| self.bad("the answer has no value"))?;
                secret.data.insert(key.to_owned(), bytes);
            }
            (None, None) => return Err(self.bad("the secret is no text: name a key for it (#KEY)")),
        }
        Ok(secret)
    }

    /// Takes the values of an object; what is no text is taken as JSON has it, as with the port of a
    /// database.
    fn object(&self, secret: &mut Secret, text: &str) -> Result<(), Error> {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let object = value.as_object();
        let object = object
            .ok_or_else(|| self.bad("the secret is no JSON object: name a key for it (#KEY)"))?;
        for (key, value) in object {
            match value.as_str() {
                Some(text) => self.put(secret, key, text)?,
                None => self.put(secret, key, &value.to_string())?,
            }
        }
        Ok(())
    }

    fn put(&self, secret: &mut Secret, key: &str, value: &str) -> Result<(), Error> {
        if !is_secret_key(key) {
            return Err(self.bad("a name that no key of a Secret can have"));
        }
        let value = Base64(SecretBytes::new(value.as_bytes().to_vec()));
        secret.data.insert(key.to_owned(), value);
        Ok(())
    }

    fn bad(&self, reason: &'static str) -> Error {
        Error::Answer {
            host: self.host.clone(),
            reason,
        }
    }

    fn ask(&self, target: &str, question: &Value) -> Result<Value, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.try_ask(target, question) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            if !error.is_passing() || left <= pause {
                return Err(error);
            }
            // Half of it by chance, so that machines that began together do not stay together.
            let chance = random().unwrap_or_default() % 256;
            thread::sleep(pause / 2 + pause / 2 * chance / 256);
            pause *= 2;
        }
    }

    fn try_ask(&self, target: &str, question: &Value) -> Result<Value, Error> {
        let body = question.to_string();
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target),
        ];
        let signed = self.signed(&headers, body.as_bytes());
        headers.extend(signed.iter().map(|(name, value)| (*name, value.as_str())));
        let request = Request {
            method: "POST",
            host: &self.host,
            target: "/",
            headers: &headers,
            body: body.as_bytes(),
        };
        let response = self.route.exchange(&request, MAX_ANSWER);
        let response = response.map_err(|source| Error::Exchange {
            host: self.host.clone(),
            source,
        })?;
        if response.status != 200 {
            return Err(Error::Refused {
                host: self.host.clone(),
                code: error_code(&response.body),
                status: response.status,
            });
        }
        serde_json::from_slice(&response.body).map_err(|_| self.bad("the answer is no JSON"))
    }

    fn signed(&self, headers: &[(&str, &str)], body: &[u8]) -> Vec<(&'static str, String)> {
        let request = i2kit_sigv4::Request {
            method: "POST",
            host: &self.host,
            path: "/",
            headers,
            body,
        };
        let keys = Keys {
            id: &self.role.key_id,
            secret: &self.role.key,
            session_token: Some(&self.role.token),
        };
        let scope = Scope {
            region: &self.role.region,
            service: self.name,
            now: SystemTime::now(),
        };
        sign(&request, &keys, scope)
    }
}

/// `ParameterNotFound` of `{"__type": "…#ParameterNotFound", …}`; its message may say more than
/// belongs on a console.
fn error_code(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = value.get("__type").and_then(Value::as_str);
    let code = kind.and_then(|kind| kind.rsplit('#').next());
    code.unwrap_or("refused")
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::{Arc, Mutex},
    };

    use rustls::{ServerConnection, Stream};

    use super::*;
    use crate::{aws::tls, fault::Chain};

    const HOSTS: [&str; 2] = [
        "ssm.eu-west-1.amazonaws.com",
        "secretsmanager.eu-west-1.amazonaws.com",
    ];

    /// A service that answers each connection with the next of these, and keeps the requests.
    fn service(answers: Vec<(u16, String)>, names: &[&str]) -> (Route, Arc<Mutex<Vec<String>>>) {
        let (server, client) = tls::tests::server(names);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        thread::spawn(move || {
            for (status, body) in answers {
                let Ok((mut stream, _)) = listener.accept() else {
                    return;
                };
                let mut connection = ServerConnection::new(Arc::clone(&server)).unwrap();
                let mut stream = Stream::new(&mut connection, &mut stream);
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"}") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                kept.lock().unwrap().push(request);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        (Route::straight(port, client), requests)
    }

    fn read_by(route: &Route, place: &str) -> Result<Secret, String> {
        let role = Role {
            region: "eu-west-1".into(),
            domain: "amazonaws.com".into(),
            key_id: "ASIAEXAMPLE".into(),
            key: "hunter2".into(),
            token: "t0ken".into(),
        };
        let deadline = Instant::now() + Duration::from_secs(2);
        let found = Service::new(&role, route, &place.parse().unwrap(), deadline).read();
        found.map_err(|error| Chain(&error).to_string())
    }

    fn read(place: &str, answers: Vec<(u16, &str)>) -> (Result<Secret, String>, Vec<String>) {
        let answers = answers.into_iter();
        let answers = answers.map(|(status, body)| (status, body.to_owned()));
        let (route, requests) = service(answers.collect(), &HOSTS);
        let found = read_by(&route, place);
        let requests = requests.lock().unwrap().clone();
        (found, requests)
    }

    #[test]
    fn a_parameter_becomes_a_key() {
        let answer = r#"{"Parameter":{"Name":"/prod/pw","Value":"s3cret","Type":"SecureString"}}"#;
        let (found, requests) = read("ssm:/prod/pw", vec![(200, answer)]);
        assert_eq!(found.unwrap().get("pw"), Some(&b"s3cret"[..]));
        let request = &requests[0];
        for part in [
            "POST / HTTP/1.1\r\nHost: ssm.eu-west-1.amazonaws.com\r\n",
            "x-amz-target: AmazonSSM.GetParameter\r\n",
            "x-amz-security-token: t0ken\r\n",
            "/eu-west-1/ssm/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=",
            r#"{"Name":"/prod/pw","WithDecryption":true}"#,
        ] {
            assert!(request.contains(part), "{part} in {request}");
        }
        assert!(!request.contains("hunter2"));
        let (found, _) = read("ssm:/prod/pw#password", vec![(200, answer)]);
        assert_eq!(found.unwrap().get("password"), Some(&b"s3cret"[..]));
    }

    #[test]
    fn a_path_becomes_keys_page_by_page() {
        let pages = [
            r#"{"Parameters":[{"Name":"/p/a","Value":"1"}],"NextToken":"next"}"#,
            r#"{"Parameters":[{"Name":"/p/b","Value":"2"}]}"#,
        ];
        let (found, requests) = read("ssm:/p/", pages.map(|page| (200, page)).into());
        assert_eq!(found.unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(requests[1].contains("\"NextToken\":\"next\""));
        let endless = vec![(200, pages[0]); MOST_PAGES + 1];
        let (found, requests) = read("ssm:/p/", endless);
        assert!(found.unwrap_err().contains("more parameters"));
        assert_eq!(requests.len(), MOST_PAGES);
    }

    #[test]
    fn a_secret_becomes_keys_or_one() {
        let answer = r#"{"SecretString":"{\"user\":\"me\",\"port\":5432}"}"#;
        let found = read("secretsmanager:prod/db", vec![(200, answer)])
            .0
            .unwrap();
        assert_eq!(found.get("user"), Some(&b"me"[..]));
        assert_eq!(found.get("port"), Some(&b"5432"[..]));
        let answer = r#"{"SecretString":"plain"}"#;
        let found = read("secretsmanager:a#k", vec![(200, answer)]).0.unwrap();
        assert_eq!(found.get("k"), Some(&b"plain"[..]));
        let answer = r#"{"SecretBinary":"AP8="}"#;
        let found = read("secretsmanager:a#k", vec![(200, answer)]).0.unwrap();
        assert_eq!(found.get("k"), Some(&[0, 255][..]));
    }

    #[test]
    fn refusals_are_told_and_no_value_is_shown() {
        for (place, status, answer, expected) in [
            (
                "ssm:/p",
                400,
                r#"{"__type":"x#ParameterNotFound","message":"s3cret"}"#,
                "ssm.eu-west-1.amazonaws.com: ParameterNotFound (HTTP status 400)",
            ),
            ("ssm:/p", 302, "", "refused (HTTP status 302)"),
            ("ssm:/p", 200, "s3cret", "the answer is no JSON"),
            (
                "ssm:/p",
                200,
                r#"{"Parameter":"s3cret"}"#,
                "the answer has no value",
            ),
            ("ssm:/p/", 200, "{}", "the answer has no parameters"),
            (
                "ssm:/p/",
                200,
                r#"{"Parameters":[{"Name":"/p/a"}]}"#,
                "a parameter has no value",
            ),
            (
                "ssm:/p/",
                200,
                r#"{"Parameters":[{"Name":"/p/..","Value":"s3cret"}]}"#,
                "no key of a Secret",
            ),
            (
                "secretsmanager:a",
                200,
                r#"{"SecretString":"s3cret"}"#,
                "no JSON object",
            ),
            (
                "secretsmanager:a",
                200,
                r#"{"SecretBinary":"czNjcmV0"}"#,
                "the secret is no text",
            ),
            (
                "secretsmanager:a#k",
                200,
                r#"{"SecretBinary":"no base64: s3cret"}"#,
                "the answer has no value",
            ),
        ] {
            let error = read(place, vec![(status, answer)]).0.unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_passes_is_waited_out_and_not_for_ever() {
        let answer = r#"{"Parameter":{"Name":"p","Value":"x"}}"#;
        let busy = (400, r#"{"__type":"ThrottlingException"}"#);
        let (found, requests) = read("ssm:p", vec![busy, (503, ""), (200, answer)]);
        assert!(found.is_ok() && requests.len() == 3, "{found:?}");
        let begun = Instant::now();
        let (found, _) = read("ssm:p", vec![busy; 20]);
        assert!(found.unwrap_err().contains("ThrottlingException"));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_server_with_another_name_is_not_talked_to() {
        let answers = vec![(200, "{}".to_owned()); 5];
        let (route, requests) = service(answers, &["example.org"]);
        let error = read_by(&route, "ssm:/p").unwrap_err();
        assert!(error.contains("certificate"), "{error}");
        let requests = requests.lock().unwrap();
        assert!(requests.len() <= 1 && requests.iter().all(String::is_empty));
    }
}
