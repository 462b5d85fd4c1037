//! Who hears how far a push is.

/// Hears how far the work is. It may be called from several threads.
pub trait Progress: Send + Sync {
    /// So many bytes are to be moved.
    fn begin(&self, total_bytes: u64);
    /// So many more were.
    fn advance(&self, bytes: u64);
    /// Something a person may want to know: one sentence, no line break.
    fn note(&self, text: &str);
}

/// Nobody hears.
impl Progress for () {
    fn begin(&self, _total_bytes: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn note(&self, _text: &str) {}
}
