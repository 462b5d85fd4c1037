//! Probes: how the guest learns whether a container works (core/v1 `Probe`).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A probe of a container, defaults applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What is tried.
    pub check: Check,
    /// Seconds from the container's start to the first try.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub initial_delay_seconds: u32,
    /// Seconds after which a try has failed, at least 1.
    pub timeout_seconds: u32,
    /// Seconds between tries, at least 1.
    pub period_seconds: u32,
    /// Successes in a row that make it succeed, at least 1.
    pub success_threshold: u32,
    /// Failures in a row that make it fail, at least 1.
    pub failure_threshold: u32,
    /// Grace period of a container that is ended because of this probe; else the Pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// A command in the container exits with 0.
    Exec(Exec),
    /// A GET is answered with a status from 200 to 399.
    HttpGet(HttpGet),
    /// A TCP connection opens.
    TcpSocket(TcpSocket),
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc(Grpc),
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Program and arguments, no shell. Never empty.
    pub command: Vec<String>,
}

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    /// With or without TLS; certificates are not checked.
    pub scheme: Scheme,
    /// Whom to connect to; the VM itself when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
    /// 1-65535.
    pub port: u16,
    /// Path and query: printable ASCII that starts with `/`.
    pub path: String,
    /// Header fields, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
}

/// One header field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// A token (RFC 9110, 5.6.2).
    pub name: String,
    /// Without line breaks and NUL.
    pub value: String,
}

/// `scheme`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Scheme {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
}

/// A TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpSocket {
    /// Whom to connect to; the VM itself when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
    /// 1-65535.
    pub port: u16,
}

/// A health check over gRPC without TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// 1-65535.
    pub port: u16,
    /// The service that is asked about; empty for the server as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
}
