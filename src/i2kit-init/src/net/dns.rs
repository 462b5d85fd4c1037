//! A stub resolver (RFC 1035): addresses of a name, from the name servers of `resolv.conf`. The C
//! library's needs shared libraries, which a static program has none of.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use crate::{net::client::random, paths};

const PORT: u16 = 53;
/// The C library's: five seconds for a server, twice.
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: usize = 2;
/// More addresses of a name are not looked at.
const MOST: usize = 16;
const A: u16 = 1;
const AAAA: u16 = 28;

/// The addresses of a name, IPv4 first. An address is its own.
///
/// # Errors
/// `NotFound` when there is no such name or no name server; the last server's error otherwise.
pub fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let text = fs::read_to_string(Path::new(paths::ETC).join("resolv.conf"))?;
    let servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver "))
        .filter_map(|address| address.trim().parse().ok())
        .map(|address: IpAddr| SocketAddr::new(address, PORT))
        .collect();
    resolve_at(&servers, name, PATIENCE)
}

fn resolve_at(servers: &[SocketAddr], name: &str, patience: Duration) -> io::Result<Vec<IpAddr>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no name server is known");
    for server in servers.iter().cycle().take(servers.len() * TRIES) {
        let ask = |kind| query(*server, name, kind, patience);
        match ask(A).and_then(|found| Ok([found, ask(AAAA)?].concat())) {
            Ok(found) if found.is_empty() => {
                let error = format!("{name} has no address");
                return Err(io::Error::new(io::ErrorKind::NotFound, error));
            }
            Ok(found) => return Ok(found),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn query(server: SocketAddr, name: &str, kind: u16, patience: Duration) -> io::Result<Vec<IpAddr>> {
    let id = u16::try_from(random()? & 0xffff).unwrap_or_default();
    let question = question(name, kind).ok_or(io::ErrorKind::InvalidInput)?;
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]); // recursion desired, one question
    packet.extend(&question);
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Another port each time, and answers from this server only.
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect(server)?;
    socket.send(&packet)?;
    let end = Instant::now() + patience;
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if crate::net::client::is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        if let Some(answer) = parse(
            buffer.get(..length).unwrap_or_default(),
            id,
            &question,
            kind,
        ) {
            return answer;
        }
    }
}

fn question(name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]); // Internet
    (bytes.len() <= 259).then_some(bytes)
}

/// `None` for a packet that is no answer to this question.
fn parse(packet: &[u8], id: u16, question: &[u8], kind: u16) -> Option<io::Result<Vec<IpAddr>>> {
    let word = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let flags = word(2)?;
    let body = packet.get(12..)?;
    let asked = body.get(..question.len())?;
    if word(0)? != id
        || flags & 0x8000 == 0
        || word(4)? != 1
        || !asked.eq_ignore_ascii_case(question)
    {
        return None;
    }
    match flags & 15 {
        0 => {}
        3 => return Some(Ok(Vec::new())), // no such name
        code => {
            return Some(Err(io::Error::other(format!(
                "the name server answers with code {code}"
            ))));
        }
    }
    if flags & 0x0200 != 0 {
        return Some(Err(io::Error::other(
            "the answer does not fit into a datagram",
        )));
    }
    let mut rest = body.get(question.len()..)?;
    let mut found = Vec::new();
    for _ in 0..word(6)? {
        let Some((record, data, after)) = record(rest) else {
            return Some(Err(io::Error::other(
                "the name server's answer is malformed",
            )));
        };
        if record == kind && found.len() < MOST {
            let v4 = <[u8; 4]>::try_from(data).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(data).map(IpAddr::from);
            found.extend(v4.or(v6).ok());
        }
        rest = after;
    }
    Some(Ok(found))
}

/// Kind, data and what follows of a resource record. Names need not be followed: a recursive
/// server puts the records that CNAMEs lead to into the same answer.
fn record(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let mut rest = bytes;
    loop {
        match *rest.first()? {
            0 => break rest = rest.get(1..)?,
            0xc0.. => break rest = rest.get(2..)?,
            length @ 1..=63 => rest = rest.get(usize::from(length) + 1..)?,
            _ => return None,
        }
    }
    let kind = u16::from_be_bytes(*rest.first_chunk()?);
    let length = u16::from_be_bytes(*rest.get(8..)?.first_chunk()?);
    let (data, after) = rest.get(10..)?.split_at_checked(usize::from(length))?;
    Some((kind, data, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer with a CNAME, and an address behind it.
    fn answer(id: u16, question: &[u8], flags: u16, kind: u16, data: &[u8]) -> Vec<u8> {
        let mut packet = id.to_be_bytes().to_vec();
        packet.extend(flags.to_be_bytes());
        packet.extend([0, 1, 0, 2, 0, 0, 0, 0]);
        packet.extend(question);
        packet.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 3, 1, b'x', 0]);
        packet.extend([1, b'x', 0]);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1, 0, 0, 0, 9]);
        packet.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        packet.extend(data);
        packet
    }

    fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                let question = &buffer[12..length];
                let kind = u16::from_be_bytes([
                    question[question.len() - 4],
                    question[question.len() - 3],
                ]);
                let known = question.starts_with(b"\x04time\x07example\x00");
                let (flags, data) = match (known, kind) {
                    (true, A) => (0x8180, vec![10, 0, 0, 1]),
                    (true, _) => (0x8180, vec![0xfd; 16]),
                    (false, _) => (0x8183, Vec::new()),
                };
                // A forged one comes first.
                let forged = answer(id.wrapping_add(1), question, flags, kind, &[6, 6, 6, 6]);
                socket.send_to(&forged, from).unwrap();
                socket
                    .send_to(&answer(id, question, flags, kind, &data), from)
                    .unwrap();
            }
        });
        address
    }

    #[test]
    fn names_become_addresses_and_unknown_ones_are_not_found() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = [silent.local_addr().unwrap(), server()];
        let patience = Duration::from_millis(300);
        let found = resolve_at(&servers, "time.example", patience).unwrap();
        let v6 = IpAddr::from([0xfd; 16]);
        assert_eq!(found, [IpAddr::from([10, 0, 0, 1]), v6]);
        let error = resolve_at(&servers[1..], "other.example", patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = resolve_at(&servers[..1], "time.example", patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(resolve_at(&[], "time.example", patience).is_err());
        assert_eq!(
            resolve("fd00::1").unwrap(),
            ["fd00::1".parse::<IpAddr>().unwrap()]
        );
    }

    proptest! {
        #[test]
        fn no_packet_panics(packet in proptest::collection::vec(any::<u8>(), 0..120), at in 0usize..60, byte: u8) {
            let question = question("time.example", A).unwrap();
            let _ = parse(&packet, 7, &question, A);
            let mut broken = answer(7, &question, 0x8180, A, &[10, 0, 0, 1]);
            let at = at % broken.len();
            broken[at] = byte;
            let _ = parse(&broken, 7, &question, A);
        }
    }
}
