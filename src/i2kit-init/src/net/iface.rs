//! Network interfaces through the classic ioctls (netdevice(7)): one address, a few routes.

use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    fault::{Context, Fault},
    net::dhcp::{Lease, Route, netmask},
};

const SYS: &str = "/sys/class/net";
/// How often an interface is looked for while the Pod waits, and after.
const QUICK_POLL: Duration = Duration::from_millis(10);
const SLOW_POLL: Duration = Duration::from_secs(2);
/// ARPHRD_ETHER.
const ETHERNET: &str = "1";

/// An Ethernet interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Such as `eth0`.
    pub name: String,
    /// The kernel's number for it.
    pub index: i32,
    /// Hardware address.
    pub mac: [u8; 6],
}

/// The Ethernet interface with hardware behind it that the kernel found first, if one appears
/// in time. Without an end to the patience, it is looked for less often.
pub fn wait_for_first(patience: Option<Duration>) -> Option<Interface> {
    let end = patience.map(|patience| Instant::now() + patience);
    let pause = if end.is_some() { QUICK_POLL } else { SLOW_POLL };
    loop {
        let first = first(Path::new(SYS));
        if first.is_some() || end.is_some_and(|end| Instant::now() >= end) {
            return first;
        }
        thread::sleep(pause);
    }
}

fn first(class: &Path) -> Option<Interface> {
    let read = |path: &Path, file: &str| {
        fs::read_to_string(path.join(file)).map(|text| text.trim().to_owned())
    };
    fs::read_dir(class)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let usable = path.join("device").exists() && read(&path, "type").ok()? == ETHERNET;
            usable.then_some(Interface {
                name: entry.file_name().into_string().ok()?,
                index: read(&path, "ifindex").ok()?.parse().ok()?,
                mac: parse_mac(&read(&path, "address").ok()?)?,
            })
        })
        .min_by_key(|interface| interface.index)
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Brings an interface up.
///
/// # Errors
/// There is no such interface.
pub fn bring_up(name: &str) -> Result<(), Fault> {
    let mut request = Request::new(name);
    request
        .call(libc::SIOCGIFFLAGS)
        .context("read the flags of", name)?;
    // SAFETY: SIOCGIFFLAGS has filled in the flags member.
    let flags = unsafe { request.0.ifr_ifru.ifru_flags };
    let up = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(i16::MAX);
    request.0.ifr_ifru.ifru_flags = flags | up;
    request.call(libc::SIOCSIFFLAGS).context("bring up", name)
}

/// Sets MTU, address, netmask and routes of a lease.
///
/// # Errors
/// The kernel refuses the address. A refused MTU or route is returned as a warning.
pub fn configure(name: &str, lease: &Lease) -> Result<Vec<String>, Fault> {
    let mut warnings = Vec::new();
    if let Some(mtu) = lease.mtu
        && let Err(error) = set_mtu(name, mtu)
    {
        warnings.push(format!("set MTU {mtu} of {name}: {error}"));
    }
    let Lease {
        address, prefix, ..
    } = lease;
    set_address(name, *address, *prefix).context(
        "set an address of",
        format_args!("{name} to {address}/{prefix}"),
    )?;
    for route in with_links(lease) {
        if let Err(error) = add_route(name, route) {
            let Route {
                network,
                prefix,
                gateway,
            } = route;
            warnings.push(format!(
                "add route {network}/{prefix} via {gateway}: {error}"
            ));
        }
    }
    Ok(warnings)
}

/// Sets the largest packet.
///
/// # Errors
/// The device cannot.
pub fn set_mtu(name: &str, mtu: u16) -> io::Result<()> {
    let mut request = Request::new(name);
    request.0.ifr_ifru.ifru_mtu = i32::from(mtu);
    request.call(libc::SIOCSIFMTU)
}

/// Sets the address and the netmask of an interface, or of a label of it such as `eth0:1`.
///
/// # Errors
/// The kernel refuses it.
pub fn set_address(label: &str, ip: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let mut request = Request::new(label);
    request.0.ifr_ifru.ifru_addr = address(ip);
    request.call(libc::SIOCSIFADDR)?;
    request.0.ifr_ifru.ifru_netmask = address(netmask(prefix));
    request.call(libc::SIOCSIFNETMASK)
}

