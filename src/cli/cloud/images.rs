//! `i2kit images`: which AMIs i2kit has made, where, and what they cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::{connect, regions, runtime};
use crate::cli::args;
use crate::cli::error::Error;
use crate::cli::summary::bytes;
use crate::push::cloud::Ami;
use crate::push::policy::{Document, Needs};
use crate::push::{GIB, price, prune, tags, times};

/// Hex digits of a root hash in the table.
const SHORT_HASH: usize = 12;

/// One disk, in all regions.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    name: String,
    version: Option<u64>,
    root_hash: String,
    disk_digest: String,
    /// Bytes of the disk.
    size: u64,
    images: Vec<Place>,
}

/// Its AMI in one region.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Place {
    region: String,
    ami: String,
    snapshot: Option<String>,
    state: String,
    created: String,
    public: bool,
    protected: bool,
    deprecated: Option<String>,
    /// The most that its snapshot costs, United States dollars.
    cost_a_month: f64,
}

/// `i2kit images`.
pub fn images(arguments: &args::CloudImages) -> Result<(), Error> {
    if arguments.print_iam_policy {
        return crate::cli::print_json(&Document::of(&Needs {
            read: true,
            ..Needs::default()
        }));
    }
    let found = runtime()?.block_on(find(arguments))?;
    let rows = rows(found, arguments.name.as_deref());
    if arguments.json {
        return crate::cli::print_json(&rows);
    }
    crate::cli::print(render(&rows, times::now()).as_bytes())
}

/// The AMIs with their regions' names; all regions are asked at the same time.
async fn find(arguments: &args::CloudImages) -> Result<Vec<(String, Ami)>, Error> {
    let cloud = connect(&arguments.cloud).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for region in regions(&cloud, &arguments.regions)? {
        tasks.spawn(async move {
            let amis = prune::list(&region).await?;
            let named = amis.into_iter().map(|ami| (region.name.clone(), ami));
            Ok::<_, Error>(named.collect::<Vec<_>>())
        });
    }
    let mut all = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        all.extend(joined.map_err(|error| Error::Runtime(error.into()))??);
    }
    Ok(all)
}

