//! `i2kit resolve` and `i2kit pull`: images alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::args::{self, Wanted};
use super::error::Error;
use super::images::{Images, Resolved};
use super::plan;
use super::progress::Terminal;
use super::shared;
use super::summary::bytes;
use crate::cache::Cache;
use crate::oci::Platform;
use crate::pipeline;

/// An image, as a script reads it.
#[derive(Serialize)]
struct Report {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    manifest: String,
    config: String,
    platform: String,
    /// Bytes of all layers, compressed.
    size: u64,
    layers: Vec<LayerReport>,
}

#[derive(Serialize)]
struct LayerReport {
    digest: String,
    diff_id: String,
    size: u64,
    media_type: String,
    /// `converted`, `cached` or `shared`; absent where nothing was pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'static str>,
}

/// `i2kit resolve`.
pub fn resolve(arguments: &args::Resolve) -> Result<(), Error> {
    let cache = Cache::open(&plan::cache_folder(arguments.cache_dir.as_deref())?)?;
    let wanted = &arguments.wanted;
    let images = Images::open(&wanted.images, &cache, &wanted.platform, false)?;
    let found = find(wanted, &images)?;
    let reports = reports(&found, &wanted.platform);
    print(&reports, arguments.json)
}

/// `i2kit pull`.
pub fn pull(arguments: &args::Pull) -> Result<(), Error> {
    let cache = Cache::open(&plan::cache_folder(arguments.cache.cache_dir.as_deref())?)?;
    let (wanted, quiet) = (&arguments.wanted, arguments.progress.quiet);
    let images = Images::open(&wanted.images, &cache, &wanted.platform, quiet)?;
    let found = find(wanted, &images)?;
    let requests: Vec<_> = found.values().flat_map(Resolved::requests).collect();
    let progress = Terminal::new(arguments.progress);
    let options = plan::convert_options(&arguments.cache);
    let shared = shared::Shared::open(&arguments.cache, &images)?;
    let jobs = plan::jobs(&arguments.cache);
    let from = shared.source();
    let layers = pipeline::convert(&cache, &requests, &options, jobs, from, &progress)?;
    progress.clear();
    let mut reports = reports(&found, &wanted.platform);
    for layer in reports.iter_mut().flat_map(|report| &mut report.layers) {
        let converted = layer.diff_id.parse().ok().and_then(|id| layers.get(&id));
        layer.from = converted.map(|layer| layer.origin.name());
    }
    shared.put(layers.values())?;
    drop(layers);
    super::cache::after(&cache, arguments.cache.cache_max_size, quiet);
    if arguments.json || !quiet {
        print(&reports, arguments.json)?;
    }
    Ok(())
}

/// The images named on the command line and those in the manifests.
fn find(wanted: &Wanted, images: &Images<'_>) -> Result<BTreeMap<String, Resolved>, Error> {
    let mut names = wanted.names.clone();
    if !wanted.files.files.is_empty() || wanted.images.bundle.is_some() {
        let inputs = plan::inputs_or_bundled(&wanted.files, &wanted.images, images)?;
        let pod = plan::pod_of(&inputs, wanted.files.name.as_deref(), true)?;
        names.extend(pod.images().map(str::to_owned));
    }
    images.resolve(names.iter().map(String::as_str))
}

fn reports(found: &BTreeMap<String, Resolved>, platform: &Platform) -> Vec<Report> {
    found
        .iter()
        .map(|(name, resolved)| {
            let image = &resolved.image;
            let layers = image.layers.iter().map(|layer| LayerReport {
                digest: layer.digest.to_string(),
                diff_id: layer.diff_id.to_string(),
                size: layer.size,
                media_type: layer.media_type.clone(),
                from: None,
            });
            Report {
                name: name.clone(),
                reference: resolved.reference.clone(),
                index: image.index.as_ref().map(|index| index.digest.to_string()),
                manifest: image.manifest.digest.to_string(),
                config: image.config_document.digest.to_string(),
                platform: platform.to_string(),
                size: image.layers.iter().map(|layer| layer.size).sum(),
                layers: layers.collect(),
            }
        })
        .collect()
}

fn print(reports: &[Report], json: bool) -> Result<(), Error> {
    if json {
        return super::print_json(reports);
    }
    let text: String = reports.iter().map(render).collect();
    super::print(text.as_bytes())
}

fn render(report: &Report) -> String {
    let mut out = format!("{}\n", report.name);
    let index = report.index.as_deref();
    for (what, value) in [
        ("reference", report.reference.as_deref()),
        ("index", index),
        ("manifest", Some(&*report.manifest)),
        ("platform", Some(&*report.platform)),
    ] {
        if let Some(value) = value {
            let _ = writeln!(out, "  {what:<10}{value}");
        }
    }
    let size = bytes(report.size);
    let _ = writeln!(
        out,
        "  {:<10}{}, {size} compressed",
        "layers",
        report.layers.len()
    );
    for layer in &report.layers {
        let from = layer
            .from
            .map(|from| format!("  {from}"))
            .unwrap_or_default();
        let _ = writeln!(out, "    {}  {:>11}{from}", layer.digest, bytes(layer.size));
    }
    out
}
