//! The addresses that the VM has.

use std::net::IpAddr;

/// The VM's addresses that others can reach, IPv4 first.
pub fn addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = interface_addresses()
        .into_iter()
        .filter(is_global)
        .collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => {
            let link_local = v6.segments().first().is_some_and(|s| s & 0xffc0 == 0xfe80);
            !v6.is_loopback() && !link_local && !v6.is_unspecified()
        }
    }
}

/// Every address of every interface, in the kernel's order.
fn interface_addresses() -> Vec<IpAddr> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is valid for writing; on success it is freed below, once.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: the list is the C library's, ends with a null pointer and lives until it is freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: an address of the list has the size that its family says.
        found.extend(unsafe { address_of(entry.ifa_addr) });
        next = entry.ifa_next;
    }
    // SAFETY: it came from `getifaddrs` and nothing refers to it any more.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// # Safety
/// `address` is null or points to a socket address of the size that its family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise.
    let family = unsafe { address.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the caller's promise.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(u32::from_be(v4.sin_addr.s_addr).into()))
        }
        libc::AF_INET6 => {
            // SAFETY: the caller's promise.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(v6.sin6_addr.s6_addr.into()))
        }
        _ => None,
    }
}
