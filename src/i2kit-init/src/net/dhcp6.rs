//! DHCPv6 messages of a client (RFC 8415): one address (IA_NA) and name servers (RFC 3646). Pure.

use std::net::Ipv6Addr;

use crate::net::{ra, settings::Ipv6Names};

/// The client's port.
pub const CLIENT_PORT: u16 = 546;
/// The server's port.
pub const SERVER_PORT: u16 = 547;
/// All_DHCP_Relay_Agents_and_Servers.
pub const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_ADDR: u16 = 5;
const OPTION_REQUEST: u16 = 6;
const ELAPSED_TIME: u16 = 8;
const STATUS_CODE: u16 = 13;
const DNS_SERVERS: u16 = 23;
const DOMAIN_LIST: u16 = 24;
const INFORMATION_REFRESH_TIME: u16 = 32;
/// A server's identifier is no longer than this (RFC 8415, section 11.1).
const LONGEST_DUID: usize = 130;
/// The identity association: there is one.
const IAID: [u8; 4] = [0, 0, 0, 1];

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has an address?
    Solicit,
    /// That one, please.
    Request,
    /// Longer, please: to its server.
    Renew,
    /// Longer, please: to any.
    Rebind,
    /// No address, only the rest.
    InformationRequest,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Solicit => 1,
            Self::Request => 3,
            Self::Renew => 5,
            Self::Rebind => 6,
            Self::InformationRequest => 11,
        }
    }

    /// The answer: ADVERTISE or REPLY.
    fn answer(self) -> u8 {
        if self == Self::Solicit { 2 } else { 7 }
    }
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What for.
    pub kind: Kind,
    /// Transaction, 24 bits, chosen at random.
    pub id: [u8; 3],
    /// Hardware address, which identifies the client (DUID-LL).
    pub mac: [u8; 6],
    /// Hundredths of a second since the exchange began.
    pub elapsed: u16,
    /// The server that is meant, for REQUEST and RENEW.
    pub server: Option<Vec<u8>>,
    /// The address that is asked for.
    pub address: Option<Ipv6Addr>,
}

impl Query {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind.number()];
        bytes.extend(self.id);
        let mut client = vec![0, 3, 0, 1]; // DUID-LL, Ethernet
        client.extend(self.mac);
        option(&mut bytes, CLIENT_ID, &client);
        if let Some(server) = &self.server {
            option(&mut bytes, SERVER_ID, server);
        }
        if self.kind != Kind::InformationRequest {
            let mut association = IAID.to_vec();
            association.extend([0; 8]); // the server chooses T1 and T2
            if let Some(address) = self.address {
                let mut value = address.octets().to_vec();
                value.extend([0; 8]);
                option(&mut association, IA_ADDR, &value);
            }
            option(&mut bytes, IA_NA, &association);
        }
        option(&mut bytes, ELAPSED_TIME, &self.elapsed.to_be_bytes());
        let mut wanted = vec![DNS_SERVERS, DOMAIN_LIST];
        if self.kind == Kind::InformationRequest {
            wanted.push(INFORMATION_REFRESH_TIME);
        }
        let wanted: Vec<u8> = wanted.into_iter().flat_map(u16::to_be_bytes).collect();
        option(&mut bytes, OPTION_REQUEST, &wanted);
        bytes
    }

    /// The server's answer to it, or `None` for any other bytes.
    pub fn parse_reply(&self, bytes: &[u8]) -> Option<Reply> {
        let (head, options) = bytes.split_at_checked(4)?;
        if head.first() != Some(&self.kind.answer()) || head.get(1..) != Some(&self.id) {
            return None;
        }
        let client = find(options, CLIENT_ID)?;
        if client.get(..4) != Some(&[0, 3, 0, 1]) || client.get(4..) != Some(&self.mac) {
            return None;
        }
        let server = find(options, SERVER_ID)?;
        if server.is_empty() || server.len() > LONGEST_DUID || !is_success(options) {
            return None;
        }
        let mut names = Ipv6Names::default();
        let (servers, _) = find(options, DNS_SERVERS)
            .unwrap_or_default()
            .as_chunks::<16>();
        names.servers = servers
            .iter()
            .take(8)
            .map(|octets| Ipv6Addr::from(*octets))
            .collect();
        names
            .servers
            .retain(|address| !address.is_multicast() && !address.is_unspecified());
        ra::domains(
            find(options, DOMAIN_LIST).unwrap_or_default(),
            &mut names.search,
        );
        Some(Reply {
            server: server.to_vec(),
            lease: find(options, IA_NA).and_then(lease),
            names,
            refresh: find(options, INFORMATION_REFRESH_TIME).and_then(seconds),
        })
    }
}

fn option(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    bytes.extend(code.to_be_bytes());
    bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(value);
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The server's identifier.
    pub server: Vec<u8>,
    /// The address, where one is offered or given.
    pub lease: Option<Lease>,
    /// Name servers and domains.
    pub names: Ipv6Names,
    /// Seconds after which to ask for these again.
    pub refresh: Option<u32>,
}

/// An address and its times in seconds; `u32::MAX` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address, whose prefix is 128: what is on the link, routers say.
    pub address: Ipv6Addr,
    /// When to ask its server for more (T1), at least 60.
    pub renew: u32,
    /// When to ask any server (T2).
    pub rebind: u32,
    /// When it ends.
    pub valid: u32,
}

/// The value of the first option with a code. A malformed list has none behind the fault.
fn find(mut options: &[u8], code: u16) -> Option<&[u8]> {
    loop {
        let (head, rest) = options.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let length = usize::from(u16::from_be_bytes([c, d]));
        let (value, rest) = rest.split_at_checked(length)?;
        if u16::from_be_bytes([a, b]) == code {
            return Some(value);
        }
        options = rest;
    }
}

