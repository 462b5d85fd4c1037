//! The Ethernet of one machine, with a DHCP server on it that says whatever a test wants: frames, ARP,
//! IPv4 and UDP by hand. QEMU's `-netdev stream` connects to its socket; each frame comes after its
//! length in four bytes, highest first.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// DHCP's message types (RFC 2132, 9.6).
pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const ACK: u8 = 5;

const ARP: [u8; 2] = [8, 6];
const IPV4: [u8; 2] = [8, 0];
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub kind: u8,
    /// Where its packet went to: a server, or all.
    pub to: Ipv4Addr,
    /// The address that it says it has; unspecified for none.
    pub has: Ipv4Addr,
    pub hostname: Vec<u8>,
    xid: [u8; 4],
    mac: [u8; 6],
}

/// What a server says.
pub enum Answer {
    /// A whole message.
    Message {
        from: Ipv4Addr,
        kind: u8,
        address: Ipv4Addr,
        options: Vec<u8>,
    },
    /// The answer's bytes, before they are packed, changed by this.
    Spoiled(Box<Answer>, fn(&mut Vec<u8>)),
    /// A frame, as it is.
    Frame(Vec<u8>),
}

#[derive(Default)]
struct Log {
    asked: Mutex<Vec<Asked>>,
    grown: Condvar,
    faults: Mutex<Vec<String>>,
}

/// A running segment; its threads end with the test.
pub struct Segment(Arc<Log>);

impl Segment {
    /// Listens at a path; `server` answers each question.
    pub fn start(path: &Path, server: impl FnMut(&Asked) -> Vec<Answer> + Send + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let log = Arc::new(Log::default());
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut server = server;
            // A machine that is started again connects again.
            for stream in listener.incoming().flatten() {
                serve(stream, &kept, &mut server);
            }
        });
        Self(log)
    }

    /// Waits for a question that is like this; answers all so far, up to it.
    pub fn wait_for(&self, what: &str, is: impl Fn(&Asked) -> bool) -> Vec<Asked> {
        let deadline = Instant::now() + Duration::from_secs(200);
        let mut asked = self.0.asked.lock().unwrap();
        loop {
            if let Some(at) = asked.iter().position(&is) {
                return asked[..=at].to_vec();
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            assert!(!rest.is_zero(), "no {what} in {asked:#?}");
            asked = self.0.grown.wait_timeout(asked, rest).unwrap().0;
        }
    }

    /// Everything that was asked so far. Every packet was sound.
    pub fn asked(&self) -> Vec<Asked> {
        let faults = self.0.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        self.0.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: UnixStream, log: &Log, server: &mut impl FnMut(&Asked) -> Vec<Answer>) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        let mut frames = Vec::new();
        if frame[12..14] == ARP {
            frames.extend(arp(&frame));
        } else if let Some((to, message)) = datagram(&frame, log) {
            let asked = question(to, message);
            frames.extend(server(&asked).iter().map(|answer| pack(answer, &asked)));
            // The answer is settled and not sent: a test that waits for the question changes only what
            // comes later, and sees it before what follows from the answer.
            log.asked.lock().unwrap().push(asked);
            log.grown.notify_all();
        }
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
            if stream.write_all(&[&length, &frame[..]].concat()).is_err() {
                return;
            }
        }
    }
}

/// The hardware address of a server. Servers are 10.9.0.1 to 10.9.0.9.
fn hardware(server: Ipv4Addr) -> [u8; 6] {
    let [.., last] = server.octets();
    [0x52, 0x55, 0, 0, 0, last]
}

fn arp(frame: &[u8]) -> Option<Vec<u8>> {
    let is_request = frame.get(14..22)? == [0, 1, 8, 0, 6, 4, 0, 1];
    let wanted = *frame.get(38..42)?.first_chunk::<4>()?;
    if !is_request || wanted[..3] != [10, 9, 0] || !(1..10).contains(&wanted[3]) {
        return None;
    }
    let own = hardware(wanted.into());
    let (sender, parts) = (&frame[22..32], &frame[22..28]);
    let head = [parts, &own, &ARP, &[0, 1, 8, 0, 6, 4, 0, 2]].concat();
    Some([&head[..], &own, &wanted, sender].concat())
}

