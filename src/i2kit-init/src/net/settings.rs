//! What is known of the network, from the run-time configuration, DHCP and router advertisements:
//! which of it holds, and the files that say so.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use i2kit_contract::{
    Names,
    runtime::{Cidr, Destination, Mtu, Network},
};

use crate::{
    fault::Fault,
    net::{
        dhcp::{Lease, Route},
        files::{self, Resolved},
    },
};

/// Clones share what is known.
#[derive(Clone)]
pub struct Settings(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    hostname: String,
    names: Names,
    network: Network,
    lease: Option<Lease>,
    router: Ipv6Names,
    dhcp6: Ipv6Names,
}

/// What IPv6 says of name servers (RFC 8106; RFC 3646).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv6Names {
    /// Name servers.
    pub servers: Vec<Ipv6Addr>,
    /// Domains to search.
    pub search: Vec<String>,
}

impl Settings {
    /// With the Pod's names and the run-time configuration's network, which wins over all others.
    pub fn new(hostname: &str, names: Names, network: Network) -> Self {
        Self(Arc::new(Mutex::new(Known {
            hostname: hostname.to_owned(),
            names,
            network,
            ..Known::default()
        })))
    }

    /// The configured network.
    pub fn network(&self) -> Network {
        self.with(|known| known.network.clone())
    }

    /// The host name.
    pub fn hostname(&self) -> String {
        self.with(|known| known.hostname.clone())
    }

    /// The lease as it is to be used: its MTU and its routes give way to the configured ones.
    pub fn effective(&self, lease: &Lease) -> Lease {
        self.with(|known| effective(lease, &known.network))
    }

    /// Takes a new host name and network; what has been set up already stays.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn replace(&self, hostname: &str, network: Network) -> Result<(), Fault> {
        self.change(|known| {
            known.hostname = hostname.to_owned();
            known.network = network;
        })
    }

    /// Takes a lease, or its end.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn set_lease(&self, lease: Option<Lease>) -> Result<(), Fault> {
        self.change(|known| known.lease = lease)
    }

    /// Takes what a router says.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn set_router(&self, names: Ipv6Names) -> Result<(), Fault> {
        self.change(|known| known.router = names)
    }

    /// Takes what a DHCPv6 server says.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn set_dhcp6(&self, names: Ipv6Names) -> Result<(), Fault> {
        self.change(|known| known.dhcp6 = names)
    }

    /// NTP servers of the lease.
    pub fn time_servers(&self) -> Vec<Ipv4Addr> {
        self.with(|known| {
            known
                .lease
                .as_ref()
                .map_or_else(Vec::new, |lease| lease.ntp.clone())
        })
    }

    /// Writes the files as they are now.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self) -> Result<(), Fault> {
        self.change(|_| ())
    }

    fn with<T>(&self, read: impl FnOnce(&mut Known) -> T) -> T {
        // Each change is whole even when another thread has panicked.
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lock is held while the files are written, so that the last change is the last written.
    fn change(&self, change: impl FnOnce(&mut Known)) -> Result<(), Fault> {
        self.with(|known| {
            change(known);
            files::write(&known.hostname, &known.names, &known.resolved())
        })
    }
}

impl Known {
    fn resolved(&self) -> Resolved {
        let added = self.names.nameservers.iter();
        let added = added.filter_map(|server| server.parse().ok());
        let searches = self.names.searches.iter().cloned();
        Resolved {
            address: self.address(),
            servers: without_repeats(self.servers().into_iter().chain(added)),
            search: without_repeats(self.search().into_iter().chain(searches)),
        }
    }

    fn address(&self) -> Option<IpAddr> {
        let fixed = |wanted: fn(&IpAddr) -> bool| {
            let addresses = self.network.addresses.iter();
            addresses.map(|cidr| cidr.address).find(wanted)
        };
        let lease = self.lease.as_ref();
        fixed(IpAddr::is_ipv4)
            .or_else(|| lease.map(|lease| lease.address.into()))
            .or_else(|| fixed(IpAddr::is_ipv6))
    }

