//! An SNTP client (RFC 5905, section 14): one question, one answer that is believed only when it
//! makes sense.

use std::{
    fs::File,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::Sample;

/// The servers' port.
pub const PORT: u16 = 123;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
const PACKET: usize = 48;
/// Seconds from 1900 to 1970.
const EPOCH: u32 = 2_208_988_800;
/// RFC 5905: MAXDIST is 1.5 s; a server farther from its reference tells no good time.
const MOST_DISTANCE: f64 = 1.5;

/// A server that tells no time, or is not to be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An answer that is none.
    #[error("the answer makes no sense: {0}")]
    Nonsense(&'static str),
    /// A kiss-o'-death packet (RFC 5905, 7.4).
    #[error("it asks not to be asked ({0})")]
    Kiss(String),
}

/// Asks a server once.
///
/// # Errors
/// [`Error`].
pub fn ask(server: SocketAddr) -> Result<Sample, Error> {
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0))?;
    socket.connect(server)?;
    // A random number in place of our time: it tells nothing, and nobody can guess it.
    let mut nonce = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut nonce)?;
    let mut query = [0u8; PACKET];
    query[0] = 0x23; // no leap, version 4, client
    query[40..].copy_from_slice(&nonce);
    let (sent, begun) = (SystemTime::now(), Instant::now());
    socket.send(&query)?;
    let end = begun + PATIENCE;
    let mut buffer = [0; 512];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if crate::net::client::is_passing(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        let took = begun.elapsed();
        let packet = buffer.get(..length).unwrap_or_default();
        // A packet that answers another question is not even nonsense.
        if packet.get(24..32) == Some(&nonce) {
            return sample(packet, seconds(sent), took.as_secs_f64());
        }
    }
}

fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// What an answer says, when the question was sent at `sent` (seconds since 1970, by our clock) and
/// the answer came so many seconds later.
fn sample(packet: &[u8], sent: f64, took: f64) -> Result<Sample, Error> {
    let packet: &[u8; PACKET] = packet
        .first_chunk()
        .ok_or(Error::Nonsense("it is too short"))?;
    let [flags, stratum, ..] = *packet;
    if flags & 7 != 4 || !(3..=4).contains(&(flags >> 3 & 7)) {
        return Err(Error::Nonsense("it is no server's"));
    }
    if stratum == 0 {
        let code = packet.get(12..16).unwrap_or_default();
        return Err(Error::Kiss(code.escape_ascii().to_string()));
    }
    if flags >> 6 == 3 || stratum > 15 {
        return Err(Error::Nonsense("its own clock is not set"));
    }
    let word = |at: usize| {
        packet
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |word| u32::from_be_bytes(*word))
    };
    let short = |at: usize| f64::from(word(at)) / 65536.0;
    if short(4) / 2.0 + short(8) > MOST_DISTANCE {
        return Err(Error::Nonsense("its own clock is not accurate"));
    }
    // Counted from 1970, the 32 bits reach to 2106.
    let stamp = |at: usize| {
        f64::from(word(at).wrapping_sub(EPOCH)) + f64::from(word(at + 4)) / 4_294_967_296.0
    };
    let (received, transmitted) = (stamp(32), stamp(40));
    if word(40) == 0 || transmitted < received {
        return Err(Error::Nonsense("its times are out of order"));
    }
    let delay = took - (transmitted - received);
    if delay < -0.001 {
        return Err(Error::Nonsense("it took longer than it has taken"));
    }
    let offset = ((received - sent) + (transmitted - (sent + took))) / 2.0;
    Ok(Sample {
        offset,
        delay: delay.max(0.0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(change: impl FnOnce(&mut [u8; PACKET])) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[0] = 0x24;
        packet[1] = 2;
        for at in [32, 40] {
            packet[at..at + 4].copy_from_slice(&(EPOCH + 1000).to_be_bytes());
        }
        change(&mut packet);
        packet
    }

    /// A server whose clock is so many seconds ahead.
    #[expect(clippy::cast_possible_truncation, reason = "both fit, until 2106")]
    fn server(ahead: f64) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut query = [0; PACKET];
            while let Ok((_, from)) = socket.recv_from(&mut query) {
                let now = seconds(SystemTime::now()) + ahead;
                let answer = packet(|packet| {
                    packet[24..32].copy_from_slice(&query[40..]);
                    for at in [32, 40] {
                        let whole = EPOCH.wrapping_add(now as u32);
                        packet[at..at + 4].copy_from_slice(&whole.to_be_bytes());
                        let part = (now.fract() * 4_294_967_296.0) as u32;
                        packet[at + 4..at + 8].copy_from_slice(&part.to_be_bytes());
                    }
                });
                // Somebody who has not seen the question is faster.
                socket.send_to(&packet(|_| ()), from).unwrap();
                socket.send_to(&answer, from).unwrap();
            }
        });
        address
    }

    #[test]
    fn the_offset_is_the_servers() {
        for ahead in [0.0, 3600.25, -86400.5] {
            let found = ask(server(ahead)).unwrap();
            assert!((found.offset - ahead).abs() < 0.5, "{ahead}: {found:?}");
            assert!(found.delay < 1.0);
        }
    }

    #[test]
    fn only_answers_that_make_sense_are_believed() {
        let told =
            |packet: [u8; PACKET]| sample(&packet, 1000.0, 0.1).map_err(|error| error.to_string());
        let good = told(packet(|_| ())).unwrap();
        assert!((good.offset + 0.05).abs() < 1e-6 && (good.delay - 0.1).abs() < 1e-6);
        for (bad, expected) in [
            (packet(|p| p[0] = 0x23), "no server's"),
            (packet(|p| p[0] = 0xe4), "not set"),
            (packet(|p| p[1] = 16), "not set"),
            (packet(|p| p[5] = 16), "not accurate"),
            (packet(|p| p[40..48].fill(0)), "out of order"),
            (packet(|p| p[32] = 0xff), "out of order"),
            (packet(|p| p[43] += 1), "longer than it has taken"),
            (
                packet(|p| {
                    p[1] = 0;
                    p[12..16].copy_from_slice(b"RATE");
                }),
                "(RATE)",
            ),
        ] {
            let error = told(bad).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(sample(&[0x24; 47], 0.0, 0.0).is_err());
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let begun = Instant::now();
        assert!(ask(socket.local_addr().unwrap()).is_err());
        assert!(begun.elapsed() < PATIENCE * 2);
    }

    proptest! {
        #[test]
        fn no_packet_panics_or_gives_what_is_no_number(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(found) = sample(&bytes, 1000.0, 0.1) {
                prop_assert!(found.offset.is_finite() && found.delay.is_finite());
            }
        }
    }
}
