//! `i2kit plan`: what a disk would be, and what it shares with an old one, slab by slab.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use i2kit_format::{ReadAt, SLAB};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::error::Error;
use super::summary::{Summary, bytes};
use super::{args, build};
use crate::assemble::Assembled;
use crate::assemble::regions::{Part, Region};
use crate::disk::{Disk, FileDisk, SlabDigest};
use crate::output::OutputsRecord;

/// `i2kit plan`.
pub fn plan(arguments: &args::Plan) -> Result<(), Error> {
    let plan = build::planned(&arguments.disk)?;
    let mut progress = arguments.disk.pod.progress;
    progress.quiet |= arguments.json;
    let (_layers, assembled) = build::assembled(&plan, progress)?;
    let comparison = match &arguments.against {
        None => None,
        Some(old) => Some(Comparison::of(
            &of_disk(&assembled.disk)?,
            &of_file(old)?,
            &assembled.regions,
        )),
    };
    if arguments.json {
        let json = json!({
            "size": assembled.disk.len(),
            "root_hash": hex::encode(assembled.root_hash),
            "regions": assembled.regions.iter().map(region_json).collect::<Vec<_>>(),
            "against": comparison,
        });
        return super::print_json(&json);
    }
    let mut out = render(&assembled);
    if let (Some(comparison), Some(old)) = (&comparison, &arguments.against) {
        let _ = writeln!(out, "{}", comparison.render(old));
    }
    super::print(out.as_bytes())
}

fn region_json(region: &Region) -> serde_json::Value {
    json!({"part": region.part.to_string(), "offset": region.offset, "size": region.len})
}

fn render(assembled: &Assembled) -> String {
    let mut out = String::new();
    for region in &assembled.regions {
        let Region { part, offset, len } = region;
        let _ = write!(out, "{:>11} at {offset:>12}  {part}", bytes(*len));
        let layers = assembled.layers.iter();
        let dead = layers
            .filter(|layer| *part == Part::Layer(layer.diff_id.clone()) && layer.dead > 0)
            .map(|layer| layer.dead)
            .next();
        let _ = match dead {
            Some(dead) => writeln!(out, ", {} dead", bytes(dead)),
            None => writeln!(out),
        };
    }
    let _ = writeln!(out, "root hash: {}", hex::encode(assembled.root_hash));
    out
}

/// Slabs that are not all zeros, by their number on the disk.
pub type Slabs = BTreeMap<u64, SlabDigest>;

/// How many slabs of the new disk the old one has at the same place, and what the others are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Slabs of the new disk that are not all zeros.
    pub slabs: u64,
    /// Those that the old one has at the same place.
    pub shared: u64,
    /// Those that it has not, by what they are for.
    pub differ: Vec<Difference>,
    /// Slabs that only the old disk has, where the new one is zeros.
    pub dropped: u64,
}

/// Slabs of one purpose that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What they are for.
    pub part: String,
    /// Those whose bytes the old disk has elsewhere.
    pub moved: u64,
    /// Those whose bytes it has nowhere.
    pub new: u64,
}

impl Comparison {
    /// Compares the slabs of two disks.
    pub fn of(new: &Slabs, old: &Slabs, regions: &[Region]) -> Self {
        let known: BTreeSet<&SlabDigest> = old.values().collect();
        let mut parts: BTreeMap<Part, Difference> = BTreeMap::new();
        let mut shared = 0;
        for (number, digest) in new {
            if old.get(number) == Some(digest) {
                shared += 1;
                continue;
            }
            let part = part_of(regions, number * SLAB);
            let difference = parts.entry(part.clone()).or_insert_with(|| Difference {
                part: part.to_string(),
                moved: 0,
                new: 0,
            });
            match known.contains(digest) {
                true => difference.moved += 1,
                false => difference.new += 1,
            }
        }
        Self {
            slabs: new.len() as u64,
            shared,
            differ: parts.into_values().collect(),
            dropped: old
                .keys()
                .filter(|number| !new.contains_key(number))
                .count() as u64,
        }
    }