    /// The configured name servers, else what the network tells, unless the Pod wants none of it
    /// (`dnsPolicy: None`).
    fn servers(&self) -> Vec<IpAddr> {
        if !self.network.nameservers.is_empty() || self.names.ignore_network {
            return self.network.nameservers.clone();
        }
        let lease = self.lease.as_ref();
        let v4 = lease.map(|lease| lease.dns.as_slice()).unwrap_or_default();
        let v6 = self.ipv6().into_iter().flat_map(|names| &names.servers);
        let v4 = v4.iter().copied().map(IpAddr::V4);
        v4.chain(v6.copied().map(IpAddr::V6)).collect()
    }

    /// Domains to search, in the same way.
    fn search(&self) -> Vec<String> {
        let network = &self.network;
        if !network.search.is_empty() || self.names.ignore_network {
            return network.search.iter().map(ToString::to_string).collect();
        }
        let lease = self.lease.as_ref().and_then(|lease| lease.domain.clone());
        let v6 = self.ipv6().into_iter().flat_map(|names| &names.search);
        lease.into_iter().chain(v6.cloned()).collect()
    }

    fn ipv6(&self) -> [&Ipv6Names; 2] {
        [&self.router, &self.dhcp6]
    }
}

fn without_repeats<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn effective(lease: &Lease, network: &Network) -> Lease {
    let routes = ipv4_routes(network);
    Lease {
        mtu: network.mtu.map_or(lease.mtu, |Mtu(mtu)| Some(mtu)),
        routes: if routes.is_empty() {
            lease.routes.clone()
        } else {
            routes
        },
        ..lease.clone()
    }
}

/// The configured IPv4 routes.
fn ipv4_routes(network: &Network) -> Vec<Route> {
    let routes = network.routes.iter().filter(|route| !route.is_ipv6());
    routes
        .filter_map(|route| {
            let (to, prefix) = match route.to {
                Destination::Default => (Ipv4Addr::UNSPECIFIED, 0),
                Destination::Network(Cidr {
                    address: IpAddr::V4(address),
                    prefix,
                }) => (address, prefix),
                Destination::Network(_) => return None,
            };
            let gateway = match route.via {
                Some(IpAddr::V4(via)) => via,
                Some(IpAddr::V6(_)) => return None,
                None => Ipv4Addr::UNSPECIFIED,
            };
            Some(Route {
                network: to,
                prefix,
                gateway,
            })
        })
        .collect()
}

