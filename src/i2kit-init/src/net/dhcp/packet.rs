//! The IPv4 and UDP headers around a message.

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, SERVER_PORT};

/// Puts a broadcast IPv4 and UDP header before a client's message: a client without an address
/// cannot use the kernel's UDP.
pub fn datagram(payload: &[u8]) -> Vec<u8> {
    let length =
        |extra: usize| u16::try_from(payload.len().saturating_add(extra)).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0x10]; // IPv4, 20-byte header; low delay
    packet.extend(length(28).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]); // no fragments, TTL 64, UDP
    packet.extend(Ipv4Addr::UNSPECIFIED.octets());
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&packet);
    if let Some(field) = packet.get_mut(10..12) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(length(8).to_be_bytes());
    packet.extend([0, 0]); // no checksum, as IPv4 allows
    packet.extend(payload);
    packet
}

/// The payload of an IPv4 packet that carries UDP from a DHCP server to a client. Checksums are
/// not checked: the kernel has not filled them in when the sender is on the same host.
pub fn server_payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?);
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != 17 || fragment & 0x3fff != 0 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes(*packet.get(2..)?.first_chunk()?));
    let udp = packet.get(header..total.min(packet.len()))?;
    let ports = udp.get(..4)?;
    if ports != [0, 67, 0, 68] {
        return None;
    }
    let length = usize::from(u16::from_be_bytes(*udp.get(4..)?.first_chunk()?));
    udp.get(8..length.min(udp.len()))
}

fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, _) = bytes.as_chunks::<2>();
    let sum: u32 = pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_what_the_kernel_would_write() {
        let mut packet = datagram(b"payload");
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(server_payload(&packet), None);
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        packet.extend([0; 6]); // Ethernet pads short frames
        assert_eq!(server_payload(&packet), Some(&b"payload"[..]));
    }
}
