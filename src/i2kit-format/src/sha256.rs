//! SHA-256 of many messages at once.
//!
//! A processor's SHA instructions wait for each other within one message. Of four messages whose
//! rounds take turns, it computes 1.7 times as much (measured on an AMD EPYC).

use sha2::{Digest as _, Sha256};

/// A digest.
pub type Digest = [u8; 32];

/// Messages whose rounds take turns.
const LANES: usize = 4;
/// Bytes of a message block (FIPS 180-4, §5.2.1).
const BLOCK: usize = 64;

/// The digest of each message. Fastest where four neighbours have one length that is a multiple of
/// 64 bytes; others are computed one by one.
#[must_use]
pub fn digests(messages: &[&[u8]]) -> Vec<Digest> {
    let (groups, rest) = messages.as_chunks::<LANES>();
    let mut out = Vec::with_capacity(messages.len());
    for group in groups {
        match together(group) {
            Some(digests) => out.extend(digests),
            None => out.extend(group.iter().map(|message| one(message))),
        }
    }
    out.extend(rest.iter().map(|message| one(message)));
    out
}

fn one(message: &[u8]) -> Digest {
    Sha256::digest(message).into()
}

/// None where the messages, or this machine, do not allow it.
fn together(messages: &[&[u8]; LANES]) -> Option<[Digest; LANES]> {
    let [first, ..] = messages;
    let len = first.len();
    let are_alike = messages.iter().all(|message| message.len() == len);
    if !are_alike || !len.is_multiple_of(BLOCK) {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
    {
        // SAFETY: the processor has the instructions, as was just asked.
        return Some(unsafe { x86::digests(messages, len) });
    }
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_set_epi8, _mm_set_epi32, _mm_setzero_si128,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    use zerocopy::transmute;

    use super::{BLOCK, Digest, LANES};

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes
    /// (FIPS 180-4, §4.2.2), four to a vector.
    #[rustfmt::skip]
    const K: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];
    /// The initial hash value (§5.3.3) as the instructions hold it: words F E B A, then H G D C,
    /// the lowest first.
    const INITIAL: [[u32; 4]; 2] = [
        [0x9b05_688c, 0x510e_527f, 0xbb67_ae85, 0x6a09_e667],
        [0x5be0_cd19, 0x1f83_d9ab, 0xa54f_f53a, 0x3c6e_f372],
    ];

    type State = [[__m128i; 2]; LANES];

    /// The digests of messages of `len` bytes each, a multiple of 64.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    pub(super) fn digests(messages: &[&[u8]; LANES], len: usize) -> [Digest; LANES] {
        let initial: [__m128i; 2] = INITIAL.map(|words| transmute!(words));
        let mut state = [initial; LANES];
        let [mut a, mut b, mut c, mut d] = messages.map(|message| message.as_chunks().0.iter());
        while let (Some(a), Some(b), Some(c), Some(d)) = (a.next(), b.next(), c.next(), d.next()) {
            state = compress(state, [a, b, c, d]);
        }
        let padding = padding(len);
        state = compress(state, [&padding; LANES]);
        state.map(|[feba, hgdc]| {
            let [f, e, b, a]: [u32; 4] = transmute!(feba);
            let [h, g, d, c]: [u32; 4] = transmute!(hgdc);
            transmute!([a, b, c, d, e, f, g, h].map(u32::to_be_bytes))
        })
    }

    /// The last block (§5.1.1): a one, zeros, and the number of bits.
    fn padding(len: usize) -> [u8; BLOCK] {
        let mut words = [0_u64; BLOCK / 8];
        words[0] = 1 << 63;
        words[7] = len as u64 * 8;
        transmute!(words.map(u64::to_be_bytes))
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn compress(mut state: State, blocks: [&[u8; BLOCK]; LANES]) -> State {
        // Words are big-endian in a message (§3.1).
        let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
        let before = state;
        let mut w = [[_mm_setzero_si128(); 4]; LANES];
        for (w, block) in w.iter_mut().zip(blocks) {
            let words: [__m128i; 4] = transmute!(*block);
            *w = words.map(|words| _mm_shuffle_epi8(words, swap));
        }
        // Four rounds of each lane; the words for those that come 16 later, as long as some do. A
        // loop would not be unrolled, and so keep `w` in memory.
        macro_rules! rounds {
            ($at:literal: $w0:literal $w1:literal $w2:literal $w3:literal) => {
                let [k0, k1, k2, k3] = K[$at].map(u32::cast_signed);
                let k = _mm_set_epi32(k3, k2, k1, k0);
                for ([abef, cdgh], w) in state.iter_mut().zip(&mut w) {
                    let sum = _mm_add_epi32(w[$w0], k);
                    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
                    let high = _mm_shuffle_epi32(sum, 0x0e);
                    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, high);
                    if $at < 12 {
                        let some = _mm_sha256msg1_epu32(w[$w0], w[$w1]);
                        let some = _mm_add_epi32(some, _mm_alignr_epi8(w[$w3], w[$w2], 4));
                        w[$w0] = _mm_sha256msg2_epu32(some, w[$w3]);
                    }
                }
            };
        }
        rounds!(0: 0 1 2 3);
        rounds!(1: 1 2 3 0);
        rounds!(2: 2 3 0 1);
        rounds!(3: 3 0 1 2);
        rounds!(4: 0 1 2 3);
        rounds!(5: 1 2 3 0);
        rounds!(6: 2 3 0 1);
        rounds!(7: 3 0 1 2);
        rounds!(8: 0 1 2 3);
        rounds!(9: 1 2 3 0);
        rounds!(10: 2 3 0 1);
        rounds!(11: 3 0 1 2);
        rounds!(12: 0 1 2 3);
        rounds!(13: 1 2 3 0);
        rounds!(14: 2 3 0 1);
        rounds!(15: 3 0 1 2);
        for (state, before) in state.iter_mut().zip(before) {
            let [[abef, cdgh], [abef_before, cdgh_before]] = [*state, before];
            *state = [
                _mm_add_epi32(abef, abef_before),
                _mm_add_epi32(cdgh, cdgh_before),
            ];
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seed: u8, len: usize) -> Vec<u8> {
        (0..len)
            .map(|at| (at as u64 * 131 + u64::from(seed) * 7 + at as u64 / 256).to_le_bytes()[0])
            .collect()
    }

    #[test]
    fn many_digests_are_those_of_one_after_another() {
        for lens in [
            &[][..],
            &[0; 4],
            &[64; 4],
            &[4096; 9],
            &[512 * 1024; 4],
            &[64, 64, 64, 128, 1, 64, 64, 64],
            &[63; 5],
        ] {
            let messages = lens.iter().enumerate();
            let messages: Vec<Vec<u8>> = messages
                .map(|(seed, len)| message(u8::try_from(seed).unwrap(), *len))
                .collect();
            let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let expected: Vec<Digest> = slices.iter().map(|message| one(message)).collect();
            assert_eq!(digests(&slices), expected, "{lens:?}");
        }
    }

    /// By another program: 4 KiB of zeros through sha256sum.
    #[test]
    fn a_known_digest() {
        let zeros = [0; 4096];
        let found = digests(&[&zeros[..]; 4]);
        let expected = "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7";
        let hex: String = found[3].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }
}
