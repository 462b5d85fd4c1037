//! `i2kit build`: plan, convert, assemble, write.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use i2kit_contract::Contract;
use sha2::{Digest, Sha256};

use super::args::Build;
use super::error::Error;
use super::plan::{Origin, Plan, Resolved, plan};
use super::progress::Terminal;
use super::summary::{Layer, Partition, Stage, Summary};
use crate::assemble::{self, Assembled, ContainerInput, Inputs};
use crate::cache::Cache;
use crate::layer::ConvertedLayer;
use crate::output::{self, OutputsRecord, RawError};
use crate::pipeline;

type Layers = std::collections::BTreeMap<crate::oci::Digest, Arc<ConvertedLayer>>;

/// `i2kit build`.
pub fn build(arguments: &Build) -> Result<(), Error> {
    let origin = match &arguments.from {
        Some(reference) => Origin::Image {
            reference,
            args: &[],
        },
        None if arguments.pod.files.is_empty() => {
            let reason = "name a manifest with -f or an image with --from";
            return Err(Error::Argument {
                argument: "build".to_owned(),
                reason,
            });
        }
        None => Origin::Manifests,
    };
    let start = Instant::now();
    let plan = plan(&arguments.pod, &origin, arguments.scratch)?;
    let summary = disk(
        &plan,
        &arguments.output,
        arguments.pod.quiet || arguments.json,
        start,
    )?;
    if arguments.json {
        let mut json = serde_json::to_vec_pretty(&summary)?;
        json.push(b'\n');
        super::print(&json)?;
    } else if !arguments.pod.quiet {
        super::say(&summary.render());
    }
    Ok(())
}

/// Writes the planned disk to `path`, unless it is there already.
pub fn disk(plan: &Plan, path: &Path, quiet: bool, start: Instant) -> Result<Summary, Error> {
    if let Some(record) = OutputsRecord::<Summary>::still_true(path, &plan.key) {
        let mut summary = record.summary;
        summary.unchanged = true;
        summary.stages = vec![Stage::new("plan", start.elapsed())];
        return Ok(summary);
    }
    let cache = Cache::open(&plan.cache)?;
    match attempt(plan, path, &cache, quiet, start) {
        // A layer that was damaged in the cache is made again, once.
        Err(error) => match altered(&error) {
            Some(file) => {
                super::say(&format!("warning: {error}; converting the layer again"));
                cache.evict(&file)?;
                attempt(plan, path, &cache, quiet, start)
            }
            None => Err(error),
        },
        done => done,
    }
}

fn altered(error: &Error) -> Option<std::path::PathBuf> {
    match error {
        Error::Raw(RawError::Altered { path, .. }) => Some(path.clone()),
        Error::Assemble(error) => error.altered().map(Path::to_owned),
        _ => None,
    }
}

fn attempt(
    plan: &Plan,
    path: &Path,
    cache: &Cache,
    quiet: bool,
    start: Instant,
) -> Result<Summary, Error> {
    let mut stages = vec![Stage::new("plan", start.elapsed())];
    let mut lap = Instant::now();
    let mut stage = |name: &str| {
        stages.push(Stage::new(name, lap.elapsed()));
        lap = Instant::now();
    };
    let progress = Terminal::new(quiet);
    let requests: Vec<_> = plan
        .images
        .values()
        .chain([&plan.base])
        .flat_map(Resolved::requests)
        .collect();
    let layers = pipeline::convert(cache, &requests, &plan.convert, plan.jobs, &progress)?;
    stage("convert");
    let assembled = assemble::assemble(&inputs(plan, &layers), cache)?;
    stage("assemble");
    let total = assembled.disk.written_slabs().count() as u64 * i2kit_format::SLAB;
    let writing = progress.writing(path, total);
    let written = output::write_raw(&assembled.disk, path, plan.jobs, &writing)?;
    progress.clear();
    stage("write");
    let summary = summary(path, &assembled, written.data_bytes, stages);
    let slabs = written
        .slabs
        .iter()
        .map(|(slab, digest)| (*slab, hex::encode(digest)))
        .collect();
    let digest = disk_digest(&written.slabs);
    let root_hash = hex::encode(assembled.root_hash);
    OutputsRecord::new(
        path,
        plan.key.clone(),
        root_hash,
        digest,
        slabs,
        summary.clone(),
    )?
    .write(path)?;
    Ok(summary)
}

fn disk_digest(slabs: &[(u64, [u8; 32])]) -> String {
    let mut hash = Sha256::new();
    for (index, digest) in slabs {
        hash.update(index.to_le_bytes());
        hash.update(digest);
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

fn inputs<'a>(plan: &'a Plan, layers: &Layers) -> Inputs<'a> {
    let of = |resolved: &Resolved| -> Vec<Arc<ConvertedLayer>> {
        let wanted = resolved.image.layers.iter();
        wanted
            .filter_map(|layer| layers.get(&layer.diff_id).cloned())
            .collect()
    };
    let containers = plan.pod.containers.iter().filter_map(|container| {
        let resolved = plan.images.get(&container.image)?;
        Some(ContainerInput {
            name: container.name.clone(),
            config: resolved.image.config.clone(),
            layers: of(resolved),
        })
    });
    Inputs {
        pod: &plan.pod,
        base: of(&plan.base),
        containers: containers.collect(),
        targets: plan.targets.clone(),
        scratch: plan.scratch,
        on_failure: plan.on_failure,
        record: plan.record.clone(),
    }
}

fn summary(path: &Path, assembled: &Assembled, data_bytes: u64, stages: Vec<Stage>) -> Summary {
    let partitions = assembled.partitions.iter();
    let layers = assembled.layers.iter();
    Summary {
        disk: path.to_owned(),
        size: assembled.disk.len(),
        data_bytes,
        root_hash: hex::encode(assembled.root_hash),
        unchanged: false,
        partitions: partitions
            .map(|one| Partition {
                name: one.name.clone(),
                offset: one.offset(),
                size: one.size(),
            })
            .collect(),
        layers: layers
            .map(|one| Layer {
                diff_id: one.diff_id.clone(),
                size: one.len,
                reused: one.reused,
            })
            .collect(),
        metadata: assembled.metadata_len,
        ports: ports(&assembled.contract),
        stages,
    }
}

fn ports(contract: &Contract) -> Vec<i2kit_contract::Port> {
    contract
        .containers
        .iter()
        .flat_map(|container| container.ports.clone())
        .collect()
}
