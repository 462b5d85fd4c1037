//! The commands that look after what lies at Amazon.

mod disk;
mod fetch;
mod images;
mod ledger;
mod prune;

use tokio::runtime::{Builder, Runtime};

use super::args::{CloudArgs, RegionArgs, RegionsArgs};
use super::error::Error;
use crate::push::cloud::{Access, Cloud, Region};

pub use disk::{Fetched, fetched, is_named, pair};
pub use fetch::fetch;
pub use images::images;
pub use ledger::{abort, folder, ledger};
pub use prune::prune;

/// Threads that talk to Amazon: encryption and checksums of what is sent are their work, too.
const MOST_WORKERS: usize = 4;

/// What the commands' futures run on.
pub fn runtime() -> Result<Runtime, Error> {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let runtime = Builder::new_multi_thread()
        .worker_threads(processors.clamp(2, MOST_WORKERS))
        .enable_all()
        .build();
    runtime.map_err(Error::Runtime)
}

/// The account that the flags name.
pub async fn connect(arguments: &CloudArgs) -> Result<Cloud, Error> {
    let access = Access {
        profile: arguments.aws_profile.clone(),
        assume_role: arguments.assume_role.clone(),
        fips: arguments.fips,
        dual_stack: arguments.dual_stack,
    };
    Ok(Cloud::connect(&access).await?)
}

/// The names of the regions that are meant, each once: the given ones, or the account's own.
pub fn region_names(cloud: &Cloud, arguments: &RegionsArgs) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for name in &arguments.regions {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if names.is_empty() {
        names.push(cloud.default_region().ok_or(Error::NoRegion)?.to_owned());
    }
    Ok(names)
}

/// The regions that are meant.
pub fn regions(cloud: &Cloud, arguments: &RegionsArgs) -> Result<Vec<Region>, Error> {
    let names = region_names(cloud, arguments)?;
    Ok(names.iter().map(|name| cloud.region(name)).collect())
}

/// The one region that is meant.
pub fn region(cloud: &Cloud, arguments: &RegionArgs) -> Result<Region, Error> {
    let name = arguments.region.as_deref().or(cloud.default_region());
    Ok(cloud.region(name.ok_or(Error::NoRegion)?))
}
