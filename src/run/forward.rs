//! Port forwards: what `-p` means and which host ports are free.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

use i2kit_contract::{Port, Protocol};

/// Where a forward listens when no address is given: only this machine reaches the VM.
pub const DEFAULT_HOST_IP: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// One host port that leads to a port of the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Address on the host. QEMU's user-mode network forwards IPv4 only.
    pub host_ip: Ipv4Addr,
    /// Port on the host; 0 asks for any free one.
    pub host_port: u16,
    /// Port in the VM, 1-65535.
    pub guest_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host_ip,
            host_port,
            guest_port,
            protocol,
        } = self;
        write!(
            f,
            "{host_ip}:{host_port} -> {guest_port}/{}",
            transport(*protocol)
        )
    }
}

/// A `-p` value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port forward '{text}': {problem}")]
pub struct ForwardError {
    text: String,
    problem: Problem,
}

impl ForwardError {
    /// How the value could read instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some("write [[HOST-IP:]HOST-PORT:]CONTAINER-PORT[/tcp|/udp], as in 8080:80 or 0.0.0.0:5353:53/udp".into())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("'{0}' is not a port number")]
    Number(String),
    #[error("the container port cannot be 0")]
    Zero,
    #[error("'{0}' is not an IPv4 address")]
    Address(String),
    #[error("QEMU's user-mode network forwards IPv4 only")]
    V6,
    #[error("protocol '{0}' is neither tcp nor udp")]
    Protocol(String),
    #[error("too many colons")]
    Parts,
}

impl Forward {
    /// Parses `[[HOST-IP:]HOST-PORT:]CONTAINER-PORT[/tcp|/udp]`, the notation of `docker run -p`.
    /// Without a host port it is the container's; an empty one or 0 asks for any free port.
    ///
    /// # Errors
    /// [`ForwardError`], which names the value and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ForwardError> {
        parse(text).map_err(|problem| ForwardError {
            text: text.into(),
            problem,
        })
    }

    fn is_same_service(&self, port: &Port) -> bool {
        self.guest_port == port.container_port && self.protocol == port.protocol
    }
}

impl std::str::FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        Self::parse(text)
    }
}

fn parse(text: &str) -> Result<Forward, Problem> {
    let (addresses, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((rest, name)) if name.eq_ignore_ascii_case("tcp") => (rest, Protocol::Tcp),
        Some((rest, name)) if name.eq_ignore_ascii_case("udp") => (rest, Protocol::Udp),
        Some((_, name)) => return Err(Problem::Protocol(name.into())),
    };
    if addresses.contains('[') {
        return Err(Problem::V6);
    }
    let parts: Vec<&str> = addresses.split(':').collect();
    let (host_ip, host, guest) = match parts.as_slice() {
        [guest] => (DEFAULT_HOST_IP, *guest, *guest),
        [host, guest] => (DEFAULT_HOST_IP, *host, *guest),
        [ip, host, guest] => (address(ip)?, *host, *guest),
        _ => return Err(Problem::Parts),
    };
    let guest_port = number(guest)?;
    if guest_port == 0 {
        return Err(Problem::Zero);
    }
    let host_port = if host.is_empty() { 0 } else { number(host)? };
    Ok(Forward {
        host_ip,
        host_port,
        guest_port,
        protocol,
    })
}

fn address(text: &str) -> Result<Ipv4Addr, Problem> {
    match text.parse() {
        Ok(IpAddr::V4(ip)) => Ok(ip),
        Ok(IpAddr::V6(_)) => Err(Problem::V6),
        Err(_) => Err(Problem::Address(text.into())),
    }
}

