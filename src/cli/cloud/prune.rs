//! `i2kit prune`: old AMIs and their snapshots go.

use std::fmt::Write as _;

use serde::Serialize;

use super::{connect, regions, runtime};
use crate::cli::args;
use crate::cli::error::Error;
use crate::push::cloud::Region;
use crate::push::policy::{Document, Needs};
use crate::push::prune::{self, Kept, Rule, Selection};
use crate::push::times;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    removed: Vec<Gone>,
    kept: Vec<Stays>,
}

#[derive(Debug, Serialize)]
struct Gone {
    region: String,
    ami: String,
    /// The AMI's own name.
    name: String,
    snapshot: Option<String>,
}

#[derive(Debug, Serialize)]
struct Stays {
    region: String,
    ami: String,
    name: String,
    why: Kept,
}

/// `i2kit prune`.
pub fn prune(arguments: &args::Prune) -> Result<(), Error> {
    if arguments.print_iam_policy {
        return crate::cli::print_json(&Document::of(&Needs {
            prune: true,
            ..Needs::default()
        }));
    }
    let report = runtime()?.block_on(run(arguments))?;
    if arguments.json {
        return crate::cli::print_json(&report);
    }
    crate::cli::print(render(&report, arguments.dry_run).as_bytes())
}

/// Every region is looked at before anything is removed in the first.
async fn run(arguments: &args::Prune) -> Result<Report, Error> {
    let rule = Rule {
        keep: arguments.keep.unwrap_or(usize::MAX),
        older_than: arguments.older_than,
        name: arguments.name.clone(),
    };
    let cloud = connect(&arguments.cloud).await?;
    let mut selected = Vec::new();
    for region in regions(&cloud, &arguments.regions)? {
        let selection = select(&region, &rule).await?;
        selected.push((region, selection));
    }
    let mut report = Report::default();
    for (region, selection) in selected {
        let kept = selection.kept.into_iter().map(|(ami, why)| Stays {
            region: region.name.clone(),
            ami: ami.id,
            name: ami.name,
            why,
        });
        report.kept.extend(kept);
        for ami in selection.remove {
            let snapshot = match arguments.dry_run {
                true => ami.root_snapshot.clone(),
                false => prune::remove(&region, &ami).await?.snapshot,
            };
            report.removed.push(Gone {
                region: region.name.clone(),
                ami: ami.id,
                name: ami.name,
                snapshot,
            });
        }
    }
    Ok(report)
}

/// Nobody is asked what is in use where nothing could go anyway.
async fn select(region: &Region, rule: &Rule) -> Result<Selection, Error> {
    let now = times::now();
    let amis = prune::list(region).await?;
    let selection = prune::select(amis.clone(), rule, &Default::default(), now);
    if selection.remove.is_empty() {
        return Ok(selection);
    }
    let in_use = prune::in_use(region).await.map_err(Error::InUse)?;
    Ok(prune::select(amis, rule, &in_use, now))
}

fn render(report: &Report, dry_run: bool) -> String {
    let done = if dry_run { "would remove" } else { "removed" };
    let mut out = String::new();
    for one in &report.removed {
        let snapshot = one
            .snapshot
            .as_deref()
            .map_or_else(String::new, |id| format!(" and {id}"));
        let _ = writeln!(
            out,
            "{done} {} ({}){snapshot} in {}",
            one.ami, one.name, one.region
        );
    }
    for one in &report.kept {
        let (ami, name, region) = (&one.ami, &one.name, &one.region);
        let _ = writeln!(out, "kept {ami} ({name}) in {region}: {}", one.why.reason());
    }
    let _ = writeln!(
        out,
        "{done} {} AMIs, kept {}",
        report.removed.len(),
        report.kept.len()
    );
    out
}
