//! DHCP messages (RFC 2131, RFC 2132) and the IPv4 and UDP headers around them. Pure.

use std::net::Ipv4Addr;

/// The server's port; the client's is 68.
pub const SERVER_PORT: u16 = 67;
/// See [`SERVER_PORT`].
pub const CLIENT_PORT: u16 = 68;
/// Up to the options.
const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// BOOTP's least length, which some relays insist on.
const LEAST: usize = 300;
/// Subnet mask, router, DNS, domain, MTU, NTP servers, lease time, T1, T2, classless routes (RFC
/// 3442).
const PARAMETERS: [u8; 10] = [1, 121, 3, 6, 15, 26, 42, 51, 58, 59];

/// Leases are at least this long, whatever the server says, and renewed after this at the
/// earliest; in seconds.
const LEAST_LEASE: u32 = 60;
const LEAST_T1: u32 = 15;

/// What a message is for (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Client looks for servers.
    Discover,
    /// Server offers a lease.
    Offer,
    /// Client takes or renews a lease.
    Request,
    /// Server grants it.
    Ack,
    /// Server refuses it.
    Nak,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Ack => 5,
            Self::Nak => 6,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [
            Self::Discover,
            Self::Offer,
            Self::Request,
            Self::Ack,
            Self::Nak,
        ]
        .into_iter()
        .find(|kind| kind.number() == number)
    }
}

/// A message from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// [`Kind::Discover`] or [`Kind::Request`].
    pub kind: Kind,
    /// Transaction, chosen at random.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Hardware address.
    pub mac: [u8; 6],
    /// The client's address when it renews, unspecified otherwise.
    pub ciaddr: Ipv4Addr,
    /// Option 50: the address that was offered.
    pub requested: Option<Ipv4Addr>,
    /// Option 54: the server that offered it.
    pub server: Option<Ipv4Addr>,
    /// Option 12.
    pub hostname: String,
}

impl Query {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![1, 1, 6, 0]; // BOOTREQUEST, Ethernet, 6-byte address, no hops
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.ciaddr.octets());
        bytes.extend([0; 12]);
        bytes.extend(self.mac);
        bytes.resize(FIXED, 0);
        bytes.extend(COOKIE);
        option(&mut bytes, 53, &[self.kind.number()]);
        let mut client_id = vec![1];
        client_id.extend(self.mac);
        option(&mut bytes, 61, &client_id);
        if let Some(address) = self.requested {
            option(&mut bytes, 50, &address.octets());
        }
        if let Some(address) = self.server {
            option(&mut bytes, 54, &address.octets());
        }
        if !self.hostname.is_empty() {
            option(&mut bytes, 12, self.hostname.as_bytes());
        }
        option(&mut bytes, 57, &1500u16.to_be_bytes());
        option(&mut bytes, 55, &PARAMETERS);
        bytes.push(255);
        if bytes.len() < LEAST {
            bytes.resize(LEAST, 0);
        }
        bytes
    }
}

fn option(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    bytes.extend([code, length]);
    bytes.extend(value.iter().take(usize::from(length)));
}

/// A message from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// [`Kind::Offer`], [`Kind::Ack`] or [`Kind::Nak`].
    pub kind: Kind,
    /// The query's transaction.
    pub xid: u32,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// What is offered or granted; meaningless in a NAK.
    pub lease: Lease,
}

/// What a server grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The client's address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 0-32.
    pub prefix: u8,
    /// Routes in order; a default route has prefix 0.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Domain to search.
    pub domain: Option<String>,
    /// Interface MTU, at least 576.
    pub mtu: Option<u16>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// Seconds until the lease ends; `u32::MAX` is for ever.
    pub seconds: u32,
    /// Seconds until renewal at the server (T1).
    pub renew: u32,
    /// Seconds until renewal at any server (T2).
    pub rebind: u32,
}

/// A route of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub network: Ipv4Addr,
    /// Length of its prefix, 0-32.
    pub prefix: u8,
    /// Next hop; unspecified means on the link.
    pub gateway: Ipv4Addr,
}

