//! `i2kit base`: what the base image is made of, and whether that is what a mirror has today.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use i2kit_sbom::Package;
use i2kit_sbom::apt::{self, Archive, Index, Judgement};
use serde::Serialize;

use super::args::{BaseCommand, BaseImage, Outdated};
use super::error::Error;
use super::images::Images;
use super::plan;
use super::progress::Terminal;
use crate::assemble::base::{self, Contents};
use crate::cache::Cache;
use crate::oci::Environment;
use crate::oci::registry::Files;
use crate::pipeline;

/// Debian's largest index has some 10 MB compressed and 50 MB plain.
const MAX_INDEX: u64 = 64 << 20;
const MAX_PLAIN_INDEX: u64 = 512 << 20;
/// Where apt keeps its sources.
const APT: &str = "/etc/apt";

/// `i2kit base …`.
pub fn base(command: &BaseCommand) -> Result<(), Error> {
    match command {
        BaseCommand::Licenses(arguments) => {
            let contents = contents(&arguments.base)?;
            licenses(&contents.packages, arguments.json)
        }
        BaseCommand::Outdated(arguments) => outdated(arguments),
    }
}

/// Reads the base image.
fn contents(arguments: &BaseImage) -> Result<Contents, Error> {
    let cache = Cache::open(&plan::cache_folder(arguments.cache.cache_dir.as_deref())?)?;
    let images = Images::open(&arguments.images, &cache, &arguments.platform, false)?;
    let resolved = images.base()?;
    let requests: Vec<_> = resolved.requests().collect();
    let options = plan::convert_options(&arguments.cache);
    let jobs = plan::jobs(&arguments.cache);
    let progress = Terminal::new(arguments.progress);
    let layers = pipeline::convert(&cache, &requests, &options, jobs, None, &progress)?;
    progress.clear();
    let wanted = resolved.image.layers.iter();
    let layers: Vec<_> = wanted
        .filter_map(|layer| layers.get(&layer.diff_id).map(Arc::clone))
        .collect();
    Ok(base::read(&layers)?)
}

#[derive(Serialize)]
struct Licensed<'a> {
    name: &'a str,
    version: &'a str,
    licence: Option<&'a str>,
    /// Present where the licence is an SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    spdx: Option<&'a str>,
    source: Option<&'a str>,
    source_version: Option<&'a str>,
}

fn licenses(packages: &[Package], json: bool) -> Result<(), Error> {
    let listed: Vec<_> = packages
        .iter()
        .map(|one| Licensed {
            name: &one.name,
            version: &one.version,
            licence: one.licence.as_deref(),
            spdx: one.spdx_licence(),
            source: one.source.as_ref().map(|source| source.name.as_str()),
            source_version: one.source.as_ref().and_then(|one| one.version.as_deref()),
        })
        .collect();
    if json {
        return super::print_json(&listed);
    }
    let mut out = String::new();
    for one in listed {
        let _ = write!(out, "{} {}", one.name, one.version);
        if let (Some(name), Some(version)) = (one.source, one.source_version) {
            let _ = write!(out, " (source {name} {version})");
        }
        let _ = writeln!(out, "\n    {}", one.licence.unwrap_or("not told"));
    }
    super::print(out.as_bytes())
}

#[derive(Serialize)]
struct Compared {
    name: String,
    version: String,
    /// `current`, `outdated` or `gone`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
}

