//! `Probe`, and the actions that probes and lifecycle hooks share.

use std::net::{IpAddr, Ipv4Addr};

use i2kit_contract::{
    Check, Exec, Grpc, Header, HttpGet, Port, Probe, Protocol, Scheme, TcpSocket,
};

use super::decode::{Field, Fields, Report};
use super::fields::{Fate, Schema};
use super::names;
use super::spec::one_of;

/// `Probe`, with the fields of the `ProbeHandler` in it.
pub const PROBE: Schema = Schema {
    name: "Probe",
    honoured: &[
        "exec",
        "failureThreshold",
        "grpc",
        "httpGet",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "tcpSocket",
        "terminationGracePeriodSeconds",
        "timeoutSeconds",
    ],
    special: &[],
};

/// `ExecAction`.
pub const EXEC: Schema = Schema {
    name: "ExecAction",
    honoured: &["command"],
    special: &[],
};

/// `HTTPGetAction`.
pub const HTTP_GET: Schema = Schema {
    name: "HTTPGetAction",
    honoured: &["host", "httpHeaders", "path", "port", "scheme"],
    special: &[("protocol", Fate::Only(&["HTTP1"]))],
};

/// `HTTPHeader`.
pub const HTTP_HEADER: Schema = Schema {
    name: "HTTPHeader",
    honoured: &["name", "value"],
    special: &[],
};

/// `TCPSocketAction`.
pub const TCP_SOCKET: Schema = Schema {
    name: "TCPSocketAction",
    honoured: &["host", "port"],
    special: &[],
};

/// `GRPCAction`.
pub const GRPC: Schema = Schema {
    name: "GRPCAction",
    honoured: &["port", "service"],
    special: &[("mode", Fate::Only(&["Plaintext"]))],
};

/// Seconds and thresholds are 32-bit integers of Go.
const MAX: u32 = i32::MAX.unsigned_abs();

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `livenessProbe`.
    Liveness,
    /// `readinessProbe`.
    Readiness,
    /// `startupProbe`.
    Startup,
}

impl Kind {
    fn field(self) -> &'static str {
        match self {
            Self::Liveness => "livenessProbe",
            Self::Readiness => "readinessProbe",
            Self::Startup => "startupProbe",
        }
    }
}

/// A probe of a container that has these ports, with the API server's defaults.
pub fn probe(
    report: &mut Report,
    container: &Fields<'_>,
    kind: Kind,
    ports: &[Port],
) -> Option<Probe> {
    let field = container.get(kind.field())?;
    let fields = field.fields(report, &PROBE)?;
    let check = check(report, &field, &fields, ports);
    let mut number = |name, default: u32| {
        let given = fields.get(name).and_then(|f| f.ranged(report, 0, MAX));
        // 0 is Go's "not set".
        given.filter(|number| *number > 0).unwrap_or(default)
    };
    let probe = Probe {
        check: Check::TcpSocket(TcpSocket {
            host: None,
            port: 0,
        }),
        initial_delay_seconds: number("initialDelaySeconds", 0),
        timeout_seconds: number("timeoutSeconds", 1),
        period_seconds: number("periodSeconds", 10),
        success_threshold: number("successThreshold", 1),
        failure_threshold: number("failureThreshold", 3),
        termination_grace_period_seconds: grace(report, &fields, kind),
    };
    if kind != Kind::Readiness
        && probe.success_threshold != 1
        && let Some(field) = fields.get("successThreshold")
    {
        field.refuse(report, format!("must be 1 in a {}", kind.field()));
    }
    Some(Probe {
        check: check?,
        ..probe
    })
}

fn grace(report: &mut Report, probe: &Fields<'_>, kind: Kind) -> Option<u32> {
    let field = probe.get("terminationGracePeriodSeconds")?;
    if kind == Kind::Readiness {
        field.refuse(
            report,
            "has no place in a readinessProbe, which ends nothing",
        );
        return None;
    }
    field.ranged(report, 1, MAX)
}

const CHECKS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];

fn check(
    report: &mut Report,
    probe: &Field<'_>,
    fields: &Fields<'_>,
    ports: &[Port],
) -> Option<Check> {
    let (name, field) = only_one(report, probe, fields, &CHECKS)?;
    match name {
        "exec" => exec(report, &field).map(Check::Exec),
        "grpc" => grpc(report, &field).map(Check::Grpc),
        "httpGet" => http_get(report, &field, ports).map(Check::HttpGet),
        _ => tcp_socket(report, &field, ports).map(Check::TcpSocket),
    }
}

/// The one of these fields that is set.
pub fn only_one<'a>(
    report: &mut Report,
    parent: &Field<'_>,
    fields: &Fields<'a>,
    names: &[&'static str],
) -> Option<(&'static str, Field<'a>)> {
    let mut set = names
        .iter()
        .filter_map(|name| Some((*name, fields.get(name)?)));
    let first = set.next();
    if first.is_none() {
        parent.refuse(report, format!("needs one of {}", names.join(", ")));
    }
    if let (Some((one, _)), Some((_, second))) = (&first, set.next()) {
        second.refuse(report, format!("is set besides {one}"));
        return None;
    }
    first
}

