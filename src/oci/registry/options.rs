//! Every bound of the client, as data.

use std::time::Duration;

use super::proxy::Proxies;
use super::retry::RetryPolicy;

/// How the client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Requests that one host gets at once.
    pub requests_per_host: usize,
    /// Redirects followed one after another.
    pub redirects: usize,
    /// How large blobs come.
    pub ranges: Ranges,
    /// Bytes of one chunk of an upload, where a registry takes no blob whole.
    pub upload_chunk: u64,
    /// The way out.
    pub proxies: Proxies,
}

/// How long to wait for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the name, and again for connection and TLS.
    pub connect: Duration,
    /// For the whole head of an answer, from the end of the request.
    pub response: Duration,
    /// For the next byte, either way, in head and body.
    pub idle: Duration,
    /// Fewer bytes a second than this, over [`Self::rate_window`] of waiting, are too slow.
    pub rate: u64,
    /// See [`Self::rate`].
    pub rate_window: Duration,
}

/// When a blob is fetched in several ranges at once. In memory are at most `streams` chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Blobs of this size and above.
    pub threshold: u64,
    /// Bytes of one range.
    pub chunk: u64,
    /// Ranges at once.
    pub streams: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            requests_per_host: 6,
            redirects: 10,
            ranges: Ranges::default(),
            upload_chunk: 16 << 20,
            proxies: Proxies::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            response: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            rate: 1024,
            rate_window: Duration::from_secs(60),
        }
    }
}

impl Default for Ranges {
    fn default() -> Self {
        Self {
            threshold: 1 << 30,
            chunk: 8 << 20,
            streams: 4,
        }
    }
}
