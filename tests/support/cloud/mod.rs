//! A strict account at AWS on a port of this machine: EBS direct, as much of EC2, SSM, autoscaling and
//! STS as images need. Signatures are checked, blocks' checksums too; what the services refuse is
//! refused; a seed decides what goes wrong.

mod answer;
mod autoscaling;
mod blocks;
mod call;
mod ebs;
mod ec2;
pub mod faults;
mod http;
pub mod keys;
mod limits;
mod server;
pub mod settings;
mod signature;
mod ssm;
mod sts;
mod time;
mod volume;
pub mod world;
mod xml;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use faults::Plan;
pub use server::Seen;
use server::Shared;
pub use settings::Settings;
pub use volume::Volume;
use world::{Image, Snapshot, User, World};

/// The region of whoever names none.
pub const REGION: &str = "eu-central-1";

/// The account; it goes away with this.
pub struct Fake {
    /// `http://127.0.0.1:PORT`.
    pub origin: String,
    shared: Arc<Shared>,
}

impl Fake {
    pub fn start(settings: Settings) -> Self {
        let shared = Shared::start(settings);
        Self {
            origin: format!("http://{}", shared.address),
            shared,
        }
    }

    /// What a client needs to reach the account, and nothing else.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut variables = vec![
            ("AWS_ENDPOINT_URL", self.origin.clone()),
            ("AWS_REGION", REGION.to_owned()),
            // What Python's clients read.
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ];
        if self.shared.settings().container_keys {
            let url = format!("{}/-/keys", self.origin);
            variables.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", url));
        } else {
            variables.push(("AWS_ACCESS_KEY_ID", keys::KEY.to_owned()));
            variables.push(("AWS_SECRET_ACCESS_KEY", keys::SECRET.to_owned()));
        }
        let own = |(name, value): (&str, String)| (name.to_owned(), value);
        variables.into_iter().map(own).collect()
    }

    /// The keys of a session, as variables.
    pub fn session(&self) -> Vec<(String, String)> {
        let now = self.shared.now();
        let mut keys = self.shared.keys.lock().unwrap();
        let made = keys.session(&self.shared.settings(), now);
        let variables = [
            ("AWS_ACCESS_KEY_ID", made.key),
            ("AWS_SECRET_ACCESS_KEY", made.secret),
            ("AWS_SESSION_TOKEN", made.token),
        ];
        let own = |(name, value): (&str, String)| (name.to_owned(), value);
        variables.map(own).into_iter().collect()
    }

    /// Other behaviour from now on.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.shared.change(change);
    }

    /// How often each action (`ebs:StartSnapshot`) was asked for.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.calls()
    }

    /// How often that action was asked for.
    pub fn count(&self, action: &str) -> u64 {
        self.calls().get(action).copied().unwrap_or(0)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.shared.seen.lock().unwrap().len() as u64
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Counts from nothing again.
    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
        self.shared.peak.store(0, Ordering::SeqCst);
    }

    /// The most requests at once that had no answer yet.
    pub fn peak(&self) -> u64 {
        self.shared.peak.load(Ordering::SeqCst)
    }

    /// Looks at what there is, or changes it.
    pub fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.shared.world.lock().unwrap())
    }

    /// All snapshots of all regions.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.world(|world| world.snapshots.values().cloned().collect())
    }

    /// A snapshot's blocks, its parent's among them, by their index.
    pub fn snapshot(&self, id: &str) -> BTreeMap<u32, Arc<Vec<u8>>> {
        let blocks = self.world(|world| world.snapshots[id].blocks());
        let blocks = blocks.into_iter();
        blocks
            .map(|(index, digest)| (index, self.shared.blocks.get(&digest)))
            .collect()
    }

    /// All images of all regions.
    pub fn images(&self) -> Vec<Image> {
        self.world(|world| world.images.values().cloned().collect())
    }

    /// A parameter's value.
    pub fn parameter(&self, region: &str, name: &str) -> Option<String> {
        let key = (region.to_owned(), name.to_owned());
        self.world(|world| {
            let (parameter, _) = world.parameters.get(&key)?;
            parameter["Value"].as_str().map(str::to_owned)
        })
    }

    /// Something that uses an image.
    pub fn add_user(&self, region: &str, id: &str, user: User) {
        let key = (region.to_owned(), id.to_owned());
        self.world(|world| world.users.insert(key, user));
    }

    /// The volume that an instance of an image gets, or one that is made of a snapshot.
    pub fn launch(&self, id: &str) -> Volume {
        let snapshot = self.world(|world| match world.images.get(id) {
            Some(image) => image.mapping.snapshot.clone(),
            None => id.to_owned(),
        });
        let gib = self.world(|world| world.snapshots[&snapshot].volume_gib);
        let block_size = self.shared.settings().block_size;
        Volume::new(self.snapshot(&snapshot), block_size, gib)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes who waits for a connection.
        let _ = TcpStream::connect(self.shared.address);
    }
}
