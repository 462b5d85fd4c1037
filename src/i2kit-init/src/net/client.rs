//! The DHCP client: finds a lease, keeps it, starts over when it is lost. A thread of its own.

use std::{
    fs::File,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    console::Console,
    net::{
        dhcp::{CLIENT_PORT, Kind, Lease, Query, Reply, SERVER_PORT, datagram, server_payload},
        files,
        iface::{self, Interface},
    },
};

/// Pauses between tries: RFC 2131, 4.1 doubles them up to 64 s; it begins with 4 s, which is an
/// age in a VM's boot.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);
/// RFC 2131, 4.4.5: tries to renew are at least this far apart.
const LEAST_RENEWAL_PAUSE: Duration = Duration::from_secs(60);
/// How long the first interface may take to appear before the Pod starts without a network.
const INTERFACE_PATIENCE: Duration = Duration::from_secs(5);

/// Starts the client; the receiver hears of the first lease, and its sender goes when no interface
/// appears in time. One that appears later is used all the same.
///
/// # Errors
/// No thread can be started.
pub fn start(hostname: &str, console: &Console) -> io::Result<mpsc::Receiver<Lease>> {
    let (sender, receiver) = mpsc::channel();
    let hostname = hostname.to_owned();
    let console = console.clone();
    thread::Builder::new().name("dhcp".into()).spawn(move || {
        if let Some(interface) = iface::wait_for_first(INTERFACE_PATIENCE) {
            if let Err(error) = iface::bring_up(&interface.name) {
                console.say(format_args!("network: {}", crate::fault::Chain(&error)));
            }
            Client {
                interface,
                hostname,
                console,
                first: Some(sender),
            }
            .run();
        } else {
            console.say("network: no Ethernet interface");
        }
    })?;
    Ok(receiver)
}

struct Client {
    interface: Interface,
    hostname: String,
    console: Console,
    first: Option<mpsc::Sender<Lease>>,
}

/// A lease and who gave it, since when.
struct Held {
    lease: Lease,
    server: Ipv4Addr,
    since: Instant,
}

