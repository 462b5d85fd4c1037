//! IPv6 addresses and routes through the classic ioctls (ipv6(7)), and the kernel's switches for
//! router advertisements (Documentation/networking/ip-sysctl.rst).

use std::{
    fs, io,
    net::{Ipv6Addr, UdpSocket},
    os::fd::AsRawFd,
    path::Path,
};

use i2kit_contract::runtime::Ipv6;

/// Sets how the kernel treats IPv6 on an interface; before it is brought up. A kernel without
/// IPv6 has no such switches.
///
/// # Errors
/// A switch is there and cannot be set.
pub fn choose(name: &str, mode: Ipv6) -> io::Result<()> {
    let switches: &[(&str, &str)] = match mode {
        // The kernel's own choice, which a command line or another kernel may have changed.
        Ipv6::Auto => &[("disable_ipv6", "0"), ("accept_ra", "1"), ("autoconf", "1")],
        Ipv6::Static => &[("disable_ipv6", "0"), ("accept_ra", "0"), ("autoconf", "0")],
        Ipv6::Off => &[("disable_ipv6", "1")],
    };
    let folder = Path::new("/proc/sys/net/ipv6/conf").join(name);
    for (switch, value) in switches {
        match fs::write(folder.join(switch), value) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives an interface an address; one that it has already is no error.
///
/// # Errors
/// The kernel refuses it.
pub fn add_address(index: i32, address: Ipv6Addr, prefix: u8) -> io::Result<()> {
    unless_there(address_call(libc::SIOCSIFADDR, index, address, prefix))
}

/// Takes an address away.
///
/// # Errors
/// The interface does not have it.
pub fn remove_address(index: i32, address: Ipv6Addr, prefix: u8) -> io::Result<()> {
    address_call(libc::SIOCDIFADDR, index, address, prefix)
}

fn address_call(code: libc::c_ulong, index: i32, address: Ipv6Addr, prefix: u8) -> io::Result<()> {
    let request = libc::in6_ifreq {
        ifr6_addr: in6(address),
        ifr6_prefixlen: u32::from(prefix),
        ifr6_ifindex: index,
    };
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    // SAFETY: both calls read one in6_ifreq of an AF_INET6 socket.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), code, &raw const request) })
}

/// Adds a route; `via` none is on the link.
///
/// # Errors
/// The kernel refuses it, such as a next hop that no route leads to.
pub fn add_route(
    index: i32,
    network: Ipv6Addr,
    prefix: u8,
    via: Option<Ipv6Addr>,
) -> io::Result<()> {
    let gateway = via.map_or(0, |_| libc::RTF_GATEWAY);
    let message = In6Rtmsg {
        dst: network.octets(),
        src: [0; 16],
        gateway: via.unwrap_or(Ipv6Addr::UNSPECIFIED).octets(),
        kind: 0,
        dst_len: u16::from(prefix),
        src_len: 0,
        metric: 1,
        info: 0,
        flags: u32::from(libc::RTF_UP | gateway),
        ifindex: index,
    };
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    // SAFETY: SIOCADDRT reads one struct in6_rtmsg of an AF_INET6 socket.
    unless_there(check(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT, &raw const message)
    }))
}

/// `struct in6_rtmsg` of linux/ipv6_route.h; libc's has private fields.
#[repr(C)]
struct In6Rtmsg {
    dst: [u8; 16],
    src: [u8; 16],
    gateway: [u8; 16],
    kind: u32,
    dst_len: u16,
    src_len: u16,
    metric: u32,
    info: libc::c_ulong,
    flags: u32,
    ifindex: i32,
}

fn in6(address: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr {
        s6_addr: address.octets(),
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn unless_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}