    /// For a person, without a line end.
    pub fn render(&self, old: &Path) -> String {
        let (old, slabs, shared) = (old.display(), self.slabs, self.shared);
        let mut out = format!("{shared} of {slabs} slabs are those of {old}");
        for Difference { part, moved, new } in &self.differ {
            let _ = write!(out, "\n  {part}: ");
            let _ = match (moved, new) {
                (0, new) => write!(out, "{new} new"),
                (moved, 0) => write!(out, "{moved} moved"),
                (moved, new) => write!(out, "{new} new, {moved} moved"),
            };
        }
        if self.dropped > 0 {
            let _ = write!(out, "\n  {} are zeros now", self.dropped);
        }
        out
    }
}

/// What the slab at `offset` is for: of several, what has its first byte, or else what begins in it.
fn part_of(regions: &[Region], offset: u64) -> Part {
    let overlaps =
        |region: &&Region| region.offset < offset + SLAB && offset < region.offset + region.len;
    let found = regions.iter().find(overlaps);
    found.map_or(Part::Table, |region| region.part.clone())
}

/// The slabs of a disk that is not written yet.
pub fn of_disk(disk: &Disk) -> Result<Slabs, Error> {
    let numbers: Vec<u64> = disk.written_slabs().collect();
    let digests = numbers
        .par_iter()
        .map(|number| match disk.known_digests(*number) {
            Some(known) => Ok((*number, known.sha256)),
            None => hashed(disk, *number),
        });
    let digests: std::io::Result<Slabs> = digests.collect();
    let zero = zero_slab();
    let mut digests = digests.map_err(Error::Planned)?;
    digests.retain(|_, digest| *digest != zero);
    Ok(digests)
}

/// The slabs of a disk: from its record or from the bytes themselves; `path` may be either.
pub fn of_file(path: &Path) -> Result<Slabs, Error> {
    if let Some(record) = OutputsRecord::<Summary>::read(path) {
        return Ok(record.digests().collect());
    }
    let disk = FileDisk::open(path)?;
    let zero = zero_slab();
    let numbers = 0..disk.len().div_ceil(SLAB);
    let digests = numbers.into_par_iter().map(|number| hashed(&disk, number));
    let digests: std::io::Result<Slabs> = digests.collect();
    let mut digests = digests.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    digests.retain(|_, digest| *digest != zero);
    Ok(digests)
}

/// A slab's digest; zeros follow a short last one.
fn hashed<R: ReadAt + ?Sized>(disk: &R, number: u64) -> std::io::Result<(u64, SlabDigest)> {
    let offset = number * SLAB;
    let mut bytes = vec![0; usize::try_from(SLAB).unwrap_or(0)];
    let len = usize::try_from(disk.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let len = len.min(bytes.len());
    disk.read_exact_at(bytes.get_mut(..len).unwrap_or_default(), offset)?;
    Ok((number, Sha256::digest(&bytes).into()))
}

fn zero_slab() -> SlabDigest {
    Sha256::digest(vec![0; usize::try_from(SLAB).unwrap_or(0)]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slab_is_shared_moved_new_or_gone() {
        let slabs = |list: &[(u64, u8)]| -> Slabs {
            list.iter().map(|(at, byte)| (*at, [*byte; 32])).collect()
        };
        let region = |part, from: u64, until: u64| Region {
            part,
            offset: from * SLAB,
            len: (until - from) * SLAB,
        };
        let regions = [
            region(Part::Esp, 2, 4),
            region(Part::Layer("sha256:1".to_owned()), 4, 8),
        ];
        let old = slabs(&[(0, 1), (2, 2), (4, 4), (5, 5), (9, 9)]);
        let new = slabs(&[(0, 3), (2, 2), (4, 5), (5, 6), (6, 7)]);
        let comparison = Comparison::of(&new, &old, &regions);
        let difference = |part: &str, moved, new| Difference {
            part: part.to_owned(),
            moved,
            new,
        };
        assert_eq!(
            comparison,
            Comparison {
                slabs: 5,
                shared: 1,
                differ: vec![
                    difference("partition table", 0, 1),
                    difference("layer sha256:1", 1, 2),
                ],
                dropped: 1,
            }
        );
        assert_eq!(
            comparison.render(Path::new("old.raw")),
            "1 of 5 slabs are those of old.raw\n  partition table: 1 new\n  \
             layer sha256:1: 2 new, 1 moved\n  1 are zeros now"
        );
        let same = Comparison::of(&old, &old, &regions);
        assert_eq!(
            (same.slabs, same.shared, same.differ.len(), same.dropped),
            (5, 5, 0, 0)
        );
    }
}
