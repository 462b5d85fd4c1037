//! What a server grants, as far as it makes sense. A server may be anybody's: what it says goes into
//! files, routes and timers, so each part is checked, and a bad one is left out and told.

use std::net::Ipv4Addr;

use i2kit_contract::runtime::HostName;

use super::options::Options;

/// Leases are at least this long, whatever the server says, and renewed after this at the
/// earliest; in seconds. Who grants less may give the address to another meanwhile; a client that
/// never rests would be worse.
const LEAST_LEASE: u32 = 10;
const LEAST_T1: u32 = 3;
/// For a server that does not say; in seconds.
const DEFAULT_LEASE: u32 = 3600;
/// What every host must take (RFC 791).
const LEAST_MTU: u16 = 576;
/// A message has room for some hundred routes; no network needs as many.
const MOST_ROUTES: usize = 64;

/// What a server grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The client's address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 1-32.
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

/// What is wrong with parts of a lease, for people: what, and what holds instead.
pub type Ignored = Vec<&'static str>;

/// The lease of a message for this address, and what of it is ignored.
pub(super) fn lease(options: &Options, address: Ipv4Addr) -> (Lease, Ignored) {
    let mut ignored = Ignored::new();
    let (seconds, renew, rebind) = times(options, &mut ignored);
    let lease = Lease {
        address,
        prefix: prefix(options, address, &mut ignored),
        routes: routes(options, &mut ignored),
        dns: hosts(options, 6, "a name server that is no host", &mut ignored),
        domain: domain(options, &mut ignored),
        mtu: mtu(options, &mut ignored),
        ntp: hosts(options, 42, "a time server that is no host", &mut ignored),
        seconds,
        renew,
        rebind,
    };
    (lease, ignored)
}

/// Whether a single machine can have this address on a network.
pub(super) fn is_host(address: Ipv4Addr) -> bool {
    // 0/8 is "this network", 240/4 and above are reserved (RFC 6890).
    !matches!(address.octets(), [0 | 127 | 224.., ..])
}

/// Keeps what `is_good`; tells of the first that isn't.
fn kept<T>(
    items: Vec<T>,
    is_good: impl Fn(&T) -> bool,
    what: &'static str,
    ignored: &mut Ignored,
) -> Vec<T> {
    let before = items.len();
    let good: Vec<T> = items.into_iter().filter(|item| is_good(item)).collect();
    if good.len() < before {
        ignored.push(what);
    }
    good
}

fn hosts(options: &Options, code: u8, what: &'static str, ignored: &mut Ignored) -> Vec<Ipv4Addr> {
    kept(options.addresses(code), |one| is_host(*one), what, ignored)
}

fn prefix(options: &Options, address: Ipv4Addr, ignored: &mut Ignored) -> u8 {
    let given = options.get(1).map(|_| options.addresses(1));
    let mask = given.map(|masks| masks.first().copied().and_then(prefix_of));
    match mask {
        Some(Some(prefix)) => prefix,
        Some(None) => {
            ignored.push("a netmask that is none; that of the address's class holds");
            classful_prefix(address)
        }
        None => classful_prefix(address),
    }
}

fn mtu(options: &Options, ignored: &mut Ignored) -> Option<u16> {
    options.get(26)?;
    let mtu = options.short(26).filter(|mtu| *mtu >= LEAST_MTU);
    if mtu.is_none() {
        ignored.push("an MTU of less than 576 bytes");
    }
    mtu
}

/// Only a DNS name: it goes into a file that resolvers parse, and that scripts may, too.
fn domain(options: &Options, ignored: &mut Ignored) -> Option<String> {
    let value = options.get(15)?;
    let text = str::from_utf8(value).unwrap_or("\0");
    let text = text.trim_end_matches('\0').trim_end_matches('.');
    if text.parse::<HostName>().is_err() {
        ignored.push("a domain that is no DNS name");
        return None;
    }
    Some(text.to_owned())
}

/// The lease's length, T1 and T2: half and seven eighths of it, unless the server has sensible
/// ones (RFC 2131, 4.4.5: T1 before T2 before the end). A T1 of 0 would be a renewal without end.
fn times(options: &Options, ignored: &mut Ignored) -> (u32, u32, u32) {
    let given = options.seconds(51).unwrap_or(DEFAULT_LEASE);
    let seconds = given.max(LEAST_LEASE);
    if given < LEAST_LEASE {
        ignored.push("a length of less than 10 s; 10 s hold");
    }
    let default = (seconds / 2, seconds - seconds / 8);
    let renew = options.seconds(58).unwrap_or(default.0);
    let rebind = options.seconds(59).unwrap_or(default.1);
    if LEAST_T1 <= renew && renew < rebind && rebind < seconds {
        return (seconds, renew, rebind);
    }
    // Nothing is renewed of a lease without end, and of one that was lengthened the times are ours.
    if seconds != u32::MAX && given == seconds {
        ignored.push("times of renewal that make no sense; a half and seven eighths hold");
    }
    (seconds, default.0, default.1)
}

/// RFC 3442: classless routes, where given, replace the routers.
fn routes(options: &Options, ignored: &mut Ignored) -> Vec<Route> {
    let classless = options.get(121).map(classless_routes);
    if let Some(None) = classless {
        ignored.push("classless routes that are none; the router holds");
    }
    let mut routes = classless.flatten().unwrap_or_else(|| {
        let routers = options.addresses(3);
        let default = routers.first().map(|gateway| Route {
            network: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: *gateway,
        });
        default.into_iter().collect()
    });
    if routes.len() > MOST_ROUTES {
        ignored.push("routes after the 64th");
        routes.truncate(MOST_ROUTES);
    }
    let is_good = |route: &Route| route.gateway.is_unspecified() || is_host(route.gateway);
    kept(routes, is_good, "a router that is no host", ignored)
}