impl Reply {
    /// Parses a server's message for this hardware address. `None` for anything else.
    pub fn parse(bytes: &[u8], mac: [u8; 6]) -> Option<Self> {
        if bytes.get(..3)? != [2, 1, 6] || bytes.get(28..34)? != mac {
            return None;
        }
        let options = Options::parse(bytes)?;
        let kind = Kind::from_number(*options.get(53)?.first()?)?;
        let address = Ipv4Addr::from(*bytes.get(16..)?.first_chunk::<4>()?);
        if !matches!(kind, Kind::Offer | Kind::Ack | Kind::Nak) {
            return None;
        }
        if kind != Kind::Nak
            && (address.is_unspecified() || address.is_multicast() || address.is_broadcast())
        {
            return None;
        }
        Some(Self {
            kind,
            xid: u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?),
            server: options.addresses(54).first().copied(),
            lease: options.lease(address),
        })
    }
}

/// Options in order of arrival; parts of one code are joined (RFC 3396).
struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(FIXED..FIXED + 4)? != COOKIE {
            return None;
        }
        let mut options = Self(Vec::new());
        options.collect(bytes.get(FIXED + 4..)?)?;
        // Option 52: `file` (1) and `sname` (2) carry options too.
        let overload = options
            .get(52)
            .and_then(|value| value.first())
            .copied()
            .unwrap_or(0);
        if overload & 1 != 0 {
            options.collect(bytes.get(108..236)?)?;
        }
        if overload & 2 != 0 {
            options.collect(bytes.get(44..108)?)?;
        }
        Some(options)
    }

    fn collect(&mut self, mut bytes: &[u8]) -> Option<()> {
        loop {
            match bytes {
                [] | [255, ..] => return Some(()),
                [0, rest @ ..] => bytes = rest,
                [code, length, rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                    match self.0.iter_mut().find(|(found, _)| found == code) {
                        Some((_, joined)) => joined.extend_from_slice(value),
                        None => self.0.push((*code, value.to_vec())),
                    }
                    bytes = rest;
                }
                [_] => return None,
            }
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(found, _)| *found == code)
            .map(|(_, value)| value.as_slice())
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (addresses, _) = self.get(code).unwrap_or_default().as_chunks::<4>();
        addresses
            .iter()
            .map(|octets| Ipv4Addr::from(*octets))
            .collect()
    }

    fn seconds(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(*self.get(code)?.first_chunk()?))
    }

    fn lease(&self, address: Ipv4Addr) -> Lease {
        let prefix = self
            .addresses(1)
            .first()
            .map_or_else(|| classful_prefix(address), |mask| prefix_of(*mask));
        let seconds = self.seconds(51).unwrap_or(3600).max(LEAST_LEASE);
        let (renew, rebind) = self.renewal_times(seconds);
        Lease {
            address,
            prefix,
            routes: self.routes(),
            dns: self.addresses(6),
            domain: self.get(15).and_then(domain),
            mtu: self
                .get(26)
                .and_then(|value| value.first_chunk())
                .map(|mtu| u16::from_be_bytes(*mtu))
                .filter(|mtu| *mtu >= 576),
            ntp: self.addresses(42),
            seconds,
            renew,
            rebind,
        }
    }

    /// T1 and T2: half and seven eighths of the lease, unless the server has sensible ones (RFC
    /// 2131, 4.4.5: T1 before T2 before the end). A T1 of 0 would be a renewal without end.
    fn renewal_times(&self, seconds: u32) -> (u32, u32) {
        let default = (seconds / 2, seconds / 8 * 7);
        let renew = self.seconds(58).unwrap_or(default.0);
        let rebind = self.seconds(59).unwrap_or(default.1);
        if LEAST_T1 <= renew && renew < rebind && rebind < seconds {
            (renew, rebind)
        } else {
            default
        }
    }

    /// RFC 3442: classless routes, where given, replace the routers.
    fn routes(&self) -> Vec<Route> {
        if let Some(routes) = self.get(121).and_then(classless_routes) {
            return routes;
        }
        let routers = self.addresses(3);
        routers
            .first()
            .map(|gateway| Route {
                network: Ipv4Addr::UNSPECIFIED,
                prefix: 0,
                gateway: *gateway,
            })
            .into_iter()
            .collect()
    }
}

fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first() {
        if *prefix > 32 {
            return None;
        }
        let (significant, rest) = rest.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let (gateway, rest) = rest.split_first_chunk::<4>()?;
        let mut network = [0u8; 4];
        for (to, from) in network.iter_mut().zip(significant) {
            *to = *from;
        }
        routes.push(Route {
            network: Ipv4Addr::from(network),
            prefix: *prefix,
            gateway: Ipv4Addr::from(*gateway),
        });
        bytes = rest;
    }
    Some(routes)
}

/// Only what a `search` line may hold: the name goes into a file that resolvers parse.
fn domain(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?.trim_end_matches('\0');
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!text.is_empty() && text.chars().all(valid)).then(|| text.to_owned())
}

fn prefix_of(mask: Ipv4Addr) -> u8 {
    u8::try_from(mask.to_bits().leading_ones()).unwrap_or(32)
}

fn classful_prefix(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..128, ..] => 8,
        [128..192, ..] => 16,
        _ => 24,
    }
}

/// The netmask of a prefix.
pub fn netmask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(
        u32::MAX
            .checked_shl(32 - u32::from(prefix.min(32)))
            .unwrap_or(0),
    )
}

/// Puts a broadcast IPv4 and UDP header before a client's message: a client without an address
/// cannot use the kernel's UDP.
pub fn datagram(payload: &[u8]) -> Vec<u8> {
    let length =
        |extra: usize| u16::try_from(payload.len().saturating_add(extra)).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0x10]; // IPv4, 20-byte header; low delay
    packet.extend(length(28).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]); // no fragments, TTL 64, UDP
    packet.extend(Ipv4Addr::UNSPECIFIED.octets());
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&packet);
    if let Some(field) = packet.get_mut(10..12) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(length(8).to_be_bytes());
    packet.extend([0, 0]); // no checksum, as IPv4 allows
    packet.extend(payload);
    packet
}

/// The payload of an IPv4 packet that carries UDP from a DHCP server to a client. Checksums are
/// not checked: the kernel has not filled them in when the sender is on the same host.
pub fn server_payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?);
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != 17 || fragment & 0x3fff != 0 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes(*packet.get(2..)?.first_chunk()?));
    let udp = packet.get(header..total.min(packet.len()))?;
    let ports = udp.get(..4)?;
    if ports != [0, 67, 0, 68] {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(*udp.get(4..)?.first_chunk()?));
    udp.get(8..length.min(udp.len()))
}

fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, _) = bytes.as_chunks::<2>();
    let sum: u32 = pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn reply(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef];
        bytes.resize(16, 0);
        bytes.extend([10, 0, 2, 15]);
        bytes.resize(28, 0);
        bytes.extend(MAC);
        bytes.resize(FIXED, 0);
        bytes.extend(COOKIE);
        bytes.extend([53, 1, kind]);
        bytes.extend(options);
        bytes.push(255);
        bytes
    }

    #[test]
    fn an_ack_becomes_a_lease() {
        let mut options = vec![1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2, 6, 8, 10, 0, 2, 3];
        options.extend([
            1, 1, 1, 1, 51, 4, 0, 1, 0x51, 0x80, 54, 4, 10, 0, 2, 2, 26, 2, 0x23, 0x29,
        ]);
        options.extend([15, 7]);
        options.extend(b"example");
        let reply = Reply::parse(&reply(5, &options), MAC).unwrap();
        assert_eq!((reply.kind, reply.xid), (Kind::Ack, 0xdead_beef));
        assert_eq!(reply.server, Some(Ipv4Addr::new(10, 0, 2, 2)));
        let lease = reply.lease;
        assert_eq!(
            (lease.address, lease.prefix),
            (Ipv4Addr::new(10, 0, 2, 15), 24)
        );
        assert_eq!(lease.routes[0].gateway, Ipv4Addr::new(10, 0, 2, 2));
        assert_eq!(lease.routes[0].prefix, 0);
        assert_eq!(
            lease.dns,
            [Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(1, 1, 1, 1)]
        );
        assert_eq!(
            (lease.seconds, lease.renew, lease.rebind),
            (86400, 43200, 75600)
        );
        assert_eq!(
            (lease.mtu, lease.domain.as_deref()),
            (Some(9001), Some("example"))
        );
    }

    #[test]
    fn renewal_times_are_the_servers_where_they_make_sense() {
        let times = |lease: u32, given: Option<(u32, u32)>| {
            let mut options = vec![51, 4];
            options.extend(lease.to_be_bytes());
            for (code, seconds) in
                given.map_or(vec![], |(renew, rebind)| vec![(58, renew), (59, rebind)])
            {
                options.extend([code, 4]);
                options.extend(seconds.to_be_bytes());
            }
            let lease = Reply::parse(&reply(5, &options), MAC).unwrap().lease;
            (lease.seconds, lease.renew, lease.rebind)
        };
        assert_eq!(times(8000, Some((1000, 2000))), (8000, 1000, 2000));
        for senseless in [
            (0, 2000),
            (3000, 2000),
            (1000, 8000),
            (0, 0),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(
                times(8000, Some(senseless)),
                (8000, 4000, 7000),
                "{senseless:?}"
            );
        }
        assert_eq!(times(0, None), (60, 30, 49));
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let mut options = vec![3, 4, 10, 0, 2, 2, 121, 14];
        options.extend([32, 10, 128, 0, 1, 0, 0, 0, 0, 0, 10, 128, 0, 1]);
        let lease = Reply::parse(&reply(2, &options), MAC).unwrap().lease;
        let gateway = Ipv4Addr::new(10, 128, 0, 1);
        assert_eq!(
            lease.routes,
            [
                Route {
                    network: gateway,
                    prefix: 32,
                    gateway: Ipv4Addr::UNSPECIFIED
                },
                Route {
                    network: Ipv4Addr::UNSPECIFIED,
                    prefix: 0,
                    gateway
                },
            ]
        );
    }

    #[test]
    fn others_messages_and_bad_domains_are_ignored() {
        assert_eq!(Reply::parse(&reply(5, &[]), [0; 6]), None);
        let mut query = reply(5, &[]);
        query[0] = 1;
        assert_eq!(Reply::parse(&query, MAC), None);
        let mut options = vec![15, 10];
        options.extend(b"a\noptions\n");
        assert_eq!(
            Reply::parse(&reply(5, &options), MAC).unwrap().lease.domain,
            None
        );
    }

    #[test]
    fn a_query_has_the_specified_layout() {
        let query = Query {
            kind: Kind::Request,
            xid: 0x0102_0304,
            secs: 3,
            mac: MAC,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested: Some(Ipv4Addr::new(10, 0, 2, 15)),
            server: Some(Ipv4Addr::new(10, 0, 2, 2)),
            hostname: "web".into(),
        };
        let bytes = query.encode();
        assert!(bytes.len() >= LEAST);
        assert_eq!(bytes[..8], [1, 1, 6, 0, 1, 2, 3, 4]);
        assert_eq!(bytes[28..34], MAC);
        assert_eq!(bytes[236..243], [99, 130, 83, 99, 53, 1, 3]);
        let options = Options::parse(&bytes).unwrap();
        assert_eq!(options.addresses(50), [Ipv4Addr::new(10, 0, 2, 15)]);
        assert_eq!(options.get(12), Some(&b"web"[..]));
    }

    #[test]
    fn the_headers_are_what_the_kernel_would_write() {
        let mut packet = datagram(b"payload");
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(server_payload(&packet), None);
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        packet.extend([0; 6]); // Ethernet pads short frames
        assert_eq!(server_payload(&packet), Some(&b"payload"[..]));
    }

    #[test]
    fn masks_and_prefixes_match() {
        for (prefix, mask) in [
            (0, "0.0.0.0"),
            (20, "255.255.240.0"),
            (32, "255.255.255.255"),
        ] {
            assert_eq!(netmask(prefix).to_string(), mask);
            assert_eq!(prefix_of(mask.parse().unwrap()), prefix);
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..700),
            kind in 1u8..8,
            flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        ) {
            let _ = Reply::parse(&bytes, MAC);
            let _ = server_payload(&bytes);
            let _ = Reply::parse(&reply(kind, &bytes), MAC);
            let _ = classless_routes(&bytes);
            let mut packet = datagram(&reply(kind, &bytes));
            packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
            for (at, byte) in flips {
                let length = packet.len();
                packet[at % length] ^= byte;
            }
            let _ = server_payload(&packet).map(|payload| Reply::parse(payload, MAC));
        }
    }
}
