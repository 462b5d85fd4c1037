//! The DHCP client: it does what [`Keeper`] says, on the kernel's clock and network.

use std::{
    collections::BTreeSet,
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
    fault::{Chain, Context, Fault},
    net::{
        dhcp::{CLIENT_PORT, Kind, Lease, Query, Reply, SERVER_PORT, datagram, server_payload},
        iface::{self, Interface},
        keeper::{Action, Keeper},
        settings::Settings,
        setup,
    },
};

/// Runs on an interface that is up.
pub struct Client {
    interface: Interface,
    settings: Settings,
    console: Console,
    first: Option<mpsc::Sender<()>>,
    /// Where the keeper's clock begins.
    start: Instant,
    /// What was said of bad messages: each once, since their sender may send any number.
    told: BTreeSet<String>,
}

impl Client {
    /// A client that tells `first` of its first lease.
    pub fn new(
        interface: Interface,
        settings: Settings,
        console: Console,
        first: Option<mpsc::Sender<()>>,
    ) -> Self {
        Self {
            interface,
            settings,
            console,
            first,
            start: Instant::now(),
            told: BTreeSet::new(),
        }
    }

    /// Ends only when it cannot begin.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub fn run(mut self) -> Result<(), Fault> {
        let xid = random().context("read", "random numbers")?;
        let hostname = self.settings.hostname();
        let mut keeper = Keeper::new(self.interface.mac, hostname, xid, self.start.elapsed());
        let (mut reply, mut address) = (None, Ipv4Addr::UNSPECIFIED);
        loop {
            match keeper.next(self.start.elapsed(), reply.take()) {
                Action::Broadcast { query, until } => {
                    let result = self.broadcast(&keeper, &query, self.start + until);
                    reply = self.answer(result);
                }
                Action::Send { query, to, until } => {
                    let result = self.send(&keeper, &query, address, to, self.start + until);
                    reply = self.answer(result);
                }
                Action::Wait(Some(until)) => {
                    thread::sleep(until.saturating_sub(self.start.elapsed()));
                }
                Action::Wait(None) => thread::park(),
                Action::Apply(lease) => {
                    address = lease.address;
                    self.apply(&lease);
                }
                Action::Lose => {
                    let name = &self.interface.name;
                    self.console
                        .say(format_args!("network: lease of {name} lost"));
                    iface::deconfigure(name);
                    self.forget();
                }
            }
        }
    }

    fn answer(&self, result: io::Result<Option<Reply>>) -> Option<Reply> {
        result.unwrap_or_else(|error| {
            let name = &self.interface.name;
            self.console.say(format_args!("network: {name}: {error}"));
            None
        })
    }

    fn broadcast(
        &mut self,
        keeper: &Keeper,
        query: &Query,
        end: Instant,
    ) -> io::Result<Option<Reply>> {
        let socket = PacketSocket::open(self.interface.index)?;
        socket.send(&datagram(&query.encode()))?;
        while let Some(packet) = socket.receive(end)? {
            let reply = server_payload(&packet).and_then(|bytes| self.parse(keeper, query, bytes));
            if reply.is_some() {
                return Ok(reply);
            }
        }
        Ok(None)
    }

    fn send(
        &mut self,
        keeper: &Keeper,
        query: &Query,
        from: Ipv4Addr,
        to: Ipv4Addr,
        end: Instant,
    ) -> io::Result<Option<Reply>> {
        let socket = UdpSocket::bind((from, CLIENT_PORT))?;
        socket.set_broadcast(true)?;
        socket.send_to(&query.encode(), SocketAddrV4::new(to, SERVER_PORT))?;
        let mut buffer = [0; 2048];
        while let Some(left) = left_until(end) {
            socket.set_read_timeout(Some(left))?;
            let (length, sender) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            let reply = self.parse(keeper, query, bytes);
            if reply.is_some() && is_server(sender) {
                return Ok(reply);
            }
        }
        Ok(None)
    }

    /// A server's answer to the query that the keeper waits for.
    fn parse(&mut self, keeper: &Keeper, query: &Query, bytes: &[u8]) -> Option<Reply> {
        match Reply::parse(bytes, self.interface.mac, query.xid) {
            Ok(reply) => {
                let reply = reply.filter(|reply| keeper.awaits(reply))?;
                if reply.kind == Kind::Ack {
                    for part in &reply.ignored {
                        self.tell(format!("ignored of the lease: {part}"));
                    }
                }
                Some(reply)
            }
            Err(error) => {
                self.tell(format!("a DHCP message ignored: {error}"));
                None
            }
        }
    }

    /// Says a line once. There are only so many different ones.
    fn tell(&mut self, line: String) {
        if self.told.contains(&line) {
            return;
        }
        let name = &self.interface.name;
        self.console.say(format_args!("network: {name}: {line}"));
        self.told.insert(line);
    }

    fn apply(&mut self, lease: &Lease) {
        match self.configure(lease) {
            Ok(()) => {}
            Err(error) => {
                self.console.say(format_args!("network: {}", Chain(&error)));
                return;
            }
        }
        self.console.say(format_args!(
            "network: {} {}/{}",
            self.interface.name, lease.address, lease.prefix
        ));
        if let Some(first) = self.first.take() {
            // Nobody listens any more when the Pod was started without a network.
            let _ = first.send(());
        }
    }

    fn configure(&self, lease: &Lease) -> Result<(), Fault> {
        let used = self.settings.effective(lease);
        for warning in iface::configure(&self.interface.name, &used)? {
            self.console.say(format_args!("network: {warning}"));
        }
        let network = self.settings.network();
        if !network.addresses.is_empty() {
            // A new first address takes others of its network away.
            setup::add_fixed(&self.interface, &network, &self.console);
        }
        self.settings.set_lease(Some(used))
    }

    fn forget(&self) {
        if let Err(error) = self.settings.set_lease(None) {
            self.console.say(format_args!("network: {}", Chain(&error)));
        }
    }
}

/// The time is up, or a signal came: any thread may get the SIGCHLD of a child that ended.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn is_server(sender: SocketAddr) -> bool {
    matches!(sender, SocketAddr::V4(address) if address.port() == SERVER_PORT)
}

/// Time left, if any; never zero, which would mean "for ever" as a socket's timeout.
fn left_until(end: Instant) -> Option<Duration> {
    end.checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

/// A random number.
pub fn random() -> io::Result<u32> {
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

    /// The next packet (an empty one when a signal came), or `None` at `end`.
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
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            // No packet yet, but perhaps in time.
            Err(rustix::io::Errno::INTR) => return Ok(Some(Vec::new())),
            Err(error) => return Err(error.into()),
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
