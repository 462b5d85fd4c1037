//! Tests: images of registries, most of which misbehave by script.

mod auth;
mod debian;
mod documents;
mod places;
mod push;
mod random;
mod redirects;
mod secrets;
mod tls;
mod transfer;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use i2kit::cache::Cache;
use i2kit::layer::{ConvertOptions, ConvertedLayer};
use i2kit::oci::registry::{
    Anonymous, Blob, BlobSpec, Client, Clock, Credential, Credentials, Endpoint, Options, Proxies,
    Ranges, RegistrySource, Repository, RetryPolicy, Scheme, Secret, Timeouts, Tls, Wanted,
};
use i2kit::oci::{Digest, Error, LayoutSource, Platform, Source};
use i2kit::pipeline::{self, Request, Silent};
use serde_json::json;

use crate::support::layout::{self, Compression};
use crate::support::registry::Registry;
use crate::support::tarball::{Dialect, Item, archive};

/// The image's name in every registry.
const NAME: &str = "team/app";

/// A clock that doesn't wait: it writes down how long it should have.
#[derive(Debug)]
struct TestClock {
    start: Instant,
    slept: Mutex<Vec<Duration>>,
}

impl TestClock {
    fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap().clone()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        let slept: Duration = self.slept().iter().sum();
        self.start.max(Instant::now()) + slept
    }

    fn date(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, time: Duration) {
        self.slept.lock().unwrap().push(time);
    }

    fn random(&self) -> u64 {
        0
    }
}

/// Limits that make a test short.
fn options() -> Options {
    Options {
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(2),
            idle: Duration::from_millis(300),
            rate: 2000,
            rate_window: Duration::from_millis(400),
        },
        retry: RetryPolicy {
            attempts: 4,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(1),
            longest_asked: Duration::from_secs(60),
            budget: Duration::from_secs(100),
            progress: 1024,
        },
        requests_per_host: 6,
        redirects: 5,
        ranges: Ranges::default(),
        upload_chunk: 10_000,
        proxies: Proxies::default(),
    }
}

/// A client, what it waited and what it said.
struct Desk {
    client: Client,
    clock: Arc<TestClock>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Desk {
    fn new() -> Self {
        Self::with(options(), Anonymous)
    }

    fn with(options: Options, credentials: impl Credentials + 'static) -> Self {
        let clock = Arc::new(TestClock {
            start: Instant::now(),
            slept: Mutex::default(),
        });
        let notes: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&notes);
        let tell = move |note: &str| told.lock().unwrap().push(note.to_owned());
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        Self {
            client: Client::with(options, Box::new(credentials), shared, Box::new(tell)),
            clock,
            notes,
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    fn source(&self, repository: Repository) -> RegistrySource {
        RegistrySource::new(self.client.clone(), repository, tag("latest"))
    }

    fn read(&self, repository: &Repository, digest: &str, size: usize) -> Result<Vec<u8>, Error> {
        read(self.client.blob(repository, &blob(digest, size))?)
    }

    fn fails(&self, repository: &Repository, digest: &str, size: usize) -> Error {
        fails_by(self.read(repository, digest, size))
    }
}

fn fails_by(result: Result<Vec<u8>, Error>) -> Error {
    // The bytes are too many to be shown.
    result.map(|bytes| bytes.len()).unwrap_err()
}

fn read(mut blob: Blob) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    match blob.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.downcast::<Error>().unwrap()),
    }
}

fn blob(digest: &str, size: usize) -> BlobSpec {
    BlobSpec {
        digest: digest.parse().unwrap(),
        size: Some(size as u64),
        urls: Vec::new(),
    }
}

fn tag(name: &str) -> Wanted {
    Wanted::Tag(name.to_owned())
}

/// Who everybody is.
struct Known(Credential);

impl Credentials for Known {
    fn credential(
        &self,
        _: &str,
        _: &str,
    ) -> Result<Option<Credential>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Some(self.0.clone()))
    }
}

fn password(username: &str, password: &str) -> Known {
    Known(Credential::Password {
        username: username.to_owned(),
        password: Secret::new(password.to_owned()),
    })
}

fn endpoint(registry: &Registry) -> Endpoint {
    Endpoint {
        scheme: Scheme::Http,
        host: registry.host(),
        prefix: String::new(),
        repository: NAME.to_owned(),
        tls: Tls::default(),
        by_tag: true,
        is_mirror: false,
    }
}

fn mirror(registry: &Registry) -> Endpoint {
    Endpoint {
        is_mirror: true,
        ..endpoint(registry)
    }
}

fn of(endpoints: impl IntoIterator<Item = Endpoint>) -> Repository {
    Repository {
        name: format!("registry.test/{NAME}"),
        endpoints: endpoints.into_iter().collect(),
    }
}

fn repository(registry: &Registry) -> Repository {
    of([endpoint(registry)])
}

/// Bytes that don't compress, always the same.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A layout of one image, with a layer of about each size.
fn image(folder: &Path, sizes: &[usize]) -> PathBuf {
    let layout = folder.join("layout");
    let layers: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            let file = Item::file(format!("file-{index}"), noise(index as u64 + 1, *size));
            let compression = [Compression::Gzip, Compression::None, Compression::Zstd][index % 3];
            (archive(&[file], Dialect::Gnu), compression)
        })
        .collect();
    layout::write(&layout, &layers, &json!({}));
    layout
}

/// The layers of an image, largest digest last.
fn layers(source: &dyn Source) -> Vec<i2kit::oci::LayerDescriptor> {
    source.image(&Platform::default()).unwrap().layers
}

/// All layers of an image, converted into `cache`.
#[allow(clippy::needless_pass_by_value, reason = "so that any source fits")]
fn convert(source: Arc<dyn Source>, cache: &Path) -> Result<Vec<Arc<ConvertedLayer>>, String> {
    let told = |error: &dyn std::fmt::Display, hint: Option<String>| {
        format!("{error}\nhint: {}", hint.unwrap_or_default())
    };
    let image = source
        .image(&Platform::default())
        .map_err(|error| told(&error, error.hint()))?;
    let requests: Vec<_> = image
        .layers
        .iter()
        .map(|layer| Request {
            layer: layer.clone(),
            source: Arc::clone(&source),
        })
        .collect();
    let cache = Cache::open(cache).unwrap();
    let done = pipeline::convert(
        &cache,
        &requests,
        &ConvertOptions::default(),
        3,
        None,
        &Silent,
    )
    .map_err(|error| told(&error, error.hint()))?;
    Ok(done.into_values().collect())
}

/// What a converted image is, wherever its cache lies.
fn contents(layers: &[Arc<ConvertedLayer>]) -> Vec<(String, String, usize)> {
    let one = |layer: &Arc<ConvertedLayer>| {
        let data = std::fs::read(layer.data.path().unwrap()).unwrap();
        (
            layer.diff_id.clone(),
            Digest::of(&data).to_string(),
            layer.entries.len(),
        )
    };
    layers.iter().map(one).collect()
}

/// The same from the layout, without any registry.
fn expected(layout: &Path) -> Vec<(String, String, usize)> {
    let cache = tempfile::tempdir().unwrap();
    let source = LayoutSource::new(layout.display().to_string().parse().unwrap());
    contents(&convert(Arc::new(source), cache.path()).unwrap())
}

/// Drafts that a failed conversion left.
fn left_in(cache: &Path) -> usize {
    std::fs::read_dir(cache.join("v1/tmp")).map_or(0, Iterator::count)
}

/// The secret behind a hint about it.
fn hint(error: &Error) -> String {
    error
        .hint()
        .unwrap_or_else(|| panic!("{error} has no hint"))
}
