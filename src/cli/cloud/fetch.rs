//! `i2kit fetch`: an AMI or a snapshot to a raw disk.

use serde_json::json;

use super::{connect, disk, runtime};
use crate::cli::args;
use crate::cli::error::Error;
use crate::cli::progress::Transfer;
use crate::cli::summary::bytes;
use crate::push::download;

/// `i2kit fetch`.
pub fn fetch(arguments: &args::Fetch) -> Result<(), Error> {
    if !disk::is_id(&arguments.what) {
        return Err(Error::Argument {
            argument: arguments.what.clone(),
            reason: "name an AMI (ami-…) or a snapshot (snap-…)",
        });
    }
    let mut progress = arguments.progress;
    progress.quiet |= arguments.json;
    let transfer = Transfer::new(progress, "fetch");
    let (found, fetched) = runtime()?.block_on(async {
        let cloud = connect(&arguments.cloud).await?;
        let found = disk::find(&cloud, &arguments.region, &arguments.what).await?;
        let (snapshot, root_hash) = (&found.snapshot, found.root_hash);
        let path = &arguments.output;
        let fetch = download::fetch(&found.region, snapshot, root_hash, path, &transfer);
        let fetched = fetch.await?;
        Ok::<_, Error>((found, fetched))
    })?;
    transfer.clear();
    if arguments.json {
        return crate::cli::print_json(&json!({
            "disk": arguments.output,
            "region": found.region.name,
            "snapshot": found.snapshot,
            "size": fetched.len,
            "blocks": fetched.blocks,
        }));
    }
    if !progress.is_silent() {
        let path = arguments.output.display();
        let (blocks, size) = (fetched.blocks, bytes(fetched.len));
        let snapshot = &found.snapshot;
        crate::cli::say(&format!(
            "{path}: {size}, {blocks} blocks of {snapshot}, each as the hash tree says"
        ));
    }
    Ok(())
}