/// The payload of a datagram for a DHCP server, whose checksums and lengths must be right.
fn datagram<'a>(frame: &'a [u8], log: &Log) -> Option<(Ipv4Addr, &'a [u8])> {
    let packet = frame.get(14..).filter(|_| frame[12..14] == IPV4)?;
    let header = usize::from(packet[0] & 15) * 4;
    let udp = &packet[header..usize::from(word(packet, 2))];
    if packet[9] != 17 || word(udp, 2) != 67 {
        return None;
    }
    let fault = |is: bool, what: &str| {
        if is {
            let text = format!("{what} in {packet:02x?}");
            log.faults.lock().unwrap().push(text);
        }
    };
    fault(sum(&packet[..header]) != 0xffff, "a wrong checksum");
    fault(usize::from(word(udp, 4)) != udp.len(), "a wrong UDP length");
    let pseudo = [&packet[12..20], &[0, 17], &udp[4..6], udp].concat();
    let is_summed = word(udp, 6) != 0;
    fault(is_summed && sum(&pseudo) != 0xffff, "a wrong UDP checksum");
    let to = *packet[16..].first_chunk::<4>().unwrap();
    Some((to.into(), &udp[8..]))
}

fn question(to: Ipv4Addr, message: &[u8]) -> Asked {
    assert_eq!(message[236..240], COOKIE, "{message:02x?}");
    let mut options = &message[240..];
    let (mut kind, mut hostname) = (0, Vec::new());
    while let [code @ 1..=254, length, rest @ ..] = options {
        let (value, rest) = rest.split_at(usize::from(*length));
        match code {
            53 => kind = value[0],
            12 => hostname = value.to_vec(),
            _ => {}
        }
        options = rest;
    }
    Asked {
        at: Instant::now(),
        kind,
        to,
        has: (*message[12..].first_chunk::<4>().unwrap()).into(),
        hostname,
        xid: *message[4..].first_chunk().unwrap(),
        mac: *message[28..].first_chunk().unwrap(),
    }
}

fn pack(answer: &Answer, asked: &Asked) -> Vec<u8> {
    match answer {
        Answer::Frame(bytes) => bytes.clone(),
        Answer::Message { from, .. } => frame(*from, &message(answer, asked), asked),
        Answer::Spoiled(inner, spoil) => {
            let mut bytes = message(inner, asked);
            spoil(&mut bytes);
            let Answer::Message { from, .. } = **inner else {
                panic!("only a message can be spoiled");
            };
            frame(from, &bytes, asked)
        }
    }
}

fn message(answer: &Answer, asked: &Asked) -> Vec<u8> {
    let Answer::Message {
        kind,
        address,
        options,
        ..
    } = answer
    else {
        panic!("no message");
    };
    let mut bytes = vec![2, 1, 6, 0];
    bytes.extend(asked.xid);
    bytes.resize(16, 0);
    bytes.extend(address.octets());
    bytes.resize(28, 0);
    bytes.extend(asked.mac);
    bytes.resize(236, 0);
    bytes.extend(COOKIE);
    bytes.extend([53, 1, *kind]);
    bytes.extend(options);
    bytes.push(255);
    bytes
}

/// To all who have no address yet, else to the client.
fn frame(from: Ipv4Addr, payload: &[u8], asked: &Asked) -> Vec<u8> {
    let to = if asked.has.is_unspecified() {
        Ipv4Addr::BROADCAST
    } else {
        asked.has
    };
    let ends = [from.octets(), to.octets()].concat();
    let length = u16::try_from(payload.len() + 8).unwrap().to_be_bytes();
    let udp = |sum: [u8; 2]| [&[0, 67, 0, 68][..], &length, &sum, payload].concat();
    let pseudo = [&ends[..], &[0, 17], &length, &udp([0, 0])].concat();
    let udp = udp((!sum(&pseudo)).to_be_bytes());
    let total = u16::try_from(udp.len() + 20).unwrap().to_be_bytes();
    let ip = |sum: [u8; 2]| {
        let first = [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, 17]].concat();
        [&first[..], &sum, &ends].concat()
    };
    let ip = ip((!sum(&ip([0, 0]))).to_be_bytes());
    [&asked.mac[..], &hardware(from), &IPV4, &ip, &udp].concat()
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The internet's sum (RFC 1071): all ones over what holds its own checksum.
fn sum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}