/// The first configured IPv4 address with its routes, as a lease that never ends; and the others.
pub fn fixed_ipv4(network: &Network) -> (Option<Lease>, Vec<(Ipv4Addr, u8)>) {
    let mut addresses: Vec<(Ipv4Addr, u8)> = network
        .addresses
        .iter()
        .filter_map(|cidr| match cidr.address {
            IpAddr::V4(address) => Some((address, cidr.prefix)),
            IpAddr::V6(_) => None,
        })
        .collect();
    // Beside a lease, all of them are further ones.
    if network.wants_lease() || addresses.is_empty() {
        return (None, addresses);
    }
    let (address, prefix) = addresses.remove(0);
    let lease = Lease {
        address,
        prefix,
        routes: ipv4_routes(network),
        dns: Vec::new(),
        domain: None,
        mtu: network.mtu.map(|Mtu(mtu)| mtu),
        ntp: Vec::new(),
        seconds: u32::MAX,
        renew: u32::MAX,
        rebind: u32::MAX,
    };
    (Some(lease), addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(json: &str) -> Network {
        serde_json::from_str(json).unwrap()
    }

    fn lease() -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            routes: vec![Route {
                network: Ipv4Addr::UNSPECIFIED,
                prefix: 0,
                gateway: Ipv4Addr::new(10, 0, 2, 2),
            }],
            dns: vec![Ipv4Addr::new(10, 0, 2, 3)],
            domain: Some("lease.org".into()),
            mtu: Some(1500),
            ntp: Vec::new(),
            seconds: 60,
            renew: 30,
            rebind: 50,
        }
    }

    #[test]
    fn what_is_configured_wins_over_the_lease() {
        let known = |network: Network| Known {
            network,
            lease: Some(lease()),
            router: Ipv6Names {
                servers: vec!["fec0::3".parse().unwrap()],
                search: vec!["router.org".into()],
            },
            ..Known::default()
        };
        let learnt = known(Network::default()).resolved();
        assert_eq!(learnt.servers.len(), 2);
        assert_eq!(learnt.search, ["lease.org", "router.org"]);
        assert_eq!(learnt.address, Some("10.0.2.15".parse().unwrap()));
        let fixed = known(network(
            r#"{"nameservers":["1.1.1.1"],"search":["mine.org"]}"#,
        ))
        .resolved();
        assert_eq!(fixed.servers, ["1.1.1.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(fixed.search, ["mine.org"]);
    }

    #[test]
    fn the_pod_adds_to_what_the_network_tells_or_ignores_it() {
        let mut known = Known {
            names: Names {
                nameservers: ["10.0.2.3", "1.1.1.1"].map(str::to_owned).into(),
                searches: ["lease.org", "a.example"].map(str::to_owned).into(),
                ..Names::default()
            },
            lease: Some(lease()),
            ..Known::default()
        };
        let servers = ["10.0.2.3", "1.1.1.1"].map(|one| one.parse().unwrap());
        assert_eq!(known.resolved().servers, servers);
        assert_eq!(known.resolved().search, ["lease.org", "a.example"]);
        known.names.ignore_network = true;
        known.names.nameservers.remove(0);
        known.names.searches.clear();
        assert_eq!(known.resolved().servers, servers[1..]);
        assert!(known.resolved().search.is_empty());
        // What is configured at run time counts all the same.
        known.network = network(r#"{"nameservers":["9.9.9.9"]}"#);
        let configured = "9.9.9.9".parse::<IpAddr>().unwrap();
        assert_eq!(known.resolved().servers, [configured, servers[1]]);
    }

    #[test]
    fn routes_and_mtu_of_a_lease_give_way() {
        let given = network(
            r#"{"mtu":1400,"routes":[{"to":"10.1.0.0/16","via":"10.0.2.9"},{"to":"default","via":"fd00::1"}]}"#,
        );
        let used = effective(&lease(), &given);
        assert_eq!(used.mtu, Some(1400));
        let via = Ipv4Addr::new(10, 0, 2, 9);
        let route = Route {
            network: Ipv4Addr::new(10, 1, 0, 0),
            prefix: 16,
            gateway: via,
        };
        assert_eq!(used.routes, [route]);
        assert_eq!(effective(&lease(), &Network::default()), lease());
    }

    #[test]
    fn the_first_static_address_stands_for_a_lease() {
        let json = r#"{"addresses":["fd00::5/64","10.0.2.77/24","10.0.3.1/32"],"routes":[{"to":"default","via":"10.0.2.2"}]}"#;
        let (first, others) = fixed_ipv4(&network(json));
        let first = first.unwrap();
        assert_eq!(
            (first.address, first.prefix),
            (Ipv4Addr::new(10, 0, 2, 77), 24)
        );
        assert_eq!(first.routes[0].gateway, Ipv4Addr::new(10, 0, 2, 2));
        assert_eq!(others, [(Ipv4Addr::new(10, 0, 3, 1), 32)]);
        let json = r#"{"addresses":["10.0.2.77/24"],"dhcp4":true}"#;
        let (first, others) = fixed_ipv4(&network(json));
        assert_eq!((first, others.len()), (None, 1));
    }
}
