//! `i2kit ledger` and `i2kit push --abort`: what interrupted pushes have left.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{connect, runtime};
use crate::cli::args::{self, CloudArgs};
use crate::cli::error::Error;
use crate::push::ledger::{Entry, Ledger, Made, Pending};
use crate::push::publish::ledger_folder;

/// Where ledgers lie.
pub fn folder() -> Result<PathBuf, Error> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (state, home) = (variable("XDG_STATE_HOME"), variable("HOME"));
    ledger_folder(state.as_deref(), home.as_deref()).ok_or(Error::NoState)
}

/// `i2kit ledger`.
pub fn ledger(arguments: &args::Ledger) -> Result<(), Error> {
    let pending = Ledger::list(&folder()?).map_err(crate::push::Error::from)?;
    if arguments.json {
        let all: Value = pending.iter().map(pending_json).collect();
        return crate::cli::print_json(&all);
    }
    crate::cli::print(render(&pending).as_bytes())
}

fn pending_json(one: &Pending) -> Value {
    let entries = one.entries.iter().map(|entry| {
        json!({
            "kind": entry.kind,
            "region": entry.region,
            "id": entry.id,
            "name": entry.name,
        })
    });
    json!({
        "id": one.id,
        "name": one.subject.name,
        "region": one.subject.region,
        "disk_digest": one.subject.disk_digest,
        "in_use": one.in_use,
        "entries": entries.collect::<Value>(),
    })
}

fn render(pending: &[Pending]) -> String {
    let mut out = String::new();
    for one in pending {
        let (id, subject) = (&one.id, &one.subject);
        let state = match one.in_use {
            true => "under way",
            false => "interrupted: push again to go on, or i2kit push --abort",
        };
        let _ = writeln!(out, "{id}  {} to {}: {state}", subject.name, subject.region);
        for entry in &one.entries {
            let _ = writeln!(out, "  {}", entry_line(entry));
        }
    }
    if pending.is_empty() {
        out.push_str("nothing is pending\n");
    }
    out
}

fn entry_line(entry: &Entry) -> String {
    let kind = match entry.kind {
        Made::Snapshot => "snapshot",
        Made::SnapshotCopy => "copy of a snapshot",
        Made::Ami => "AMI",
        Made::AmiCopy => "copy of an AMI",
    };
    let id = entry
        .id
        .as_deref()
        .unwrap_or("perhaps made, its id was not heard of");
    format!("{kind} in {}: {id}", entry.region)
}

/// `i2kit push --abort`: removes what all ledgers name that nobody is at. Each is tried, and the
/// first failure told at the end.
pub fn abort(cloud: &CloudArgs, quiet: bool) -> Result<Vec<Entry>, Error> {
    let folder = folder()?;
    let pending = Ledger::list(&folder).map_err(crate::push::Error::from)?;
    let (busy, left): (Vec<_>, Vec<_>) = pending.into_iter().partition(|one| one.in_use);
    for one in busy.iter().filter(|_| !quiet) {
        let subject = &one.subject;
        crate::cli::say(&format!(
            "{} to {} is under way",
            subject.name, subject.region
        ));
    }
    if left.is_empty() {
        return Ok(Vec::new());
    }
    runtime()?.block_on(async {
        let cloud = connect(cloud).await?;
        let (mut removed, mut failed) = (Vec::new(), None);
        for one in left {
            let undone = match Ledger::open_id(&folder, &one.id) {
                Ok(ledger) => ledger.undo(&cloud).await,
                Err(error) => Err(error),
            };
            match undone {
                Ok(entries) => removed.extend(entries),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        match failed {
            None => Ok(removed),
            Some(error) => Err(crate::push::Error::from(error).into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::ledger::Subject;

    #[test]
    fn what_is_left_is_named() {
        let mut made = Entry::new(Made::Snapshot, "eu-central-1", "t".to_owned());
        made.id = Some("snap-1".to_owned());
        let lost = Entry::new(Made::Ami, "eu-central-1", String::new()).named("web-1");
        let pending = Pending {
            id: "0123".to_owned(),
            subject: Subject {
                region: "eu-central-1".to_owned(),
                name: "web".to_owned(),
                ..Subject::default()
            },
            entries: vec![made, lost],
            in_use: false,
        };
        assert_eq!(
            render(&[pending]),
            "0123  web to eu-central-1: interrupted: push again to go on, or i2kit push --abort\n  \
             snapshot in eu-central-1: snap-1\n  \
             AMI in eu-central-1: perhaps made, its id was not heard of\n"
        );
        assert_eq!(render(&[]), "nothing is pending\n");
    }
}
