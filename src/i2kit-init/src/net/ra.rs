//! Router advertisements (RFC 4861, section 4.2): what the kernel leaves to us, name servers (RFC
//! 8106) and whether DHCPv6 has more. Pure.

use std::net::Ipv6Addr;

use crate::net::settings::Ipv6Names;

/// ICMPv6 type of a router advertisement.
pub const TYPE: u8 = 134;
/// Type, code, checksum, hop limit, flags, lifetimes.
const FIXED: usize = 16;
const RDNSS: u8 = 25;
const DNSSL: u8 = 31;
/// More servers or domains than these, of one router, are not looked at.
const MOST: usize = 8;

/// What a router says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// M: addresses are to be had by DHCPv6.
    pub managed: bool,
    /// O: other things are.
    pub other: bool,
    /// Name servers and domains whose lifetime is not over.
    pub names: Ipv6Names,
}

/// Parses an ICMPv6 message; `None` for one that is no router advertisement or is malformed. The
/// caller has checked that it comes from the link itself.
pub fn parse(message: &[u8]) -> Option<Advertisement> {
    let fixed = message.get(..FIXED)?;
    if fixed.first() != Some(&TYPE) || fixed.get(1) != Some(&0) {
        return None;
    }
    let flags = *fixed.get(5)?;
    let mut found = Advertisement {
        managed: flags & 0x80 != 0,
        other: flags & 0x40 != 0,
        names: Ipv6Names::default(),
    };
    let mut rest = message.get(FIXED..)?;
    while !rest.is_empty() {
        // Lengths are in units of 8 bytes; 0 makes the whole message invalid.
        let length = usize::from(*rest.get(1)?)
            .checked_mul(8)
            .filter(|length| *length > 0)?;
        let (option, after) = rest.split_at_checked(length)?;
        match option.first() {
            Some(&RDNSS) if lifetime(option)? > 0 => servers(option, &mut found.names.servers),
            Some(&DNSSL) if lifetime(option)? > 0 => {
                domains(option.get(8..)?, &mut found.names.search);
            }
            _ => {}
        }
        rest = after;
    }
    Some(found)
}

fn lifetime(option: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*option.get(4..)?.first_chunk()?))
}

fn servers(option: &[u8], found: &mut Vec<Ipv6Addr>) {
    let (addresses, _) = option.get(8..).unwrap_or_default().as_chunks::<16>();
    for address in addresses {
        let address = Ipv6Addr::from(*address);
        let usable = !address.is_multicast() && !address.is_unspecified();
        if usable && found.len() < MOST && !found.contains(&address) {
            found.push(address);
        }
    }
}

/// Domain names in DNS's wire format without compression (RFC 1035, section 3.1), padded with
/// zeros. Names that a resolver's file cannot hold are left out.
pub fn domains(mut bytes: &[u8], found: &mut Vec<String>) {
    while let Some((name, rest)) = domain(bytes) {
        bytes = rest;
        let is_plain = |label: &&[u8]| {
            label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if name.is_empty() || !name.iter().all(is_plain) || found.len() >= MOST {
            continue;
        }
        let labels: Vec<&str> = name
            .iter()
            .filter_map(|label| str::from_utf8(label).ok())
            .collect();
        let text = labels.join(".");
        if text.len() <= 253 && !found.contains(&text) {
            found.push(text);
        }
    }
}

fn domain(mut bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        if *length == 0 {
            return Some((labels, rest));
        }
        if *length > 63 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        labels.push(label);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn advertisement(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut message = vec![TYPE, 0, 0, 0, 64, flags, 7, 8];
        message.extend([0; 8]);
        message.extend(options);
        message
    }

    fn rdnss(seconds: u32, addresses: &[&str]) -> Vec<u8> {
        let length = u8::try_from(1 + 2 * addresses.len()).unwrap();
        let mut option = vec![RDNSS, length, 0, 0];
        option.extend(seconds.to_be_bytes());
        for address in addresses {
            option.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        option
    }

    #[test]
    fn flags_and_name_servers_are_read() {
        let mut options = vec![5, 1, 0, 0, 0, 0, 5, 220]; // MTU, the kernel's business
        options.extend(rdnss(600, &["fec0::3", "fec0::3", "ff02::1"]));
        options.extend([DNSSL, 3, 0, 0, 0, 0, 2, 88]);
        options.extend(b"\x07example\x03org\x00\x00\x00\x00");
        let found = parse(&advertisement(0x40, &options)).unwrap();
        assert!(found.other && !found.managed);
        assert_eq!(
            found.names.servers,
            ["fec0::3".parse::<Ipv6Addr>().unwrap()]
        );
        assert_eq!(found.names.search, ["example.org"]);
    }

    #[test]
    fn what_is_over_or_malformed_is_not_used() {
        let over = parse(&advertisement(0x80, &rdnss(0, &["fec0::3"]))).unwrap();
        assert!(over.managed && over.names.servers.is_empty());
        assert_eq!(parse(&advertisement(0, &[RDNSS, 0, 0, 0])), None);
        assert_eq!(parse(&advertisement(0, &[RDNSS, 3, 0, 0])), None);
        assert_eq!(parse(&[135; 40]), None);
        let mut found = Vec::new();
        domains(b"\x04a\nb;\x00\x05a b.c\x00\x02ok\x00\xc0\x01", &mut found);
        assert_eq!(found, ["ok"]);
    }

    proptest! {
        #[test]
        fn no_message_panics(flags: u8, options in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(found) = parse(&advertisement(flags, &options)) {
                prop_assert!(found.names.servers.len() <= MOST && found.names.search.len() <= MOST);
            }
            let _ = parse(&options);
        }
    }
}
