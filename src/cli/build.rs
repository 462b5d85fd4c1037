//! `i2kit build`: plan, convert, assemble, write.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args;
use super::args::ProgressArgs;
use super::error::Error;
use super::images::Resolved;
use super::plan::{Origin, Plan, plan};
use super::progress::Terminal;
use super::summary::{Stage, Summary};
use crate::assemble::{
    self, Assembled, ContainerInput, ExtensionInput, ImageName, Inputs, Signature,
};
use crate::cache::Cache;
use crate::layer::{self, ConvertedLayer};
use crate::oci::{Reference, Sources};
use crate::output::{self, Memory, OutputsRecord, RawError};
use crate::pipeline::{self, Request};

pub type Layers = std::collections::BTreeMap<crate::oci::Digest, Arc<ConvertedLayer>>;

/// `i2kit build`.
pub fn build(arguments: &args::Build) -> Result<(), Error> {
    let start = Instant::now();
    let plan = planned(&arguments.disk, &arguments.sign)?;
    let mut progress = arguments.disk.pod.progress;
    progress.quiet |= arguments.json;
    let summary = disk(&plan, &arguments.output, progress, start)?;
    if arguments.provenance {
        super::provenance::write(&plan, &arguments.output)?;
    }
    if arguments.json {
        super::print_json(&summary)?;
    } else if !progress.is_silent() {
        super::say(&summary.render());
    }
    Ok(())
}

/// The plan that the flags make.
pub fn planned(arguments: &args::DiskArgs, sign: &args::SignArgs) -> Result<Plan, Error> {
    let origin = match &arguments.from {
        Some(reference) => Origin::Image {
            reference,
            args: &[],
        },
        None if !arguments.names_a_pod() => {
            let reason = "name a manifest with -f, an image with --from or a bundle with --bundle";
            return Err(Error::Argument {
                argument: "build".to_owned(),
                reason,
            });
        }
        None => Origin::Manifests,
    };
    // A key that cannot be used is told before layers are fetched.
    let signer = super::sign::identity(sign, arguments.pod.progress.quiet)?;
    let mut plan = plan(&arguments.pod, &origin, &arguments.place, arguments.scratch)?;
    if let Some(signer) = signer {
        plan.sign_with(Signature::By(Box::new(signer)));
    }
    Ok(plan)
}

/// Writes the planned disk to `path`, unless it is there already.
pub fn disk(
    plan: &Plan,
    path: &Path,
    progress: ProgressArgs,
    start: Instant,
) -> Result<Summary, Error> {
    let memory = Memory(Some(&plan.cache));
    if let Some(record) = OutputsRecord::still_true(path, &plan.key, &memory)
        && !plan.shared.is_target()
    {
        pipeline::touch(&plan.cache, &requests(plan), plan.convert.compression);
        let stages = vec![Stage::new("plan", start.elapsed())];
        let mut summary = Summary::of(path, record, |_| true, stages);
        summary.unchanged = true;
        return Ok(summary);
    }
    let build = Build {
        plan,
        path,
        cache: &plan.cache,
        progress,
    };
    let summary = build.run(start)?;
    super::cache::after(&plan.cache, plan.cache_limit, progress.quiet);
    Ok(summary)
}

/// The planned disk, which is written nowhere, and the layers that it points into.
pub fn assembled(plan: &Plan, progress: ProgressArgs) -> Result<(Layers, Assembled), Error> {
    let build = Build {
        plan,
        path: Path::new(""),
        cache: &plan.cache,
        progress,
    };
    let (layers, _) = build.convert(Instant::now())?;
    let assembled = assemble::assemble(&inputs(plan, &layers), &plan.cache)?;
    super::cache::after(&plan.cache, plan.cache_limit, progress.quiet);
    Ok((layers, assembled))
}

fn requests(plan: &Plan) -> Vec<Request> {
    plan.resolved().flat_map(Resolved::requests).collect()
}

fn altered(error: &Error) -> Option<std::path::PathBuf> {
    match error {
        Error::Raw(RawError::Altered { path, .. }) => Some(path.clone()),
        Error::Assemble(error) => error.altered().map(Path::to_owned),
        _ => None,
    }
}

/// A build that has begun.
struct Build<'a> {
    plan: &'a Plan,
    path: &'a Path,
    cache: &'a Cache,
    progress: ProgressArgs,
}

