//! A message from a server.

use std::net::Ipv4Addr;

use super::{
    Kind,
    lease::{self, Ignored, Lease},
    options::Options,
};

/// A message from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// [`Kind::Offer`], [`Kind::Ack`] or [`Kind::Nak`].
    pub kind: Kind,
    /// Option 54; every offer has one.
    pub server: Option<Ipv4Addr>,
    /// What is offered or granted; meaningless in a NAK.
    pub lease: Lease,
    /// What of the lease makes no sense and was left out.
    pub ignored: Ignored,
}

/// A message in this client's transaction that nobody can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Malformed {
    /// No options begin where they must.
    #[error("it has no options")]
    Cookie,
    /// An option is longer than what is left.
    #[error("it ends within an option")]
    Option,
    /// Option 53 is missing or none.
    #[error("it does not say what it is")]
    Kind,
    /// The address is nobody's.
    #[error("it grants an address that no machine can have")]
    Address,
    /// An offer that cannot be taken.
    #[error("it is an offer of nobody")]
    Server,
}

impl Reply {
    /// Parses a server's message for this hardware address and transaction. `Ok(None)` for anything
    /// else.
    ///
    /// # Errors
    /// [`Malformed`]: it is for this client and cannot be used.
    pub fn parse(bytes: &[u8], mac: [u8; 6], xid: u32) -> Result<Option<Self>, Malformed> {
        if !is_for(bytes, mac, xid) {
            return Ok(None);
        }
        let options = Options::parse(bytes)?;
        let kind = options.get(53).and_then(|value| value.first());
        let kind = kind.copied().and_then(Kind::from_number);
        let kind = kind.ok_or(Malformed::Kind)?;
        if !matches!(kind, Kind::Offer | Kind::Ack | Kind::Nak) {
            return Err(Malformed::Kind);
        }
        let address = bytes.get(16..).and_then(|rest| rest.first_chunk::<4>());
        let address = address.map_or(Ipv4Addr::UNSPECIFIED, |octets| Ipv4Addr::from(*octets));
        if kind != Kind::Nak && !lease::is_host(address) {
            return Err(Malformed::Address);
        }
        let server = options.addresses(54).first().copied();
        let server = server.filter(|server| lease::is_host(*server));
        if kind == Kind::Offer && server.is_none() {
            return Err(Malformed::Server);
        }
        let (lease, ignored) = lease::lease(&options, address);
        Ok(Some(Self {
            kind,
            server,
            lease,
            ignored,
        }))
    }
}

/// BOOTREPLY, Ethernet, a 6-byte address: this client's, in this transaction.
fn is_for(bytes: &[u8], mac: [u8; 6], xid: u32) -> bool {
    bytes.get(..3) == Some(&[2, 1, 6])
        && bytes.get(4..8) == Some(&xid.to_be_bytes())
        && bytes.get(28..34) == Some(&mac)
}

#[cfg(test)]
mod tests {
    use super::super::{
        FIXED,
        tests::{MAC, XID, reply},
    };
    use super::*;

    #[test]
    fn an_ack_becomes_a_lease() {
        let mut options = vec![1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2, 6, 8, 10, 0, 2, 3];
        options.extend([
            1, 1, 1, 1, 51, 4, 0, 1, 0x51, 0x80, 54, 4, 10, 0, 2, 2, 26, 2, 0x23, 0x29,
        ]);
        options.extend([15, 7]);
        options.extend(b"example");
        let reply = Reply::parse(&reply(5, &options), MAC, XID)
            .unwrap()
            .unwrap();
        assert_eq!((reply.kind, reply.ignored.len()), (Kind::Ack, 0));
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
    fn others_messages_are_nobodys_business() {
        let ours = reply(5, &[]);
        assert_eq!(Reply::parse(&ours, [0; 6], XID), Ok(None));
        assert_eq!(Reply::parse(&ours, MAC, XID + 1), Ok(None));
        let mut query = ours;
        query[0] = 1;
        assert_eq!(Reply::parse(&query, MAC, XID), Ok(None));
        assert_eq!(Reply::parse(&[], MAC, XID), Ok(None));
    }

    #[test]
    fn messages_that_cannot_be_used_are_told() {
        let parse = |bytes: &[u8]| Reply::parse(bytes, MAC, XID).unwrap_err();
        let good = reply(2, &[54, 4, 10, 0, 2, 2]);
        assert!(Reply::parse(&good, MAC, XID).unwrap().is_some());
        let mut short = good.clone();
        short.truncate(FIXED);
        assert_eq!(parse(&short), Malformed::Cookie);
        for length in FIXED + 5..good.len() - 1 {
            let error = parse(&good[..length]);
            // Cut between two options, it ends without an end: that alone is tolerated.
            assert!(matches!(error, Malformed::Option | Malformed::Server));
        }
        for options in [&[15, 200, b'x'][..], &[15]] {
            let mut bytes = reply(5, &[]);
            bytes.pop();
            bytes.extend(options);
            assert_eq!(parse(&bytes), Malformed::Option);
        }
        // Options go on in a field that holds none.
        let mut overloaded = reply(5, &[52, 1, 1]);
        overloaded[108..236].fill(7);
        assert_eq!(parse(&overloaded), Malformed::Option);
        for kind in [0, 1, 3, 9, 200] {
            assert_eq!(parse(&reply(kind, &[])), Malformed::Kind);
        }
        for first in [0, 127, 224, 240, 255] {
            let mut bytes = good.clone();
            bytes[16] = first;
            assert_eq!(parse(&bytes), Malformed::Address);
        }
        assert_eq!(parse(&reply(2, &[])), Malformed::Server);
        assert_eq!(parse(&reply(2, &[54, 4, 0, 0, 0, 0])), Malformed::Server);
    }
}