fn is_success(options: &[u8]) -> bool {
    find(options, STATUS_CODE).is_none_or(|status| status.get(..2) == Some(&[0, 0]))
}

fn seconds(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*value.first_chunk()?))
}

fn lease(association: &[u8]) -> Option<Lease> {
    let (fixed, options) = association.split_at_checked(12)?;
    if fixed.get(..4) != Some(&IAID) || !is_success(options) {
        return None;
    }
    let entry = find(options, IA_ADDR)?;
    let address = Ipv6Addr::from(*entry.first_chunk::<16>()?);
    let valid = seconds(entry.get(20..)?)?;
    let is_usable = !address.is_multicast() && !address.is_unspecified() && !address.is_loopback();
    if !is_usable || valid == 0 || !is_success(entry.get(24..)?) {
        return None;
    }
    // A life of seconds would be a renewal without end.
    let valid = valid.max(120);
    let (renew, rebind) = (seconds(fixed.get(4..)?)?, seconds(fixed.get(8..)?)?);
    let times = if renew >= 60 && renew <= rebind && rebind <= valid {
        (renew, rebind)
    } else if valid == u32::MAX {
        (u32::MAX, u32::MAX)
    } else {
        (valid / 2, valid / 10 * 8)
    };
    Some(Lease {
        address,
        renew: times.0,
        rebind: times.1,
        valid,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn query(kind: Kind) -> Query {
        Query {
            kind,
            id: [1, 2, 3],
            mac: MAC,
            elapsed: 0,
            server: None,
            address: None,
        }
    }

    fn reply(kind: u8, times: [u32; 3], status: u16) -> Vec<u8> {
        let mut bytes = vec![kind, 1, 2, 3];
        option(&mut bytes, CLIENT_ID, &[&[0, 3, 0, 1][..], &MAC].concat());
        option(&mut bytes, SERVER_ID, b"server");
        let [renew, rebind, valid] = times;
        let mut entry = "fd00::99".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        entry.extend(valid.to_be_bytes());
        entry.extend(valid.to_be_bytes());
        let mut association = IAID.to_vec();
        association.extend(renew.to_be_bytes());
        association.extend(rebind.to_be_bytes());
        option(&mut association, IA_ADDR, &entry);
        option(&mut association, STATUS_CODE, &status.to_be_bytes());
        option(&mut bytes, IA_NA, &association);
        option(
            &mut bytes,
            DNS_SERVERS,
            &"fec0::3".parse::<Ipv6Addr>().unwrap().octets(),
        );
        option(&mut bytes, DOMAIN_LIST, b"\x07example\x03org\x00");
        bytes
    }

    /// The bytes are those of RFC 8415's figures (sections 8, 11.4, 21).
    #[test]
    fn a_solicit_is_encoded_as_the_rfc_draws_it() {
        let expected = [
            &[1, 1, 2, 3][..],
            &[0, 1, 0, 10, 0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56],
            &[0, 3, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 8, 0, 2, 0, 0],
            &[0, 6, 0, 4, 0, 23, 0, 24],
        ];
        assert_eq!(query(Kind::Solicit).encode(), expected.concat());
        let other = query(Kind::InformationRequest).encode();
        assert_eq!(find(&other[4..], IA_NA), None);
    }

    #[test]
    fn an_answer_must_be_to_this_question() {
        let found = query(Kind::Request)
            .parse_reply(&reply(7, [100, 160, 200], 0))
            .unwrap();
        let lease = found.lease.unwrap();
        assert_eq!((lease.renew, lease.rebind, lease.valid), (100, 160, 200));
        assert_eq!(found.names.search, ["example.org"]);
        assert_eq!(found.server, b"server");
        assert!(
            query(Kind::Solicit)
                .parse_reply(&reply(7, [100, 160, 200], 0))
                .is_none()
        );
        let mut other = query(Kind::Request);
        other.mac[0] = 0;
        assert!(other.parse_reply(&reply(7, [100, 160, 200], 0)).is_none());
        other = query(Kind::Request);
        other.id[2] = 9;
        assert!(other.parse_reply(&reply(7, [100, 160, 200], 0)).is_none());
    }

    #[test]
    fn absurd_times_are_replaced_and_refusals_give_no_address() {
        let lease = |times, status| {
            let found = query(Kind::Request)
                .parse_reply(&reply(7, times, status))
                .unwrap();
            found
                .lease
                .map(|lease| (lease.renew, lease.rebind, lease.valid))
        };
        assert_eq!(lease([0, 0, 1000], 0), Some((500, 800, 1000)));
        assert_eq!(lease([1, 1, 2], 0), Some((60, 96, 120)));
        assert_eq!(lease([900, 100, 1000], 0), Some((500, 800, 1000)));
        assert_eq!(
            lease([0, 0, u32::MAX], 0),
            Some((u32::MAX, u32::MAX, u32::MAX))
        );
        assert_eq!(lease([0, 0, 0], 0), None);
        assert_eq!(lease([100, 160, 200], 2), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..150, byte: u8) {
            let _ = query(Kind::Request).parse_reply(&bytes);
            let mut broken = reply(7, [100, 160, 200], 0);
            let at = at % broken.len();
            broken[at] = byte;
            if let Some(found) = query(Kind::Request).parse_reply(&broken) {
                prop_assert!(found.lease.is_none_or(|lease| lease.renew <= lease.valid));
            }
        }
    }
}