/// Digits only: `u16::from_str` would take a sign.
fn number(text: &str) -> Result<u16, Problem> {
    let wrong = || Problem::Number(text.into());
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// Adds a forward for each container port that `asked` leaves out: from its `hostPort`, else from
/// the same port, where that is free for us, else (taken, or privileged) from any free one. An
/// IPv4 `hostIP` is listened on. SCTP is left out: QEMU's user-mode network has none.
#[must_use]
pub fn with_defaults(asked: &[Forward], ports: &[Port]) -> Vec<Forward> {
    let mut forwards = asked.to_vec();
    for port in ports {
        let is_asked = forwards.iter().any(|forward| forward.is_same_service(port));
        if is_asked || port.protocol == Protocol::Sctp {
            continue;
        }
        let mut forward = Forward {
            host_ip: match port.host_ip {
                Some(IpAddr::V4(address)) => address,
                _ => DEFAULT_HOST_IP,
            },
            host_port: port.host_port.unwrap_or(port.container_port),
            guest_port: port.container_port,
            protocol: port.protocol,
        };
        let claimed = forwards.iter().any(|other| collide(other, &forward));
        if claimed || bind(&forward).is_err() {
            forward.host_port = 0;
        }
        forwards.push(forward);
    }
    forwards
}

/// A forward whose host port cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Someone listens there, or we may not.
    #[error("forward {forward}: listen on {}:{} ({}): {source}", forward.host_ip, forward.host_port, transport(forward.protocol))]
    Bind {
        /// The forward.
        forward: Forward,
        /// Why.
        source: io::Error,
    },
    /// Two forwards want one host port.
    #[error("forwards {first} and {second} want the same host port")]
    Twice {
        /// The one named first.
        first: Forward,
        /// The other.
        second: Forward,
    },
}

impl PortError {
    /// The cure.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let forward = match self {
            Self::Bind { forward, .. }
            | Self::Twice {
                second: forward, ..
            } => forward,
        };
        let suffix = if forward.protocol == Protocol::Udp {
            "/udp"
        } else {
            ""
        };
        let ip = match forward.host_ip {
            DEFAULT_HOST_IP => String::new(),
            ip => format!("{ip}:"),
        };
        Some(format!(
            "choose another host port, or let i2kit choose: -p {ip}0:{}{suffix}",
            forward.guest_port
        ))
    }
}

/// Checks that every host port can be listened on, before anything boots, and puts a free port
/// where 0 was asked for. Those come last.
///
/// # Errors
/// [`PortError`] for the first forward that cannot be had.
pub fn settle(asked: &[Forward]) -> Result<Vec<Forward>, PortError> {
    let mut settled: Vec<Forward> = Vec::with_capacity(asked.len());
    // Held until all are settled, so that no two get the same free port.
    let mut held = Vec::with_capacity(asked.len());
    let (free, fixed): (Vec<&Forward>, Vec<&Forward>) =
        asked.iter().partition(|f| f.host_port == 0);
    for forward in fixed.into_iter().chain(free) {
        if let Some(first) = settled.iter().find(|other| collide(other, forward)) {
            return Err(PortError::Twice {
                first: *first,
                second: *forward,
            });
        }
        let (socket, host_port) = bind(forward).map_err(|source| PortError::Bind {
            forward: *forward,
            source,
        })?;
        settled.push(Forward {
            host_port,
            ..*forward
        });
        held.push(socket);
    }
    Ok(settled)
}

fn collide(one: &Forward, other: &Forward) -> bool {
    let any = |f: &Forward| f.host_ip.is_unspecified();
    one.host_port != 0
        && one.host_port == other.host_port
        && one.protocol == other.protocol
        && (one.host_ip == other.host_ip || any(one) || any(other))
}

/// A socket that keeps a port taken while it lives.
enum Held {
    Tcp(#[allow(dead_code, reason = "held for its life time")] TcpListener),
    Udp(#[allow(dead_code, reason = "held for its life time")] UdpSocket),
}

fn bind(forward: &Forward) -> io::Result<(Held, u16)> {
    let address = SocketAddrV4::new(forward.host_ip, forward.host_port);
    match forward.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(address)?;
            let port = listener.local_addr()?.port();
            Ok((Held::Tcp(listener), port))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(address)?;
            let port = socket.local_addr()?.port();
            Ok((Held::Udp(socket), port))
        }
        Protocol::Sctp => Err(io::ErrorKind::Unsupported.into()),
    }
}

