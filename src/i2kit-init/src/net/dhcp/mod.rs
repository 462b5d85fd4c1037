//! DHCP messages (RFC 2131, RFC 2132) and the IPv4 and UDP headers around them. Pure.

use std::net::Ipv4Addr;

mod lease;
mod options;
mod packet;
mod reply;

pub use lease::{Lease, Route, netmask};
pub use packet::{datagram, server_payload};
pub use reply::Reply;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{options::Options, *};

    pub(super) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    pub(super) const XID: u32 = 0xdead_beef;

    /// A server's message with these options.
    pub(super) fn reply(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2, 1, 6, 0];
        bytes.extend(XID.to_be_bytes());
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

    proptest! {
        #[test]
        fn no_packet_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..700),
            kind in 1u8..8,
            flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..8),
        ) {
            let _ = Reply::parse(&bytes, MAC, XID);
            let _ = server_payload(&bytes);
            let _ = Reply::parse(&reply(kind, &bytes), MAC, XID);
            let _ = lease::classless_routes(&bytes);
            let mut packet = datagram(&reply(kind, &bytes));
            packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
            for (at, byte) in flips {
                let length = packet.len();
                packet[at % length] ^= byte;
            }
            let _ = server_payload(&packet).map(|payload| Reply::parse(payload, MAC, XID));
        }
    }
}
