//! The VM's own address.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// Somewhere outside (RFC 5737's documentation network): nothing is sent there.
const OUTSIDE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The address that the VM has for others, as the kernel chooses it now; none while there is no
/// route.
pub fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(OUTSIDE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// Where the Pod's containers listen: [`address`], else the loopback.
pub fn address_or_loopback() -> IpAddr {
    address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