pub(super) fn transport(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forward(text: &str) -> Forward {
        Forward::parse(text).unwrap()
    }

    fn declared(container_port: u16) -> Port {
        Port {
            name: None,
            container_port,
            protocol: Protocol::Tcp,
            host_port: None,
            host_ip: None,
        }
    }

    #[test]
    fn a_host_port_is_where_the_forward_listens() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host_port = free.local_addr().unwrap().port();
        drop(free);
        let port = Port {
            host_port: Some(host_port),
            host_ip: Some(Ipv4Addr::UNSPECIFIED.into()),
            ..declared(80)
        };
        let sctp = Port {
            protocol: Protocol::Sctp,
            ..declared(5000)
        };
        let forwards = with_defaults(&[], &[port, sctp]);
        let expected = forward(&format!("0.0.0.0:{host_port}:80"));
        assert_eq!(forwards, [expected]);
    }

    #[test]
    fn every_notation_parses() {
        let local = DEFAULT_HOST_IP;
        let cases = [
            ("80", local, 80, 80, Protocol::Tcp),
            ("8080:80", local, 8080, 80, Protocol::Tcp),
            ("0:80", local, 0, 80, Protocol::Tcp),
            (":80", local, 0, 80, Protocol::Tcp),
            ("53/udp", local, 53, 53, Protocol::Udp),
            ("5353:53/UDP", local, 5353, 53, Protocol::Udp),
            (
                "0.0.0.0:8080:80/tcp",
                Ipv4Addr::UNSPECIFIED,
                8080,
                80,
                Protocol::Tcp,
            ),
            (
                "192.0.2.7::80",
                Ipv4Addr::new(192, 0, 2, 7),
                0,
                80,
                Protocol::Tcp,
            ),
        ];
        for (text, host_ip, host_port, guest_port, protocol) in cases {
            assert_eq!(
                forward(text),
                Forward {
                    host_ip,
                    host_port,
                    guest_port,
                    protocol
                },
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "'' is not a port number"),
            ("web", "'web' is not a port number"),
            ("+80", "'+80' is not a port number"),
            ("80:65536", "'65536' is not a port number"),
            ("80:0", "the container port cannot be 0"),
            ("80/sctp", "protocol 'sctp' is neither tcp nor udp"),
            ("localhost:80:80", "'localhost' is not an IPv4 address"),
            ("[::1]:80:80", "IPv4 only"),
            ("1:2:3:4", "too many colons"),
        ];
        for (text, problem) in cases {
            let error = Forward::parse(text).unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains(&format!("'{text}'")),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_taken_port_is_an_error_and_a_default_one_moves() {
        let taken = TcpListener::bind((DEFAULT_HOST_IP, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let asked = Forward {
            host_port: port,
            ..forward("1:80")
        };
        let error = settle(&[asked]).unwrap_err();
        assert!(matches!(error, PortError::Bind { .. }), "{error}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        assert!(error.hint().unwrap().contains("-p 0:80"));

        let declared = declared(port);
        let defaults = with_defaults(&[], std::slice::from_ref(&declared));
        assert_eq!(
            defaults.iter().map(|f| f.host_port).collect::<Vec<_>>(),
            [0]
        );
        let settled = settle(&defaults).unwrap();
        assert!(settled[0].host_port != 0 && settled[0].host_port != port);

        // One that is asked for stays the only one.
        let explicit = Forward {
            host_port: 0,
            guest_port: port,
            ..asked
        };
        assert_eq!(with_defaults(&[explicit], &[declared]), [explicit]);
    }

    #[test]
    fn one_host_port_serves_one_forward() {
        let free = settle(&[forward("0:80")]).unwrap()[0].host_port;
        let one = Forward {
            host_port: free,
            ..forward("1:80")
        };
        let two = Forward {
            host_ip: Ipv4Addr::UNSPECIFIED,
            guest_port: 81,
            ..one
        };
        assert!(matches!(settle(&[one, two]), Err(PortError::Twice { .. })));
        let udp = Forward {
            protocol: Protocol::Udp,
            ..two
        };
        assert_eq!(settle(&[one, udp]).unwrap().len(), 2);
        let many = settle(&[forward("0:1"), forward("0:2"), forward("0:3")]).unwrap();
        let mut ports: Vec<u16> = many.iter().map(|f| f.host_port).collect();
        ports.dedup();
        assert_eq!(ports.len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC{0,40}") {
            let _ = Forward::parse(&text);
        }

        #[test]
        fn every_forward_survives_its_notation(ip: u32, host_port: u16, guest_port in 1u16.., udp: bool) {
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let wanted = Forward { host_ip: ip.into(), host_port, guest_port, protocol };
            let text = format!("{}:{host_port}:{guest_port}/{}", wanted.host_ip, transport(protocol));
            prop_assert_eq!(Forward::parse(&text), Ok(wanted));
        }
    }
}
