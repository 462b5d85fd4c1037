//! What the kernel leaves to us of IPv6: it makes addresses and routes of router advertisements by
//! itself (SLAAC, RFC 4862); name servers and DHCPv6 are ours.

use std::{
    io,
    net::{Ipv6Addr, SocketAddrV6, UdpSocket},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use crate::{
    console::Console,
    fault::{Context, Fault},
    net::{
        client::random,
        dhcp6::{self, Kind, Query, Reply},
        iface::Interface,
        iface6, ra,
        settings::{Ipv6Names, Settings},
    },
};

/// Between tries: RFC 8415, 7.6 has 1 s at first and an hour at last, which is an age for a Pod.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// IRT_DEFAULT and IRT_MINIMUM: when to ask for name servers again.
const REFRESH: u32 = 86_400;
const LEAST_REFRESH: u32 = 600;

/// Listens to routers from now on.
///
/// # Errors
/// No thread can be started. A kernel without IPv6 is none.
pub fn start(interface: &Interface, settings: &Settings, console: &Console) -> Result<(), Fault> {
    let socket = match RouterSocket::open(interface.index) {
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(()),
        socket => socket.context("listen to routers on", &interface.name)?,
    };
    let (interface, settings, console) = (interface.clone(), settings.clone(), console.clone());
    let listen = move || listen(&socket, &interface, &settings, &console);
    thread::Builder::new()
        .name("ipv6".into())
        .spawn(listen)
        .context("start", "the IPv6 client")?;
    Ok(())
}

fn listen(socket: &RouterSocket, interface: &Interface, settings: &Settings, console: &Console) {
    let mut known: Option<ra::Advertisement> = None;
    let mut asked = false;
    loop {
        let found = match socket.receive() {
            Ok(Some(message)) => ra::parse(&message),
            Ok(None) => None,
            Err(error) => {
                console.say(format_args!("network: listen to routers: {error}"));
                return;
            }
        };
        let Some(found) = found.filter(|found| known.as_ref() != Some(found)) else {
            continue;
        };
        if let Err(error) = settings.set_router(found.names.clone()) {
            console.say(format_args!("network: {error}"));
        }
        if (found.managed || found.other) && !asked {
            asked = true;
            let client = Client {
                interface: interface.clone(),
                settings: settings.clone(),
                console: console.clone(),
            };
            let managed = found.managed;
            // Without the thread there are no name servers, and the Pod may do without.
            let _ = thread::Builder::new()
                .name("dhcpv6".into())
                .spawn(move || client.run(managed));
        }
        known = Some(found);
    }
}

/// The DHCPv6 client.
struct Client {
    interface: Interface,
    settings: Settings,
    console: Console,
}

impl Client {
    fn run(&self, managed: bool) {
        loop {
            if managed {
                self.hold_address();
            } else {
                let reply = self.ask(&self.query(Kind::InformationRequest), None);
                let refresh = reply.and_then(|reply| {
                    self.take_names(reply.names);
                    reply.refresh
                });
                let refresh = refresh.unwrap_or(REFRESH).max(LEAST_REFRESH);
                thread::sleep(Duration::from_secs(u64::from(refresh)));
            }
        }
    }

    fn query(&self, kind: Kind) -> Query {
        let [_, id @ ..] = random().unwrap_or_default().to_ne_bytes();
        Query {
            kind,
            id,
            mac: self.interface.mac,
            elapsed: 0,
            server: None,
            address: None,
        }
    }

    /// Gets an address and keeps it until it is lost.
    fn hold_address(&self) {
        let Some(offer) = self.ask(&self.query(Kind::Solicit), None) else {
            return;
        };
        let request = Query {
            server: Some(offer.server),
            address: offer.lease.map(|lease| lease.address),
            ..self.query(Kind::Request)
        };
        let asked = Instant::now();
        let end = asked + Duration::from_secs(30);
        let Some(reply) = self.ask(&request, Some(end)) else {
            return;
        };
        let Some(lease) = reply.lease else {
            return thread::sleep(LONGEST_PAUSE);
        };
        self.take_names(reply.names);
        let Interface { name, index, .. } = &self.interface;
        match iface6::add_address(*index, lease.address, 128) {
            Ok(()) => self
                .console
                .say(format_args!("network: {name} {}/128", lease.address)),
            Err(error) => {
                self.console.say(format_args!(
                    "network: add {} to {name}: {error}",
                    lease.address
                ));
            }
        }
        self.keep(lease, &reply.server, asked);
        self.console
            .say(format_args!("network: {} of {name} lost", lease.address));
        // An interface that is gone has no address either.
        let _ = iface6::remove_address(*index, lease.address, 128);
    }

    /// Renews until nobody gives the same address any more.
    fn keep(&self, mut lease: dhcp6::Lease, server: &[u8], mut since: Instant) {
        loop {
            if lease.valid == u32::MAX {
                loop {
                    thread::park();
                }
            }
            let at = |seconds: u32| since + Duration::from_secs(u64::from(seconds));
            thread::sleep(at(lease.renew).saturating_duration_since(Instant::now()));
            let asked = Instant::now();
            let renew = Query {
                server: Some(server.to_vec()),
                address: Some(lease.address),
                ..self.query(Kind::Renew)
            };
            let rebind = Query {
                address: Some(lease.address),
                ..self.query(Kind::Rebind)
            };
            let reply = self
                .ask(&renew, Some(at(lease.rebind)))
                .or_else(|| self.ask(&rebind, Some(at(lease.valid))));
            match reply.and_then(|reply| reply.lease) {
                Some(next) if next.address == lease.address => (lease, since) = (next, asked),
                _ => return,
            }
        }
    }

    fn take_names(&self, names: Ipv6Names) {
        if let Err(error) = self.settings.set_dhcp6(names) {
            self.console.say(format_args!("network: {error}"));
        }
    }

    /// Asks until there is an answer with what is asked for, or until the end.
    fn ask(&self, query: &Query, end: Option<Instant>) -> Option<Reply> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let hundredths = begun.elapsed().as_millis() / 10;
            let query = Query {
                elapsed: u16::try_from(hundredths).unwrap_or(u16::MAX),
                ..query.clone()
            };
            let wait = Instant::now() + jittered(pause);
            let wait = end.map_or(wait, |end| wait.min(end));
            let reply = self.exchange(&query, wait).ok().flatten();
            if reply
                .as_ref()
                .is_some_and(|reply| query.kind != Kind::Solicit || reply.lease.is_some())
            {
                return reply;
            }
            // An error comes at once.
            thread::sleep(wait.saturating_duration_since(Instant::now()));
            if end.is_some_and(|end| Instant::now() >= end) {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn exchange(&self, query: &Query, end: Instant) -> io::Result<Option<Reply>> {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, dhcp6::CLIENT_PORT))?;
        let to = SocketAddrV6::new(
            dhcp6::SERVERS,
            dhcp6::SERVER_PORT,
            0,
            self.interface.index.unsigned_abs(),
        );
        socket.send_to(&query.encode(), to)?;
        let mut buffer = [0; 2048];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            socket.set_read_timeout(Some(left))?;
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if crate::net::client::is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            let reply = query.parse_reply(buffer.get(..length).unwrap_or_default());
            if reply.is_some() {
                return Ok(reply);
            }
        }
    }
}