fn outdated(arguments: &Outdated) -> Result<(), Error> {
    if arguments.base.images.offline {
        return Err(Error::Argument {
            argument: "--offline".to_owned(),
            reason: "a mirror lies across a connection",
        });
    }
    let record = contents(&arguments.base)?.record;
    let archives = match arguments.sources.as_slice() {
        [] => archives_of_host(record.codename.as_deref())?,
        given => given
            .iter()
            .flat_map(|one| apt::one_line_sources(one))
            .collect(),
    };
    let is_fetched = |one: &&Archive| one.uri.starts_with("http");
    if !archives.iter().any(|one| is_fetched(&one)) {
        return Err(Error::NoMirror);
    }
    let mut architectures = record.packages.iter().map(|one| one.architecture.clone());
    let architecture = architectures.find(|one| one != "all");
    let architecture = architecture.unwrap_or_else(|| "amd64".to_owned());
    let files = Files::new(&Environment::of_process());
    let mut index = Index::default();
    for archive in archives.iter().filter(is_fetched) {
        index.add(&fetch(&files, &archive.index_url(&architecture))?);
    }
    let compared: Vec<_> = record
        .packages
        .into_iter()
        .map(|one| {
            let (state, available, successor) = match index.judge(&one.name, &one.version) {
                Judgement::Current => ("current", None, None),
                Judgement::Gone => ("gone", None, None),
                Judgement::Outdated {
                    available,
                    successor,
                } => ("outdated", Some(available), successor),
            };
            Compared {
                name: one.name,
                version: one.version,
                state,
                available,
                successor,
            }
        })
        .collect();
    if arguments.json {
        return super::print_json(&compared);
    }
    super::print(rendered(&compared).as_bytes())
}

fn rendered(compared: &[Compared]) -> String {
    let mut out = String::new();
    for one in compared.iter().filter(|one| one.state != "current") {
        let _ = match (&one.available, &one.successor) {
            (Some(to), None) => writeln!(out, "{} {} -> {to}", one.name, one.version),
            (Some(to), Some(name)) => {
                writeln!(out, "{} {} -> {name} {to}", one.name, one.version)
            }
            (None, _) => writeln!(
                out,
                "{} {}: the mirror has it no more",
                one.name, one.version
            ),
        };
    }
    let old = compared.iter().filter(|one| one.state != "current").count();
    let _ = writeln!(out, "{old} of {} packages are outdated", compared.len());
    out
}

/// The index at `url`, uncompressed.
fn fetch(files: &Files, url: &str) -> Result<Vec<u8>, Error> {
    let wrong = |source| Error::Index {
        url: url.to_owned(),
        source,
    };
    let found = files
        .get(url, MAX_INDEX)
        .map_err(|source| Error::Mirror { source })?;
    let compressed = found.ok_or_else(|| wrong(std::io::ErrorKind::NotFound.into()))?;
    let mut plain = Vec::new();
    let reader = lzma_rust2::XzReader::new(&*compressed, true);
    let mut reader = reader.take(MAX_PLAIN_INDEX);
    reader.read_to_end(&mut plain).map_err(wrong)?;
    Ok(plain)
}

/// The host's sources of the base's release, component main, as scripts/build-base.sh uses them.
fn archives_of_host(codename: Option<&str>) -> Result<Vec<Archive>, Error> {
    let mut out = Vec::new();
    let mut paths = vec![Path::new(APT).join("sources.list")];
    let parts = std::fs::read_dir(Path::new(APT).join("sources.list.d"));
    let mut parts: Vec<_> = parts
        .into_iter()
        .flatten()
        .flatten()
        .map(|one| one.path())
        .collect();
    parts.sort();
    paths.extend(parts);
    for path in paths {
        let read = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            read => read.map_err(|source| Error::Read {
                path: path.clone(),
                source,
            })?,
        };
        match path.extension().and_then(|one| one.to_str()) {
            Some("sources") => out.extend(apt::stanza_sources(&read)),
            Some("list") => out.extend(apt::one_line_sources(&String::from_utf8_lossy(&read))),
            _ => {}
        }
    }
    out.retain(|one| {
        let suite = one.suite.as_str();
        let is_suite = |codename: &str| {
            let rest = suite.strip_prefix(codename);
            rest.is_some_and(|rest| matches!(rest, "" | "-updates" | "-security"))
        };
        one.component == "main" && codename.is_none_or(is_suite)
    });
    out.sort();
    out.dedup();
    Ok(out)
}
