//! What a call answers, and how each protocol says no.

use std::sync::Arc;

use serde_json::{Value, json};

use super::xml;

/// A body.
pub enum Body {
    Bytes(Vec<u8>),
    Block(Arc<Vec<u8>>),
}

impl Body {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Block(block) => block,
        }
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Bytes(Vec::new()),
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Body::Bytes(bytes.into());
        self
    }

    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status)
            .with("Content-Type", "application/json")
            .body(value.to_string())
    }

    pub fn xml(status: u16, text: &str) -> Self {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}");
        Self::new(status)
            .with("Content-Type", "text/xml;charset=UTF-8")
            .body(text)
    }

    /// An answer of the services whose protocol is AWS's query, but for EC2's.
    pub fn of_query(action: &str, namespace: &str, request_id: &str, result: String) -> Self {
        let result = xml::element(&format!("{action}Result"), result);
        let id = xml::text("RequestId", request_id);
        let meta = xml::element("ResponseMetadata", id);
        let name = format!("{action}Response");
        let text = format!("<{name} xmlns=\"{namespace}\">{result}{meta}</{name}>");
        Self::xml(200, &text)
    }
}

/// What a call answers, unless it is refused.
pub type Outcome<T = Answer> = Result<T, Refusal>;

/// A call that is refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// EBS tells one.
    pub reason: Option<&'static str>,
}

impl Refusal {
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            reason: None,
        }
    }

    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// As the service says it.
    pub fn answer(&self, service: &str, request_id: &str) -> Answer {
        let (code, message) = (&self.code, &self.message);
        let status = self.status;
        let said = || [xml::text("Code", code), xml::text("Message", message)].concat();
        match service {
            "ebs" => {
                let body = json!({"Message": message, "Reason": self.reason});
                Answer::json(status, &body).with("x-amzn-ErrorType", code.clone())
            }
            "ssm" => {
                let body = json!({"__type": code, "message": message});
                Answer::json(status, &body)
            }
            "ec2" => {
                let errors = xml::element("Errors", xml::element("Error", said()));
                let id = xml::text("RequestID", request_id);
                Answer::xml(status, &xml::element("Response", errors + &id))
            }
            _ => {
                let error = xml::text("Type", "Sender") + &said();
                let id = xml::text("RequestId", request_id);
                let inner = xml::element("Error", error) + &id;
                Answer::xml(status, &xml::element("ErrorResponse", inner))
            }
        }
    }
}
