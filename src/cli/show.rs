//! `i2kit inspect`, `i2kit ls` and `i2kit sbom`.

use std::fmt::Write as _;
use std::path::Path;

use i2kit_contract::{SBOM_CYCLONEDX_JSON, SBOM_SPDX_JSON, Text};

use super::args::{Inspect, Ls, Sbom, SbomFormat};
use super::error::Error;
use super::summary::bytes;
use crate::disk::FileDisk;
use crate::inspect::{self, Report};

/// `i2kit inspect`.
pub fn inspect(arguments: &Inspect) -> Result<(), Error> {
    let report = inspect::inspect(&FileDisk::open(&arguments.disk)?, arguments.verify)?;
    if arguments.json {
        return super::print_json(&report);
    }
    super::print(render(&report).as_bytes())
}

/// `i2kit ls`.
pub fn ls(arguments: &Ls) -> Result<(), Error> {
    let (disk, path) = match arguments.path.rsplit_once(':') {
        Some((disk, path)) if !Path::new(&arguments.path).exists() => (disk, path),
        _ => (arguments.path.as_str(), "store"),
    };
    let bad = |reason| Error::Argument {
        argument: arguments.path.clone(),
        reason,
    };
    let within = path
        .strip_prefix("store")
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let within = within.ok_or(bad("after the colon comes store or store/PATH"))?;
    let listed = inspect::list(
        &FileDisk::open(Path::new(disk))?,
        within,
        arguments.recursive,
    )?;
    let lines: String = listed.iter().map(|one| format!("{one}\n")).collect();
    super::print(lines.as_bytes())
}

/// `i2kit sbom`.
pub fn sbom(arguments: &Sbom) -> Result<(), Error> {
    let name = match arguments.format {
        SbomFormat::Spdx => SBOM_SPDX_JSON,
        SbomFormat::Cyclonedx => SBOM_CYCLONEDX_JSON,
    };
    super::print(&inspect::file(&FileDisk::open(&arguments.disk)?, name)?)
}

fn render(report: &Report) -> String {
    let mut out = format!("disk: {}\npartitions:\n", bytes(report.size));
    for one in &report.partitions {
        let (name, size, offset) = (&one.name, bytes(one.size), one.offset);
        let _ = writeln!(
            out,
            "  {name:<14}{size:>11}  at {offset:<11} {}",
            one.partuuid
        );
    }
    let sections = report
        .uki
        .iter()
        .map(|one| format!("{} {}", one.name, bytes(one.size)));
    let _ = writeln!(out, "UKI: {}", sections.collect::<Vec<_>>().join(", "));
    let _ = writeln!(out, "command line: {}", report.cmdline);
    if report.verified {
        let _ = writeln!(out, "store: every block matches the root hash");
    }
    let contract = &report.contract;
    let _ = writeln!(
        out,
        "pod {}: restart {:?}",
        contract.name, contract.restart_policy
    );
    for container in contract.all_containers() {
        let _ = writeln!(
            out,
            "  container {}: {}",
            container.name,
            words(&container.args)
        );
        let layers = report
            .inputs
            .pointer(&format!("/containers/{}/layers", container.name));
        layer_lines(&mut out, layers);
    }
    let _ = writeln!(out, "base:");
    layer_lines(&mut out, report.inputs.pointer("/base/layers"));
    out
}

fn words(args: &[Text]) -> String {
    let words: Vec<_> = args.iter().map(ToString::to_string).collect();
    words.join(" ")
}

fn layer_lines(out: &mut String, layers: Option<&serde_json::Value>) {
    for layer in layers
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        let digest = layer
            .get("digest")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        let size = layer
            .get("size")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default();
        let _ = writeln!(out, "    {digest} {}", bytes(size));
    }
}