impl Client {
    fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.acquire(pause) {
                Ok(Some(held)) => {
                    pause = FIRST_PAUSE;
                    self.apply(&held.lease);
                    self.keep(held);
                    self.console.say(format_args!(
                        "network: lease of {} lost",
                        self.interface.name
                    ));
                    iface::deconfigure(&self.interface.name);
                }
                // No answer within the pause: a longer one.
                Ok(None) => pause = (pause * 2).min(LONGEST_PAUSE),
                Err(error) => {
                    self.console
                        .say(format_args!("network: {}: {error}", self.interface.name));
                    thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn query(&self, kind: Kind, xid: u32) -> Query<'_> {
        Query {
            kind,
            xid,
            secs: 0,
            mac: self.interface.mac,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            requested: None,
            server: None,
            hostname: &self.hostname,
        }
    }

    /// DISCOVER, OFFER, REQUEST, ACK.
    fn acquire(&self, patience: Duration) -> io::Result<Option<Held>> {
        let socket = PacketSocket::open(self.interface.index)?;
        let xid = random()?;
        socket.send(&datagram(&self.query(Kind::Discover, xid).encode()))?;
        let Some(offer) = self.await_reply(&socket, xid, &[Kind::Offer], patience)? else {
            return Ok(None);
        };
        let Some(server) = offer.server else {
            return Ok(None);
        };
        let request = Query {
            requested: Some(offer.lease.address),
            server: Some(server),
            ..self.query(Kind::Request, xid)
        };
        let since = Instant::now();
        socket.send(&datagram(&request.encode()))?;
        let reply = self.await_reply(&socket, xid, &[Kind::Ack, Kind::Nak], patience)?;
        Ok(reply
            .filter(|reply| reply.kind == Kind::Ack)
            .map(|reply| Held {
                lease: reply.lease,
                server: reply.server.unwrap_or(server),
                since,
            }))
    }

    fn await_reply(
        &self,
        socket: &PacketSocket,
        xid: u32,
        kinds: &[Kind],
        patience: Duration,
    ) -> io::Result<Option<Reply>> {
        let end = Instant::now() + patience;
        while let Some(packet) = socket.receive(end)? {
            let reply = server_payload(&packet)
                .and_then(|payload| Reply::parse(payload, self.interface.mac));
            if let Some(reply) =
                reply.filter(|reply| reply.xid == xid && kinds.contains(&reply.kind))
            {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    fn apply(&mut self, lease: &Lease) {
        let name = &self.interface.name;
        match iface::configure(name, lease) {
            Ok(warnings) => {
                for warning in warnings {
                    self.console.say(format_args!("network: {warning}"));
                }
            }
            Err(error) => {
                self.console
                    .say(format_args!("network: {}", crate::fault::Chain(&error)));
                return;
            }
        }
        if let Err(error) = files::write_for_lease(&self.hostname, lease) {
            self.console
                .say(format_args!("network: {}", crate::fault::Chain(&error)));
        }
        self.console.say(format_args!(
            "network: {name} {}/{}",
            lease.address, lease.prefix
        ));
        if let Some(first) = self.first.take() {
            // Nobody listens any more when the Pod was started without a network.
            let _ = first.send(lease.clone());
        }
    }

    /// Renews the lease until it cannot be renewed any more.
    fn keep(&mut self, mut held: Held) {
        while held.lease.seconds != u32::MAX {
            let at = |seconds: u32| held.since + Duration::from_secs(u64::from(seconds));
            let (renew, rebind, end) = (
                at(held.lease.renew),
                at(held.lease.rebind),
                at(held.lease.seconds),
            );
            sleep_until(renew);
            match self.renew_until(&held, rebind, end) {
                Some(renewed) => {
                    if renewed.lease != held.lease {
                        self.apply(&renewed.lease);
                    }
                    held = renewed;
                }
                None => return,
            }
        }
        loop {
            thread::park();
        }
    }

    /// Asks the lease's server until T2, then any server until the end.
    fn renew_until(&self, held: &Held, rebind: Instant, end: Instant) -> Option<Held> {
        loop {
            let now = Instant::now();
            if now >= end {
                return None;
            }
            let (server, phase_end) = if now < rebind {
                (held.server, rebind)
            } else {
                (Ipv4Addr::BROADCAST, end)
            };
            // RFC 2131, 4.4.5: wait half of what is left, but a minute at least.
            let half = phase_end.saturating_duration_since(now) / 2;
            let next = (now + half.max(LEAST_RENEWAL_PAUSE)).min(phase_end);
            match self.renew(held, server, next) {
                Ok(Some(reply)) if reply.kind == Kind::Ack => {
                    return Some(Held {
                        server: reply.server.unwrap_or(held.server),
                        lease: reply.lease,
                        since: now,
                    });
                }
                Ok(Some(_)) => return None,
                Ok(None) => {}
                Err(error) => {
                    self.console.say(format_args!(
                        "network: renew {}: {error}",
                        held.lease.address
                    ));
                }
            }
            sleep_until(next);
        }
    }

    fn renew(&self, held: &Held, server: Ipv4Addr, end: Instant) -> io::Result<Option<Reply>> {
        let socket = UdpSocket::bind((held.lease.address, CLIENT_PORT))?;
        socket.set_broadcast(true)?;
        let xid = random()?;
        let query = Query {
            ciaddr: held.lease.address,
            ..self.query(Kind::Request, xid)
        };
        socket.send_to(&query.encode(), SocketAddrV4::new(server, SERVER_PORT))?;
        let mut buffer = [0; 2048];
        loop {
            let Some(left) = left_until(end) else {
                return Ok(None);
            };
            socket.set_read_timeout(Some(left))?;
            let (length, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            let reply = buffer
                .get(..length)
                .and_then(|bytes| Reply::parse(bytes, self.interface.mac));
            let from_server =
                matches!(from, SocketAddr::V4(address) if address.port() == SERVER_PORT);
            if let Some(reply) =
                reply.filter(|reply| from_server && reply.xid == xid && reply.kind != Kind::Offer)
            {
                return Ok(Some(reply));
            }
        }
    }
}

/// Time left, if any; never zero, which would mean "for ever" as a socket's timeout.
fn left_until(end: Instant) -> Option<Duration> {
    end.checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

fn sleep_until(end: Instant) {
    if let Some(left) = left_until(end) {
        thread::sleep(left);
    }
}

fn random() -> io::Result<u32> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// IPv4 packets of one interface, without their Ethernet header (packet(7)).
struct PacketSocket {
    socket: OwnedFd,
    to: libc::sockaddr_ll,
}

impl PacketSocket {
    fn open(index: i32) -> io::Result<Self> {
        let protocol = 0x0800u16.to_be();
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
                i32::from(protocol),
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fd was just opened and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: sockaddr_ll is plain data for which zeros are a valid value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        to.sll_protocol = protocol;
        to.sll_ifindex = index;
        to.sll_halen = 6;
        to.sll_addr = [0xff; 8];
        let this = Self { socket, to };
        // SAFETY: `to` is a sockaddr_ll, and the length is its size.
        check(unsafe { libc::bind(this.socket.as_raw_fd(), this.address(), Self::ADDRESS_LEN) })?;
        Ok(this)
    }

    // 20 bytes.
    const ADDRESS_LEN: libc::socklen_t = 20;

    fn address(&self) -> *const libc::sockaddr {
        (&raw const self.to).cast()
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer and the address are valid for their lengths.
        check(unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                self.address(),
                Self::ADDRESS_LEN,
            )
        })
        .map(|_| ())
    }

    /// The next packet, or `None` at `end`.
    fn receive(&self, end: Instant) -> io::Result<Option<Vec<u8>>> {
        let Some(left) = left_until(end) else {
            return Ok(None);
        };
        let timeout =
            rustix::event::Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut fds = [rustix::event::PollFd::new(
            &self.socket,
            rustix::event::PollFlags::IN,
        )];
        if rustix::event::poll(&mut fds, Some(&timeout))? == 0 {
            return Ok(None);
        }
        let mut packet = vec![0u8; 2048];
        let length = rustix::io::read(&self.socket, &mut packet)?;
        packet.truncate(length);
        Ok(Some(packet))
    }
}

fn check<T: TryInto<usize>>(result: T) -> io::Result<usize> {
    result.try_into().map_err(|_| io::Error::last_os_error())
}