/// A tenth more or less, so that machines which start together don't ask together.
fn jittered(pause: Duration) -> Duration {
    let permille = 900 + random().unwrap_or_default() % 200;
    pause * permille / 1000
}

/// Router advertisements of one interface (raw(7), RFC 3542).
struct RouterSocket(OwnedFd);

/// RFC 3542, 3.2: a set bit blocks a type.
const ICMP6_FILTER: libc::c_int = 1;

impl RouterSocket {
    fn open(index: i32) -> io::Result<Self> {
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe {
            libc::socket(
                libc::AF_INET6,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::IPPROTO_ICMPV6,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fd was just opened and nobody else owns it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        let mut filter = [u32::MAX; 8];
        if let Some(word) = filter.get_mut(usize::from(ra::TYPE / 32)) {
            *word &= !(1 << (ra::TYPE % 32));
        }
        socket.set(libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter)?;
        socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &1i32)?;
        let mut name = [0u8; libc::IFNAMSIZ];
        // SAFETY: the buffer has room for the longest name.
        let found = unsafe { libc::if_indextoname(index.unsigned_abs(), name.as_mut_ptr().cast()) };
        if found.is_null() {
            return Err(io::Error::last_os_error());
        }
        socket.set(libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &name)?;
        Ok(socket)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
        // SAFETY: the value is valid for its length.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                std::ptr::from_ref(value).cast(),
                length,
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// The next message, if it comes from a router on the link: from a link-local address, and
    /// through no other router (RFC 4861, 6.1.2).
    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut data = vec![0u8; 2048];
        // Aligned as control messages must be.
        let mut control = [0u64; 8];
        // SAFETY: both are plain data for which zeros are a valid value.
        let (mut from, mut message): (libc::sockaddr_in6, libc::msghdr) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut part = libc::iovec {
            iov_base: data.as_mut_ptr().cast(),
            iov_len: data.len(),
        };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = libc::socklen_t::try_from(size_of_val(&from)).unwrap_or_default();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: all that the message points to outlives the call and has the length it says.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(None)
            } else {
                Err(error)
            };
        };
        data.truncate(length);
        let is_on_link = Ipv6Addr::from(from.sin6_addr.s6_addr).is_unicast_link_local();
        Ok((is_on_link && hop_limit(&message) == Some(255)).then_some(data))
    }
}

/// The hop limit that a received message's control data tells.
fn hop_limit(message: &libc::msghdr) -> Option<i32> {
    // SAFETY: recvmsg has filled in the message, whose control buffer is still there; the macros
    // stay within its length.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if found.cmsg_level == libc::IPPROTO_IPV6 && found.cmsg_type == libc::IPV6_HOPLIMIT {
                return Some(libc::CMSG_DATA(header).cast::<i32>().read_unaligned());
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}
