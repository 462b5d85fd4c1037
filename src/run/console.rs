//! The serial console as text that can be streamed to a terminal or a file.
//!
//! The firmware clears the screen and places its cursor; passed on, that would wipe what the
//! user's terminal shows. So control sequences are dropped, colours (SGR, ECMA-48 8.3.117)
//! excepted, and CR LF becomes LF. And it is handed out in whole lines, so that what others print
//! to the same terminal does not end up inside one.

/// A line is handed out in pieces beyond this: four times the guest's longest.
const LONGEST_LINE: usize = 64 * 1024;
/// Sequences longer than this are no sequences.
const LONGEST_SEQUENCE: usize = 64;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Strips a byte stream of control sequences. It keeps its state between pieces, so a sequence
/// may be split anywhere.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    returns: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// Inside a control sequence: the bytes since `ESC [`.
    Control(Vec<u8>),
    /// Inside an operating system command or another string: up to BEL or `ESC \`.
    Command(usize),
}

impl Filter {
    /// Appends what is left of `bytes` to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            self.state = match std::mem::take(&mut self.state) {
                State::Text => self.text(byte, out),
                State::Escape => escape(byte),
                State::Control(seen) => control(seen, byte, out),
                State::Command(length) => command(length, byte),
            };
        }
    }

    fn text(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match byte {
            b'\r' => self.returns = true,
            b'\n' => {
                self.returns = false;
                out.push(byte);
            }
            _ => {
                if std::mem::take(&mut self.returns) {
                    out.push(b'\r');
                }
                if byte == ESCAPE {
                    return State::Escape;
                }
                if byte != 0 {
                    out.push(byte);
                }
            }
        }
        State::Text
    }
}

fn escape(byte: u8) -> State {
    match byte {
        b'[' => State::Control(Vec::new()),
        b']' | b'P' | b'X' | b'^' | b'_' => State::Command(0),
        // An intermediate byte: the sequence goes on.
        0x20..=0x2f | ESCAPE => State::Escape,
        _ => State::Text,
    }
}

fn control(mut seen: Vec<u8>, byte: u8, out: &mut Vec<u8>) -> State {
    match byte {
        b'm' => {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(&seen);
            out.push(byte);
            State::Text
        }
        0x20..=0x3f if seen.len() < LONGEST_SEQUENCE => {
            seen.push(byte);
            State::Control(seen)
        }
        ESCAPE => State::Escape,
        b'\n' => {
            out.push(byte);
            State::Text
        }
        _ => State::Text,
    }
}

fn command(length: usize, byte: u8) -> State {
    match byte {
        BELL | b'\n' => State::Text,
        ESCAPE => State::Escape,
        _ if length >= LONGEST_SEQUENCE => State::Text,
        _ => State::Command(length.saturating_add(1)),
    }
}

/// Joins pieces of text to whole lines.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Takes a piece; answers the lines that are whole now, or nothing.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let end = piece.iter().rposition(|byte| *byte == b'\n');
        let (whole, rest) = piece.split_at(end.map_or(0, |end| end.saturating_add(1)));
        let mut out = Vec::new();
        if !whole.is_empty() {
            out = std::mem::take(&mut self.held);
            out.extend_from_slice(whole);
        }
        self.held.extend_from_slice(rest);
        if self.held.len() > LONGEST_LINE {
            out.append(&mut self.held);
        }
        out
    }

    /// The start of a line that has not ended.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Whether there is such a start.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(pieces: &[&[u8]]) -> String {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        for piece in pieces {
            filter.push(piece, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_firmwares_screen_control_goes_and_text_stays() {
        let ovmf = b"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: loading\r\nnext\r\r\nfifty\r100 %\n";
        assert_eq!(filtered(&[ovmf]), "BdsDxe: loading\nnext\nfifty\r100 %\n");
    }

    #[test]
    fn colours_stay_wherever_the_stream_is_split() {
        let text = b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07plain \x1bPstring\x1b\\end\r\n\x1b(Bx";
        let whole = filtered(&[text]);
        assert_eq!(whole, "\x1b[1;31mred\x1b[0m plain end\nx");
        for at in 0..text.len() {
            let (left, right) = text.split_at(at);
            assert_eq!(filtered(&[left, right]), whole, "split at {at}");
        }
    }

    #[test]
    fn lines_come_out_whole_and_endless_ones_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntwo\nthr"), b"one\ntwo\n");
        assert_eq!(lines.push(b"e"), b"");
        assert!(lines.holds());
        assert_eq!(lines.push(b"e\n"), b"three\n");
        assert!(!lines.holds());
        let endless = vec![b'x'; LONGEST_LINE];
        assert_eq!(lines.push(&endless), b"");
        assert_eq!(lines.push(b"y").len(), LONGEST_LINE + 1);
        assert_eq!(lines.push(b"prompt: "), b"");
        assert_eq!(lines.take_rest(), b"prompt: ");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_none_held_without_bound(pieces: Vec<Vec<u8>>) {
            let mut lines = Lines::default();
            let mut out = Vec::new();
            for piece in &pieces {
                out.extend(lines.push(piece));
                prop_assert!(out.is_empty() || out.ends_with(b"\n"));
            }
            out.extend(lines.take_rest());
            prop_assert_eq!(out, pieces.concat());
        }

        #[test]
        fn plain_text_passes(text in "[a-zA-Zäöü0-9 .:\n\t]{0,200}") {
            prop_assert_eq!(filtered(&[text.as_bytes()]), text);
        }

        #[test]
        fn nothing_but_colours_escapes(bytes: Vec<u8>) {
            let mut out = Vec::new();
            Filter::default().push(&bytes, &mut out);
            for (at, _) in out.iter().enumerate().filter(|(_, byte)| **byte == ESCAPE) {
                prop_assert!(out[at..].starts_with(b"\x1b["));
            }
        }
    }
}
