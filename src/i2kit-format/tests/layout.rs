//! Layouts: what is filled in, and what is refused.
#![allow(clippy::unwrap_used)]

use std::io;

use i2kit_format::layout::{Content, Layout, Piece};
use i2kit_format::read_at::Window;
use i2kit_format::{ReadAt, gpt};

fn piece(offset: u64, content: Content) -> Piece {
    Piece { offset, content }
}

fn sample() -> Layout {
    Layout {
        size: 12,
        pieces: vec![
            piece(1, Content::Bytes(vec![1, 2])),
            piece(4, Content::Input { index: 1, size: 3 }),
            piece(9, Content::Input { index: 0, size: 1 }),
        ],
    }
}

#[test]
fn pieces_lie_where_they_should_and_zeros_between() {
    let filled = sample().fill(&[&vec![9], &vec![5, 6, 7]]).unwrap();
    assert_eq!(filled, [0, 1, 2, 0, 5, 6, 7, 0, 0, 9, 0, 0]);
    assert_eq!(sample().input_offset(0), Some(9));
    assert_eq!(sample().input_offset(1), Some(4));
    assert_eq!(sample().input_offset(2), None);
}

/// A source that says a length and gives nothing.
struct Broken;

impl ReadAt for Broken {
    fn len(&self) -> u64 {
        3
    }

    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::Error::other("gone"))
    }
}

#[test]
fn other_inputs_than_planned_are_refused() {
    let refused =
        |layout: Layout, inputs: &[&dyn ReadAt]| layout.fill(inputs).unwrap_err().to_string();
    let one = vec![9];
    assert_eq!(
        refused(sample(), &[&one]),
        "fill layout: input 1 is missing"
    );
    assert_eq!(
        refused(sample(), &[&one, &vec![5, 6]]),
        "fill layout: input 1 has 2 bytes, was planned with 3"
    );
    assert_eq!(
        refused(sample(), &[&one, &Broken]),
        "fill layout: read input 1: gone"
    );
    let endless = Layout {
        size: u64::MAX,
        pieces: Vec::new(),
    };
    assert_eq!(
        refused(endless, &[]),
        "fill layout: 18446744073709551615 bytes do not fit into memory"
    );
    let beyond = Layout {
        size: 1,
        ..sample()
    };
    assert_eq!(
        refused(beyond, &[&one, &vec![5, 6, 7]]),
        "fill layout: 1 bytes do not fit into memory"
    );
}

#[test]
fn windows_end_where_they_were_cut() {
    let whole: &[u8] = &[0, 1, 2, 3, 4, 5];
    let window = Window::new(whole, 2, 3).unwrap();
    assert_eq!((window.len(), window.is_empty()), (3, false));
    let mut two = [0; 2];
    window.read_exact_at(&mut two, 1).unwrap();
    assert_eq!(two, [3, 4]);
    for offset in [2, 3, u64::MAX] {
        let error = window.read_exact_at(&mut two, offset).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
    assert!(Window::new(whole, 2, 5).is_none());
    assert!(Window::new(whole, u64::MAX, 2).is_none());
    assert!(Window::new(whole, 6, 0).unwrap().is_empty());
    // A window of a window.
    let inner = Window::new(&window, 1, 2).unwrap();
    inner.read_exact_at(&mut two, 0).unwrap();
    assert_eq!(two, [3, 4]);
    assert!(gpt::read(&inner).is_err());
}
