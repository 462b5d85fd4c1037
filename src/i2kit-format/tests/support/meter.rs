//! How much memory a call takes: a reader's memory is bounded whatever the bytes claim.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static METER: Meter = Meter;

thread_local! {
    /// Bytes in use by this thread, and the most there were.
    static USED: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Meter;

fn count(bytes: isize) {
    // A thread that ends has no counter left; nothing is measured there.
    let _ = USED.try_with(|used| {
        let (now, peak) = used.get();
        let now = now + bytes;
        used.set((now, peak.max(now)));
    });
}

// SAFETY: every call is passed on to the system's allocator as it came; counting neither allocates
// nor panics.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise about `layout` is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The call's answer, and the most bytes that it had in use at once.
pub fn peak_of<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let (start, _) = USED.get();
    USED.set((start, start));
    let answer = call();
    let (_, peak) = USED.get();
    (answer, (peak - start).unsigned_abs())
}