/// The routes of option 121; `None` where its bytes are none.
pub(super) fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
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
    (!routes.is_empty()).then_some(routes)
}

/// `None` for a mask with gaps, and for that of everything.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let ones = mask.to_bits().leading_ones();
    let prefix = u8::try_from(ones).ok().filter(|prefix| *prefix > 0)?;
    (netmask(prefix) == mask).then_some(prefix)
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

#[cfg(test)]
mod tests {
    use super::super::{Reply, tests::MAC, tests::XID, tests::reply};
    use super::*;

    /// The lease that these options make, and what is ignored.
    fn granted(options: &[u8]) -> (Lease, Ignored) {
        let Reply { lease, ignored, .. } =
            Reply::parse(&reply(5, options), MAC, XID).unwrap().unwrap();
        (lease, ignored)
    }

    fn option(code: u8, value: &[u8]) -> Vec<u8> {
        [&[code, u8::try_from(value.len()).unwrap()], value].concat()
    }

    #[test]
    fn renewal_times_are_the_servers_where_they_make_sense() {
        let times = |lease: u32, given: Option<(u32, u32)>| {
            let mut options = option(51, &lease.to_be_bytes());
            if let Some((renew, rebind)) = given {
                options.extend(option(58, &renew.to_be_bytes()));
                options.extend(option(59, &rebind.to_be_bytes()));
            }
            let (lease, ignored) = granted(&options);
            (lease.seconds, lease.renew, lease.rebind, ignored.len())
        };
        assert_eq!(times(8000, Some((1000, 2000))), (8000, 1000, 2000, 0));
        for senseless in [
            (0, 2000),
            (3000, 2000),
            (1000, 8000),
            (0, 0),
            (u32::MAX, u32::MAX),
        ] {
            let expected = (8000, 4000, 7000, 1);
            assert_eq!(times(8000, Some(senseless)), expected, "{senseless:?}");
        }
        assert_eq!(times(8000, None), (8000, 4000, 7000, 0));
        assert_eq!(times(12, Some((4, 7))), (12, 4, 7, 0));
        // Bounded below, and told once.
        for short in [0, 1, 4, 9] {
            assert_eq!(times(short, None), (10, 5, 9, 1), "{short}");
            assert_eq!(times(short, Some((0, 0))), (10, 5, 9, 1), "{short}");
        }
        let (seconds, renew, rebind, ignored) = times(u32::MAX, Some((u32::MAX, u32::MAX)));
        assert_eq!((seconds, ignored), (u32::MAX, 0));
        assert!(renew < rebind && rebind < seconds);
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let mut options = option(3, &[10, 0, 2, 2]);
        options.extend(option(
            121,
            &[32, 10, 128, 0, 1, 0, 0, 0, 0, 0, 10, 128, 0, 1],
        ));
        let gateway = Ipv4Addr::new(10, 128, 0, 1);
        assert_eq!(
            granted(&options).0.routes,
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
    fn parts_that_make_no_sense_are_left_out_and_told() {
        let (lease, ignored) = granted(&[]);
        assert_eq!((lease.prefix, ignored), (8, vec![]));
        for (code, value, expected) in [
            (1, &[255, 0, 255, 0][..], "a netmask that is none"),
            (1, &[0, 0, 0, 0], "a netmask that is none"),
            (1, &[255, 255], "a netmask that is none"),
            (3, &[224, 0, 0, 1], "a router that is no host"),
            (6, &[10, 0, 2, 3, 127, 0, 0, 1], "a name server"),
            (15, b"$(reboot)", "a domain that is no DNS name"),
            (15, b"a\noptions\n", "a domain that is no DNS name"),
            (15, b"a;touch /x", "a domain that is no DNS name"),
            (15, b"", "a domain that is no DNS name"),
            (15, b"\xff\xfe", "a domain that is no DNS name"),
            (26, &[0, 68], "an MTU"),
            (26, &[5], "an MTU"),
            (42, &[255, 255, 255, 255], "a time server"),
            (121, &[77, 10, 0, 2, 2], "classless routes that are none"),
            (121, &[], "classless routes that are none"),
        ] {
            let (lease, ignored) = granted(&option(code, value));
            assert_eq!(ignored.len(), 1, "{code}: {ignored:?}");
            assert!(ignored[0].starts_with(expected), "{code}: {ignored:?}");
            let dns = usize::from(code == 6);
            let shown = (lease.prefix, lease.dns.len(), lease.domain, lease.mtu);
            assert_eq!(shown, (8, dns, None, None), "{code}");
            assert!(lease.routes.is_empty() && lease.ntp.is_empty(), "{code}");
        }
        assert_eq!(
            granted(&option(15, b"example.org\0")).0.domain,
            Some("example.org".into())
        );
        let many = [32, 10, 0, 2, 2, 0, 0, 0, 0].repeat(70);
        let parts: Vec<u8> = many
            .chunks(200)
            .flat_map(|part| option(121, part))
            .collect();
        let (lease, ignored) = granted(&parts);
        assert_eq!((lease.routes.len(), ignored.len()), (64, 1));
    }

    #[test]
    fn masks_and_prefixes_match() {
        for (prefix, mask) in [(20, "255.255.240.0"), (32, "255.255.255.255")] {
            assert_eq!(netmask(prefix).to_string(), mask);
            assert_eq!(prefix_of(mask.parse().unwrap()), Some(prefix));
        }
        assert_eq!(netmask(0), Ipv4Addr::UNSPECIFIED);
    }
}