/// A command of at least one word.
pub fn exec(report: &mut Report, action: &Field<'_>) -> Option<Exec> {
    let fields = action.fields(report, &EXEC)?;
    let command = fields.require(report, "command")?;
    let words = command.strings(report);
    if command.items(&mut Report::default()).is_empty() {
        command.refuse(report, "is no command");
        return None;
    }
    Some(Exec { command: words })
}

/// A GET request; header names are tokens and the path is made one that can be sent.
pub fn http_get(report: &mut Report, action: &Field<'_>, ports: &[Port]) -> Option<HttpGet> {
    let fields = action.fields(report, &HTTP_GET)?;
    let schemes = [("HTTP", Scheme::Http), ("HTTPS", Scheme::Https)];
    let scheme = one_of(report, &fields, "scheme", &schemes).unwrap_or_default();
    let path = fields.get_text("path").and_then(|f| f.string(report));
    let host = host(report, &fields);
    let headers = fields.items(report, "httpHeaders");
    let headers = headers
        .iter()
        .filter_map(|item| header(report, item))
        .collect();
    let port = fields.require(report, "port")?;
    Some(HttpGet {
        scheme,
        host,
        port: self::port(report, &port, ports)?,
        path: sendable(&path.unwrap_or_default()),
        headers,
    })
}

fn header(report: &mut Report, item: &Field<'_>) -> Option<Header> {
    let fields = item.fields(report, &HTTP_HEADER)?;
    let name = fields
        .require(report, "name")
        .and_then(|f| f.checked(report, header_name));
    let value = fields
        .get("value")
        .map_or(Some(String::new()), |f| f.checked(report, header_value));
    Some(Header {
        name: name?,
        value: value?,
    })
}

/// RFC 9110, 5.6.2: a token.
fn header_name(name: &str) -> Result<(), String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match !name.is_empty() && name.bytes().all(is_token) {
        true => Ok(()),
        false => Err("is no name of a header".to_owned()),
    }
}

fn header_value(value: &str) -> Result<(), String> {
    match value.bytes().any(|b| b != b'\t' && b.is_ascii_control()) {
        true => Err("must not contain control characters".to_owned()),
        false => Ok(()),
    }
}

/// With a leading `/`, and everything that cannot stand in a request line percent-encoded.
fn sendable(path: &str) -> String {
    let mut out = String::from(if path.starts_with('/') { "" } else { "/" });
    // What follows `#` is for the client alone.
    for byte in path.split('#').next().unwrap_or_default().bytes() {
        match byte {
            0x21..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Where a TCP connection is opened to.
fn tcp_socket(report: &mut Report, action: &Field<'_>, ports: &[Port]) -> Option<TcpSocket> {
    let fields = action.fields(report, &TCP_SOCKET)?;
    let host = host(report, &fields);
    let port = fields.require(report, "port")?;
    Some(TcpSocket {
        host,
        port: self::port(report, &port, ports)?,
    })
}

/// An address: PID 1 looks no names up.
fn host(report: &mut Report, fields: &Fields<'_>) -> Option<IpAddr> {
    let field = fields.get_text("host")?;
    let text = field.string(report)?;
    if text == "localhost" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let address = text.parse().ok();
    if address.is_none() {
        field.refuse(report, "must be an IP address or localhost");
    }
    address
}

fn grpc(report: &mut Report, action: &Field<'_>) -> Option<Grpc> {
    let fields = action.fields(report, &GRPC)?;
    let service = fields.get_text("service").map(|f| f.string(report));
    let port = fields.require(report, "port")?;
    Some(Grpc {
        port: number(report, &port)?,
        service: service.unwrap_or(Some(String::new()))?,
    })
}

fn number(report: &mut Report, field: &Field<'_>) -> Option<u16> {
    let number = field.ranged(report, 1, u32::from(u16::MAX))?;
    u16::try_from(number).ok()
}

/// A number, or the name of one of the container's own ports.
fn port(report: &mut Report, field: &Field<'_>, ports: &[Port]) -> Option<u16> {
    if !field.is_string() {
        return number(report, field);
    }
    let name = field.checked(report, names::port_name)?;
    let named = |port: &&Port| port.name.as_deref() == Some(&name);
    let found = ports.iter().find(named);
    match found {
        Some(port) if port.protocol == Protocol::Tcp => return Some(port.container_port),
        Some(_) => field.refuse(report, "is a port that is not TCP"),
        None => field.refuse(report, "is no port of the container"),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_sent_as_they_are() {
        for (path, sent) in [
            ("", "/"),
            ("healthz?a=b&c", "/healthz?a=b&c"),
            ("/a b\r\nHost: x", "/a%20b%0D%0AHost:%20x"),
            ("/%41/ä#x", "/%41/%C3%A4"),
        ] {
            assert_eq!(sendable(path), sent);
        }
    }
}