impl Build<'_> {
    /// Writes the disk. A layer that was damaged in the cache is made again, once.
    fn run(&self, start: Instant) -> Result<Summary, Error> {
        let (layers, times) = self.convert(start)?;
        let error = match self.write(&layers, times) {
            Err(error) => error,
            Ok(summary) => {
                self.plan.shared.put(layers.values())?;
                return Ok(summary);
            }
        };
        let Some(file) = altered(&error) else {
            return Err(error);
        };
        super::say(&format!("warning: {error}; converting the layer again"));
        self.discard(&layers, &file)?;
        drop(layers);
        let (layers, times) = self.convert(start)?;
        let summary = self.write(&layers, times)?;
        self.plan.shared.put(layers.values())?;
        Ok(summary)
    }

    /// The layers, in use as long as they live.
    fn convert(&self, start: Instant) -> Result<(Layers, Stages), Error> {
        let mut stages = Stages::after("plan", start.elapsed());
        let (plan, progress) = (self.plan, Terminal::new(self.progress));
        let requests = requests(plan);
        let layers = pipeline::convert(
            self.cache,
            &requests,
            &plan.convert,
            plan.jobs,
            plan.shared.source(),
            &progress,
        )?;
        progress.clear();
        stages.end("convert");
        Ok((layers, stages))
    }

    /// Removes the layer whose file it is.
    fn discard(&self, layers: &Layers, file: &Path) -> Result<(), Error> {
        for layer in layers.values() {
            if layer.data.path() == Some(file) {
                layer::discard(self.cache, layer)?;
            }
        }
        Ok(())
    }

    fn write(&self, layers: &Layers, mut stages: Stages) -> Result<Summary, Error> {
        let (plan, path) = (self.plan, self.path);
        let assembled = assemble::assemble(&inputs(plan, layers), self.cache)?;
        stages.end("assemble");
        let total = assembled.disk.written_slabs().count() as u64 * i2kit_format::SLAB;
        let progress = Terminal::new(self.progress);
        let written = output::write_raw(
            &assembled.disk,
            path,
            plan.jobs,
            &progress.writing(path, total),
        )?;
        progress.clear();
        stages.end("write");
        let (slabs, data_bytes) = (&written.slabs, written.data_bytes);
        let record = OutputsRecord::new(
            &assembled,
            plan.key.clone(),
            plan.scratch,
            slabs,
            data_bytes,
        );
        record.write(path)?;
        Memory(Some(self.cache)).keep(path, &record);
        let layers = &assembled.layers;
        let reused = |number: usize| layers.get(number).is_some_and(|layer| layer.reused);
        Ok(Summary::of(path, record, reused, stages.all))
    }
}

/// What each stage took.
struct Stages {
    all: Vec<Stage>,
    lap: Instant,
}

impl Stages {
    fn after(name: &str, time: Duration) -> Self {
        Self {
            all: vec![Stage::new(name, time)],
            lap: Instant::now(),
        }
    }

    fn end(&mut self, name: &str) {
        self.all.push(Stage::new(name, self.lap.elapsed()));
        self.lap = Instant::now();
    }
}

fn inputs<'a>(plan: &'a Plan, layers: &Layers) -> Inputs<'a> {
    let of = |resolved: &Resolved| -> Vec<Arc<ConvertedLayer>> {
        let wanted = resolved.image.layers.iter();
        wanted
            .filter_map(|layer| layers.get(&layer.diff_id).cloned())
            .collect()
    };
    let input = |(name, image): (&str, &str)| {
        let resolved = plan.images.get(image)?;
        Some(ContainerInput {
            name: name.to_owned(),
            image: ImageName {
                repository: repository(image),
                digest: resolved.image.manifest.digest.to_string(),
            },
            config: resolved.image.config.clone(),
            layers: of(resolved),
        })
    };
    let containers = plan.pod.all_containers();
    let containers = containers.map(|one| (one.name.as_str(), one.image.as_str()));
    let extensions = plan.extensions.iter().filter_map(|name| {
        Some(ExtensionInput {
            name: name.clone(),
            layers: of(plan.images.get(name)?),
        })
    });
    Inputs {
        pod: &plan.pod,
        base: of(&plan.base),
        base_digest: plan.base.image.manifest.digest.to_string(),
        containers: containers.filter_map(input).collect(),
        image_volumes: plan.pod.image_volumes().filter_map(input).collect(),
        extensions: extensions.collect(),
        targets: plan.targets.clone(),
        modules: plan.modules.clone(),
        kernel_args: plan.kernel_args.clone(),
        image_version: plan.image_version,
        fec: plan.fec,
        like: &plan.placing.like,
        compact: plan.placing.compact,
        scratch: plan.scratch,
        signature: plan.signature.as_ref(),
        on_failure: plan.on_failure,
        control: plan.control,
        record: plan.record.clone(),
    }
}

/// The full name of an image's repository; of one that lies in a file, `image`: its path is this
/// machine's.
pub fn repository(image: &str) -> String {
    let reference = image.parse::<Reference>().ok();
    // `oci:tiny` is no image `oci`.
    let reference = reference.filter(|_| !Sources::is_transport(image));
    reference.map_or_else(|| "image".to_owned(), |reference| reference.name())
}
