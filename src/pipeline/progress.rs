//! How long work tells the terminal how far it is, without knowing that there is one.

/// Watches the pipeline. Called from several threads.
pub trait Progress: Sync {
    /// A piece of work starts. `id` names it in later calls, `total` is its size in bytes.
    fn begin(&self, id: &str, what: &str, total: u64);
    /// So many bytes of it are done.
    fn advance(&self, id: &str, so_far: u64);
    /// Something went wrong and was got over.
    fn note(&self, text: &str);
    /// It is done; `note` says how (`converted`, `cached`, `shared`).
    fn finish(&self, id: &str, note: &str);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: &str, _: u64) {}
    fn advance(&self, _: &str, _: u64) {}
    fn note(&self, _: &str) {}
    fn finish(&self, _: &str, _: &str) {}
}