/// One row for each disk, the newest of each name on top.
fn rows(found: Vec<(String, Ami)>, name: Option<&str>) -> Vec<Row> {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    for (region, ami) in found {
        let tag = |key: &str| ami.tags.get(key).cloned().unwrap_or_default();
        let key = (tag(tags::NAME), tag(tags::DISK_DIGEST));
        if name.is_some_and(|wanted| wanted != key.0) {
            continue;
        }
        let size = tags::size(&ami.tags).unwrap_or(ami.volume_gib * GIB);
        let row = rows.entry(key.clone()).or_insert_with(|| Row {
            name: key.0,
            version: tags::version(&ami.tags),
            root_hash: tag(tags::ROOT_HASH),
            disk_digest: key.1,
            size,
            images: Vec::new(),
        });
        row.images.push(place(region, ami, size));
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    for row in &mut rows {
        row.images
            .sort_by(|one, other| (&one.region, &one.ami).cmp(&(&other.region, &other.ami)));
    }
    rows.sort_by(|one, other| {
        // Of those of one second the version decides.
        let newest = |row: &Row| {
            let created = row.images.iter().map(|one| one.created.clone()).max();
            (created, row.version)
        };
        (&one.name, newest(other)).cmp(&(&other.name, newest(one)))
    });
    rows
}

fn place(region: String, ami: Ami, size: u64) -> Place {
    Place {
        region,
        ami: ami.id,
        snapshot: ami.root_snapshot,
        state: ami.state,
        created: ami.creation_date,
        public: ami.public,
        protected: ami.protected,
        deprecated: ami.deprecation,
        cost_a_month: in_dollars(price::kept_a_month(size)),
    }
}

fn in_dollars(cost: price::Microdollars) -> f64 {
    const MICRO: f64 = 1e6;
    // No sum of money loses a digit that matters.
    #[allow(clippy::cast_precision_loss)]
    let cost = cost as f64;
    cost / MICRO
}

fn render(rows: &[Row], now: u64) -> String {
    let heads = ["VERSION", "ROOT HASH", "AGE", "SIZE", "A MONTH, AT MOST"];
    let [version, hash, age, size, cost] = heads;
    let width = rows.iter().map(|row| row.name.len()).max();
    let width = width.unwrap_or_default().max(4);
    let mut out = format!(
        "{:<width$}  {version:<7}  {hash:<12}  {age:<6}  {size:>11}  {cost}\n",
        "NAME"
    );
    for row in rows {
        let version = row
            .version
            .map_or_else(|| "-".to_owned(), |number| number.to_string());
        let hash = row.root_hash.get(..SHORT_HASH).unwrap_or(&row.root_hash);
        let oldest = row.images.iter().map(|one| &one.created).min();
        let age = oldest.and_then(|time| times::seconds(time));
        let age = age.map_or_else(|| "-".to_owned(), |then| aged(now.saturating_sub(then)));
        let cost = price::kept_a_month(row.size) * row.images.len() as u64;
        let (name, size, cost) = (&row.name, bytes(row.size), price::dollars(cost));
        let _ = writeln!(
            out,
            "{name:<width$}  {version:<7}  {hash:<12}  {age:<6}  {size:>11}  {cost}"
        );
        for place in &row.images {
            let _ = writeln!(
                out,
                "  {:<14}  {}{}",
                place.region,
                place.ami,
                remarks(place)
            );
        }
    }
    out
}

/// What is special about one.
fn remarks(place: &Place) -> String {
    let mut out = String::new();
    if place.state != "available" {
        let _ = write!(out, ", {}", place.state);
    }
    let flags = [(place.public, "public"), (place.protected, "protected")];
    for (_, word) in flags.iter().filter(|(is, _)| *is) {
        let _ = write!(out, ", {word}");
    }
    if let Some(time) = &place.deprecated {
        let _ = write!(out, ", deprecated from {}", time.get(..10).unwrap_or(time));
    }
    out
}

/// An age in its largest whole unit.
fn aged(seconds: u64) -> String {
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "min")];
    let fitting = units.into_iter().find(|(unit, _)| seconds >= *unit);
    fitting.map_or_else(
        || format!("{seconds} s"),
        |(unit, name)| format!("{} {name}", seconds / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ami(id: &str, name: &str, digest: &str, created: &str) -> Ami {
        let tags = [
            (tags::NAME, name),
            (tags::DISK_DIGEST, digest),
            (tags::ROOT_HASH, "0123456789abcdef"),
            (tags::VERSION, "2"),
            (tags::SIZE, "1073741824"),
        ];
        Ami {
            id: id.to_owned(),
            state: "available".to_owned(),
            creation_date: created.to_owned(),
            tags: tags
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Ami::default()
        }
    }

    #[test]
    fn a_disk_has_one_row_and_a_line_for_each_region() {
        let in_region = |region: &str, ami| (region.to_owned(), ami);
        let mut public = ami("ami-2", "web", "sha256:a", "2026-01-31T11:00:00.000Z");
        public.public = true;
        let found = vec![
            in_region("us-east-1", public),
            in_region(
                "eu-central-1",
                ami("ami-1", "web", "sha256:a", "2026-01-31T10:00:00.000Z"),
            ),
            in_region(
                "eu-central-1",
                ami("ami-3", "web", "sha256:b", "2026-01-30T10:00:00.000Z"),
            ),
            in_region(
                "eu-central-1",
                ami("ami-4", "db", "sha256:c", "2026-01-31T11:59:30.000Z"),
            ),
        ];
        let table = render(&rows(found.clone(), None), 1_769_860_800);
        let expected = [
            "NAME  VERSION  ROOT HASH     AGE            SIZE  A MONTH, AT MOST",
            "db    2        0123456789ab  30 s       1.00 GiB  0.0500 USD",
            "  eu-central-1    ami-4",
            "web   2        0123456789ab  2 h        1.00 GiB  0.1000 USD",
            "  eu-central-1    ami-1",
            "  us-east-1       ami-2, public",
            "web   2        0123456789ab  1 d        1.00 GiB  0.0500 USD",
            "  eu-central-1    ami-3",
        ];
        assert_eq!(table.lines().collect::<Vec<_>>(), expected);
        let ids: Vec<_> = rows(found, Some("db"))
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(ids, ["db"]);
    }
}
