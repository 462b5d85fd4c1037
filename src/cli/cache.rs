//! `i2kit cache`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::args::{self, CacheCommand, Limit};
use super::error::Error;
use super::plan::cache_folder;
use super::progress::Terminal;
use super::summary::bytes;
use crate::cache::{Cache, Collected, Kind, Listed, Policy};
use crate::layer::KeyParts;
use crate::pipeline::{self, Verified};

/// Exit code when `verify` found damage.
const EXIT_DAMAGED: u8 = 1;

const KINDS: [Kind; 5] = [
    Kind::Layer,
    Kind::Blob,
    Kind::Document,
    Kind::Piece,
    Kind::Format,
];

/// `i2kit cache`.
pub fn cache(arguments: &args::Cache) -> Result<u8, Error> {
    let cache = Cache::at(&cache_folder(arguments.cache_dir.as_deref())?);
    match &arguments.command {
        CacheCommand::Ls(ls) => list(&cache, ls.json).map(|()| 0),
        CacheCommand::Du(du) => usage(&cache, du.limit, du.json).map(|()| 0),
        CacheCommand::Verify(arguments) => verify(&cache, arguments.json),
        CacheCommand::Gc(arguments) => gc(&cache, arguments).map(|()| 0),
        CacheCommand::Path => {
            super::print(format!("{}\n", cache.folder().display()).as_bytes()).map(|()| 0)
        }
    }
}

/// The bound that a limit means for this cache.
fn bound(cache: &Cache, limit: Option<Limit>) -> Option<u64> {
    match limit {
        None => Some(cache.default_limit()),
        Some(Limit::Bytes(bytes)) => Some(bytes),
        Some(Limit::None) => None,
    }
}

/// What a build does at its end: the longest unused goes until the cache is under its limit.
/// Answers a line for the person when something went.
fn bound_size(cache: &Cache, limit: Option<Limit>) -> Result<Option<String>, Error> {
    let policy = Policy {
        max_size: bound(cache, limit),
        older_than: None,
    };
    let collected = cache.gc(&policy, SystemTime::now(), false)?;
    Ok((!collected.removed.is_empty()).then(|| {
        format!(
            "cache: removed {} unused entries, {}; {} are left",
            collected.removed.len(),
            bytes(collected.freed()),
            bytes(collected.left)
        )
    }))
}

/// What follows a command that used the cache: it stays under its limit, and what keeps it from
/// that is told, but undoes nothing.
pub fn after(cache: &Cache, limit: Option<Limit>, quiet: bool) {
    match bound_size(cache, limit) {
        Ok(Some(line)) if !quiet => super::say(&line),
        Err(error) => super::say(&format!("warning: {error}")),
        Ok(_) => {}
    }
}

fn list(cache: &Cache, json: bool) -> Result<(), Error> {
    let mut all = cache.list()?;
    all.sort_by_key(|one| one.last_used);
    if json {
        return super::print_json(&all.iter().map(entry_json).collect::<Value>());
    }
    let now = SystemTime::now();
    let mut out = format!("{:<10}{:>11}  {:<12}  NAME\n", "KIND", "SIZE", "LAST USED");
    for one in &all {
        let age = now.duration_since(one.last_used).unwrap_or_default();
        let (kind, size) = (name(one.kind), bytes(one.size));
        let _ = writeln!(
            out,
            "{kind:<10}{size:>11}  {:<12}  {}",
            ago(age),
            title(one)
        );
    }
    super::print(out.as_bytes())
}

fn entry_json(entry: &Listed) -> Value {
    let last_used = entry
        .last_used
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut value = json!({
        "kind": entry.kind,
        "key": entry.key,
        "size": entry.size,
        "last_used": last_used,
    });
    let parts = (entry.kind == Kind::Layer).then(|| KeyParts::of(&entry.key));
    if let (Some(parts), Some(value)) = (parts.flatten(), value.as_object_mut()) {
        value.insert("diff_id".to_owned(), parts.diff_id.into());
        value.insert("writer".to_owned(), parts.writer.into());
        value.insert("compression".to_owned(), parts.compression.into());
    }
    value
}

/// An entry's name for a person: of a layer, its diffID and the writer's version.
fn title(entry: &Listed) -> String {
    match KeyParts::of(&entry.key) {
        Some(parts) if entry.kind == Kind::Layer => {
            let KeyParts {
                diff_id,
                writer,
                compression,
            } = parts;
            format!("{diff_id} w{writer} {compression}")
                .trim_end()
                .to_owned()
        }
        _ => entry.key.clone(),
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Layer => "layer",
        Kind::Blob => "blob",
        Kind::Document => "document",
        Kind::Piece => "piece",
        Kind::Format => "format",
    }
}

/// A time that has passed, in its largest whole unit.
fn ago(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let fitting = units.into_iter().find(|(unit, _)| seconds >= *unit);
    fitting.map_or_else(
        || "now".to_owned(),
        |(unit, name)| format!("{} {name} ago", seconds / unit),
    )
}