/// Takes the address away.
pub fn deconfigure(name: &str) {
    let mut request = Request::new(name);
    request.0.ifr_ifru.ifru_addr = address(Ipv4Addr::UNSPECIFIED);
    // An interface that is gone has no address either.
    let _ = request.call(libc::SIOCSIFADDR);
}

/// The lease's routes; before one whose gateway lies outside the network (as with a /32
/// address), a route to the gateway itself.
fn with_links(lease: &Lease) -> Vec<Route> {
    let mask = netmask(lease.prefix).to_bits();
    let on_link = |gateway: Ipv4Addr| gateway.to_bits() & mask == lease.address.to_bits() & mask;
    let mut routes: Vec<Route> = Vec::new();
    for route in &lease.routes {
        let gateway = Route {
            network: route.gateway,
            prefix: 32,
            gateway: Ipv4Addr::UNSPECIFIED,
        };
        let needed = !route.gateway.is_unspecified() && !on_link(route.gateway);
        if needed && !routes.contains(&gateway) {
            routes.push(gateway);
        }
        if !routes.contains(route) {
            routes.push(*route);
        }
    }
    routes
}

fn add_route(name: &str, route: Route) -> io::Result<()> {
    let mut device = name.as_bytes().to_vec();
    device.push(0);
    // SAFETY: rtentry is plain data for which zeros are a valid value.
    let mut entry: libc::rtentry = unsafe { std::mem::zeroed() };
    let mask = netmask(route.prefix);
    entry.rt_dst = address(Ipv4Addr::from_bits(
        route.network.to_bits() & mask.to_bits(),
    ));
    entry.rt_genmask = address(mask);
    entry.rt_flags = libc::RTF_UP;
    if !route.gateway.is_unspecified() {
        entry.rt_gateway = address(route.gateway);
        entry.rt_flags |= libc::RTF_GATEWAY;
    }
    entry.rt_dev = device.as_mut_ptr().cast();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: the entry and the name it points to outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &raw const entry) };
    match check(result) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}

struct Request(libc::ifreq);

impl Request {
    fn new(name: &str) -> Self {
        // SAFETY: ifreq is plain data for which zeros are a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request
            .ifr_name
            .iter_mut()
            .zip(name.bytes().take(libc::IFNAMSIZ - 1))
        {
            *to = from.cast_signed();
        }
        Self(request)
    }

    fn call(&mut self, code: libc::c_ulong) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // SAFETY: the SIOC[GS]IF* calls read and write one ifreq.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), code, &raw mut self.0) })
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A `sockaddr_in` in the shape of a `sockaddr`: family, port, address, padding.
fn address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data.iter_mut().skip(2).zip(address.octets()) {
        *to = from.cast_signed();
    }
    libc::sockaddr {
        sa_family: u16::try_from(libc::AF_INET).unwrap_or_default(),
        sa_data: data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(prefix: u8, routes: Vec<Route>) -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix,
            routes,
            dns: Vec::new(),
            domain: None,
            mtu: None,
            ntp: Vec::new(),
            seconds: 60,
            renew: 30,
            rebind: 50,
        }
    }

    #[test]
    fn a_gateway_outside_the_network_gets_a_route_of_its_own() {
        let gateway = Ipv4Addr::new(10, 0, 2, 2);
        let default = Route {
            network: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway,
        };
        assert_eq!(with_links(&lease(24, vec![default])), [default]);
        let link = Route {
            network: gateway,
            prefix: 32,
            gateway: Ipv4Addr::UNSPECIFIED,
        };
        assert_eq!(with_links(&lease(32, vec![default])), [link, default]);
        assert_eq!(with_links(&lease(32, vec![link, default])), [link, default]);
    }

    #[test]
    fn hardware_addresses_are_parsed() {
        assert_eq!(
            parse_mac("52:54:00:12:34:56"),
            Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])
        );
        assert_eq!(parse_mac("52:54:00"), None);
        assert_eq!(parse_mac("52:54:00:12:34:56:78"), None);
    }
}