fn usage(cache: &Cache, limit: Option<Limit>, json: bool) -> Result<(), Error> {
    let all = cache.list()?;
    let kinds = KINDS.map(|kind| {
        let sizes = all.iter().filter(|one| one.kind == kind);
        let sizes: Vec<u64> = sizes.map(|one| one.size).collect();
        (kind, sizes.len(), sizes.iter().sum::<u64>())
    });
    let unfinished = cache.unfinished()?;
    let total = kinds.iter().map(|(_, _, size)| size).sum::<u64>() + unfinished;
    let limit = bound(cache, limit);
    if json {
        let kinds = kinds
            .iter()
            .map(|(kind, entries, size)| json!({"kind": kind, "entries": entries, "size": size}));
        return super::print_json(&json!({
            "path": cache.folder().to_string_lossy(),
            "kinds": kinds.collect::<Value>(),
            "unfinished": unfinished,
            "total": total,
            "limit": limit,
        }));
    }
    let mut rows: Vec<(&str, String, String)> = kinds
        .iter()
        .map(|(kind, entries, size)| (name(*kind), entries.to_string(), bytes(*size)))
        .collect();
    let limit = limit.map_or_else(|| "none".to_owned(), bytes);
    rows.extend([
        ("unfinished", String::new(), bytes(unfinished)),
        ("total", all.len().to_string(), bytes(total)),
        ("limit", String::new(), limit),
    ]);
    let lines = rows
        .iter()
        .map(|(what, entries, size)| format!("{what:<11}{entries:>7}  {size:>11}\n"));
    super::print(lines.collect::<String>().as_bytes())
}

fn verify(cache: &Cache, json: bool) -> Result<u8, Error> {
    let total = cache.list()?.iter().map(|one| one.size).sum();
    let progress = Terminal::new(args::ProgressArgs {
        quiet: json,
        ..args::ProgressArgs::default()
    });
    let verified = pipeline::verify(cache, &progress.verifying(total));
    progress.clear();
    let verified = verified?;
    if json {
        super::print_json(&verified_json(&verified))?;
    } else {
        super::print(render(&verified).as_bytes())?;
    }
    Ok(if verified.damaged.is_empty() {
        0
    } else {
        EXIT_DAMAGED
    })
}

fn verified_json(verified: &Verified) -> Value {
    let damaged = verified.damaged.iter().map(|one| {
        let (kind, key) = (one.entry.kind, &one.entry.key);
        json!({"kind": kind, "key": key, "reason": one.reason, "removed": one.removed})
    });
    let skipped = verified
        .skipped
        .iter()
        .map(|(one, reason)| json!({"kind": one.kind, "key": one.key, "reason": reason}));
    json!({
        "sound": verified.sound.len(),
        "size": verified.sound.iter().map(|one| one.size).sum::<u64>(),
        "damaged": damaged.collect::<Value>(),
        "skipped": skipped.collect::<Value>(),
    })
}

fn render(verified: &Verified) -> String {
    let mut out = String::new();
    for one in &verified.damaged {
        let removed = if one.removed {
            "removed"
        } else {
            "another user's, not removed"
        };
        let (kind, title) = (name(one.entry.kind), title(&one.entry));
        let _ = writeln!(out, "damaged {kind} {title}: {}; {removed}", one.reason);
    }
    for (one, reason) in &verified.skipped {
        let _ = writeln!(out, "skipped {} {}: {reason}", name(one.kind), title(one));
    }
    let size = verified.sound.iter().map(|one| one.size).sum();
    let (sound, damaged) = (verified.sound.len(), verified.damaged.len());
    let _ = writeln!(out, "{sound} sound, {}; {damaged} damaged", bytes(size));
    out
}

fn gc(cache: &Cache, arguments: &args::Gc) -> Result<(), Error> {
    let policy = Policy {
        max_size: bound(cache, arguments.max_size),
        older_than: arguments.older_than,
    };
    let collected = cache.gc(&policy, SystemTime::now(), arguments.dry_run)?;
    super::print(render_gc(&collected, arguments.dry_run).as_bytes())
}

fn render_gc(collected: &Collected, dry_run: bool) -> String {
    let done = if dry_run { "would remove" } else { "removed" };
    let mut out = String::new();
    for (what, entries) in [
        (done, &collected.removed),
        ("kept, in use or not ours:", &collected.kept),
    ] {
        for one in entries {
            let (kind, size) = (name(one.kind), bytes(one.size));
            let _ = writeln!(out, "{what} {kind} {}, {size}", title(one));
        }
    }
    let (freed, left) = (bytes(collected.freed()), bytes(collected.left));
    let _ = writeln!(
        out,
        "{done} {} entries, {freed}; {left} left",
        collected.removed.len()
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_have_passed() {
        let text = |seconds| ago(Duration::from_secs(seconds));
        assert_eq!(text(0), "now");
        assert_eq!(text(59), "59 s ago");
        assert_eq!(text(3599), "59 min ago");
        assert_eq!(text(3600), "1 h ago");
        assert_eq!(text(30 * 24 * 3600 + 1), "30 d ago");
    }
}
