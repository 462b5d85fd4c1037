//! A planned disk against one that is there, or against the record of one: what differs first, by name.

use i2kit_contract::{INPUTS_JSON, LABEL_ESP, LABEL_STORE, LABEL_STORE_FEC, LABEL_STORE_VERITY};
use i2kit_format::read_at::Window;
use i2kit_format::{BLOCK, SLAB, gpt};
use serde_json::Value;

use super::error::Error;
use crate::assemble::regions::{Part, Region};
use crate::assemble::{self, Assembled, LAYERS, SectionDigest, UkiFacts};
use crate::disk::{self, Blob, Slabs};
use crate::inspect::{self, Fault, Known};

/// What is wrong with a byte that two disks have not in common.
const OTHER: &str = "the other disk has something else there";

/// What a disk tells of itself.
pub struct OnDisk {
    /// Its inputs record.
    pub inputs: Value,
    /// Its UKI's sections.
    pub sections: Vec<SectionDigest>,
    /// Its UKI's signature.
    pub signature: Option<Vec<u8>>,
    /// Its slabs.
    pub slabs: Slabs,
}

impl OnDisk {
    /// Reads it.
    ///
    /// # Errors
    /// When the disk is none of ours.
    pub fn of(disk: &Blob) -> Result<Self, Error> {
        let uki = inspect::uki(disk)?;
        let signature = assemble::signature_of(&uki).map_err(inspect::Error::from)?;
        let slabs = disk::slabs(disk).map_err(|source| inspect::Error::Read {
            what: "disk".to_owned(),
            source,
        })?;
        Ok(Self {
            inputs: inspect::inputs(disk)?,
            sections: UkiFacts::of(&uki).sections,
            signature,
            slabs,
        })
    }

    /// To compare with; `disk` is the disk itself, where it is there.
    pub fn as_found<'a>(&'a self, disk: Option<&'a Blob>) -> Found<'a> {
        Found {
            inputs: &self.inputs,
            sections: &self.sections,
            slabs: &self.slabs,
            disk,
        }
    }
}

/// What a disk is.
pub struct Found<'a> {
    /// Its inputs record.
    pub inputs: &'a Value,
    /// Its UKI's sections.
    pub sections: &'a [SectionDigest],
    /// Its slabs.
    pub slabs: &'a Slabs,
    /// Its bytes, where they are there.
    pub disk: Option<&'a Blob>,
}

/// The first difference: of the inputs records, or else of the disks, what causes others before what
/// follows from it.
///
/// # Errors
/// When either disk cannot be read.
pub fn difference(expected: &Assembled, found: &Found<'_>) -> Result<Option<Fault>, Error> {
    // Where there are no bytes to compare, a layer that takes another place is told at least.
    let with_places = found.disk.is_none();
    let unlike = unlike_inputs(
        &expected.inputs,
        found.inputs,
        with_places,
        "the build gives",
    );
    if unlike.is_some() {
        return Ok(unlike);
    }
    let slabs = expected.disk.slabs().map_err(Error::Planned)?;
    if slabs == *found.slabs {
        return Ok(None);
    }
    let unlike = |slab: &u64| slabs.get(slab) != found.slabs.get(slab);
    for region in causes_first(&expected.regions, found.disk.is_some()) {
        let numbers = region.offset / SLAB..(region.offset + region.len).div_ceil(SLAB);
        for slab in numbers.filter(unlike) {
            if let Some(offset) = first_byte(expected, found, &region, slab)? {
                return Ok(Some(fault(expected, found, &region, offset)));
            }
        }
    }
    let fault = Fault::new("partition table", "not what the build gives");
    let mut all = slabs.keys().chain(found.slabs.keys()).copied();
    let slab = all.find(unlike).unwrap_or_default();
    Ok(Some(fault.offset(slab * SLAB)))
}

/// The first difference between two disks, as [`difference`] has it.
///
/// # Errors
/// When either disk cannot be read.
pub fn between(one: &Blob, other: &Blob) -> Result<Option<Fault>, Error> {
    between_in(one, other, None)
}

/// The same, where only these slabs may differ, ascending: no others are read.
///
/// # Errors
/// As [`between`].
pub fn between_in(one: &Blob, other: &Blob, slabs: Option<&[u64]>) -> Result<Option<Fault>, Error> {
    let (expected, found) = (inspect::inputs(other)?, inspect::inputs(one)?);
    let unlike = unlike_inputs(&expected, &found, false, "the other disk has");
    if unlike.is_some() {
        return Ok(unlike);
    }
    let len = one.len().min(other.len());
    let first = |from: u64, until: u64| {
        let (from, until) = (from.min(len), until.min(len));
        let unlike = match slabs {
            None => inspect::unlike(one, other, from, until),
            Some(slabs) => unlike_in(one, other, slabs, (from, until)),
        };
        unlike.map_err(Error::Planned)
    };
    let table = gpt::read(one).map_err(inspect::Error::from)?;
    for name in [LABEL_STORE, LABEL_STORE_VERITY, LABEL_STORE_FEC, LABEL_ESP] {
        let partition = table.named(name);
        let Some((start, size)) = partition.map(|found| (found.offset(), found.size())) else {
            continue;
        };
        // The superblock last: what it says follows from the rest.
        let later = match name {
            LABEL_STORE => BLOCK.min(size),
            _ => 0,
        };
        let offset = match first(start + later, start + size)? {
            None => first(start, start + later)?,
            found => found,
        };
        if let Some(offset) = offset {
            return in_partition(name, one, other, (start, size), offset).map(Some);
        }
    }
    let fault = |offset| Fault::new("partition table", OTHER).offset(offset);
    if let Some(offset) = first(0, len)? {
        return Ok(Some(fault(offset)));
    }
    Ok((one.len() != other.len()).then(|| fault(len)))
}

/// The first byte between two offsets that differs, in these slabs.
fn unlike_in(
    one: &Blob,
    other: &Blob,
    slabs: &[u64],
    (from, until): (u64, u64),
) -> std::io::Result<Option<u64>> {
    let first = slabs.partition_point(|slab| (slab + 1) * SLAB <= from);
    for slab in slabs.get(first..).unwrap_or_default() {
        let start = (slab * SLAB).max(from);
        if start >= until {
            break;
        }
        let found = inspect::unlike(one, other, start, ((slab + 1) * SLAB).min(until))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The first difference between two inputs records. Where layers lie follows from what they hold, so
/// it counts only `with_places`.
fn unlike_inputs(expected: &Value, found: &Value, with_places: bool, verb: &str) -> Option<Fault> {
    let [mut expected, mut found] = [expected, found].map(Clone::clone);
    for inputs in [&mut expected, &mut found] {
        let object = inputs.as_object_mut().filter(|_| !with_places);
        object.and_then(|inputs| inputs.remove(LAYERS));
    }
    let unlike = unlike_json(&expected, &found, "")?;
    let fault = Fault::new(LABEL_STORE, unlike.reason(verb));
    Some(fault.file(format!("/{INPUTS_JSON}")).structure(unlike.path))
}

/// Names the first byte of a partition, at its place, that differs.
fn in_partition(
    name: &str,
    one: &Blob,
    other: &Blob,
    (start, size): (u64, u64),
    offset: u64,
) -> Result<Fault, Error> {
    let block = (offset - start) / BLOCK;
    let fault = Fault::new(name, OTHER).offset(offset);
    let part = one.part(start, size);
    if let Some(store) = part.filter(|_| name == LABEL_STORE) {
        return Ok(inspect::place(fault, &store, block, &Known::default()));
    }
    let fault = fault.block(block);
    if name != LABEL_ESP {
        return Ok(fault);
    }
    let [one, other] = [one, other].map(|disk| inspect::uki(disk).map(|uki| UkiFacts::of(&uki)));
    Ok(in_uki(fault, &one?.sections, &other?.sections))
}

/// Causes come first: the store's hash stands in the hash tree, in the UKI and in the table. Where
/// bytes can be compared, the records in the superblock's slab come before the superblock.
fn causes_first(regions: &[Region], with_bytes: bool) -> Vec<Region> {
    let mut ranked: Vec<(u8, Region)> = Vec::new();
    for region in regions {
        let mut region = region.clone();
        if with_bytes && region.part == Part::Superblock {
            let mut records = region.clone();
            region.len = BLOCK;
            records.offset += BLOCK;
            records.len -= BLOCK;
            ranked.push((RECORDS, records));
        }
        ranked.push((rank(&region.part), region));
    }
    ranked.sort_by_key(|(rank, region)| (*rank, region.offset));
    ranked.into_iter().map(|(_, region)| region).collect()
}

/// The rank of records apart from the superblock: behind the layers, before the metadata.
const RECORDS: u8 = 1;

fn rank(part: &Part) -> u8 {
    match part {
        Part::Layer(_) | Part::Hole => 0,
        Part::Metadata => 2,
        Part::Superblock => 3,
        Part::Verity => 4,
        Part::Other(_) => 5,
        Part::Esp => 6,
        Part::Table => 7,
    }
}

/// Names what lies at a byte of the region that differs.
fn fault(expected: &Assembled, found: &Found<'_>, region: &Region, offset: u64) -> Fault {
    const REASON: &str = "not what the build gives";
    let name = match &region.part {
        Part::Esp => {
            let fault = Fault::new(LABEL_ESP, REASON).offset(offset);
            return in_uki(fault, &expected.uki.sections, found.sections);
        }
        Part::Verity => LABEL_STORE_VERITY,
        Part::Other(name) if name == LABEL_STORE_FEC => LABEL_STORE_FEC,
        Part::Other(_) | Part::Table => "partition table",
        _ => LABEL_STORE,
    };
    let fault = Fault::new(name, REASON).offset(offset);
    let partition = expected.partitions.iter().find(|one| one.name == name);
    let Some(partition) = partition else {
        return fault;
    };
    let block = offset.saturating_sub(partition.offset()) / BLOCK;
    if name != LABEL_STORE {
        return fault.block(block);
    }
    let known = Known {
        layers: &expected.layers,
        sections: &[],
    };
    let store = Window::new(&expected.disk, partition.offset(), partition.size());
    match store {
        Some(store) => inspect::place(fault, &store, block, &known),
        None => fault,
    }
}

/// The first byte of the region's slab that differs, if one does; without the disk's bytes, the
/// slab's first.
fn first_byte(
    expected: &Assembled,
    found: &Found<'_>,
    region: &Region,
    slab: u64,
) -> Result<Option<u64>, Error> {
    let from = region.offset.max(slab * SLAB);
    let Some(disk) = found.disk else {
        return Ok(Some(from));
    };
    let until = ((slab + 1) * SLAB).min(region.offset + region.len);
    let end = until.min(disk.len());
    let unlike = inspect::unlike(disk, &expected.disk, from, end);
    let unlike = unlike.map_err(Error::Planned)?;
    // A disk that ends too early differs from its end on.
    Ok(unlike.or((end < until).then_some(end.max(from))))
}

/// Names the UKI's section that differs, if it is one.
fn in_uki(fault: Fault, expected: &[SectionDigest], found: &[SectionDigest]) -> Fault {
    let mut pairs = expected.iter().zip(found);
    let unlike = pairs.find(|(expected, found)| expected != found);
    match unlike {
        Some((section, _)) => fault.structure(section.name.clone()),
        None => fault,
    }
}

/// Two values at one place.
pub struct Unlike<'a> {
    /// A JSON pointer.
    pub path: String,
    expected: Option<&'a Value>,
    found: Option<&'a Value>,
}

impl Unlike<'_> {
    /// For a message; `verb` says what should be there.
    pub fn reason(&self, verb: &str) -> String {
        let text = |value: Option<&Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => shortened(value.to_string()),
        };
        let (expected, found) = (text(self.expected), text(self.found));
        format!("it is {found}, {verb} {expected}")
    }
}

/// Whole manifests are no part of a message.
fn shortened(text: String) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The first place where two values differ.
pub fn unlike_json<'a>(expected: &'a Value, found: &'a Value, path: &str) -> Option<Unlike<'a>> {
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.into_iter()
                .find_map(|key| unlike_at(one.get(key), other.get(key), format!("{path}/{key}")))
        }
        (Value::Array(one), Value::Array(other)) => (0..one.len().max(other.len()))
            .find_map(|at| unlike_at(one.get(at), other.get(at), format!("{path}/{at}"))),
        _ if expected == found => None,
        _ => Some(Unlike {
            path: path.to_owned(),
            expected: Some(expected),
            found: Some(found),
        }),
    }
}

fn unlike_at<'a>(
    expected: Option<&'a Value>,
    found: Option<&'a Value>,
    path: String,
) -> Option<Unlike<'a>> {
    match (expected, found) {
        (Some(expected), Some(found)) => unlike_json(expected, found, &path),
        _ => Some(Unlike {
            path,
            expected,
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_of_two_records() {
        let one = json!({"a": [1, {"b": "x"}], "c": null});
        assert!(unlike_json(&one, &one, "").is_none());
        for (other, path, reason) in [
            (
                json!({"a": [1, {"b": "y"}], "c": null}),
                "/a/1/b",
                "it is \"y\", the build gives \"x\"",
            ),
            (
                json!({"a": [1], "c": null}),
                "/a/1",
                "it is nothing, the build gives {\"b\":\"x\"}",
            ),
            (
                json!({"a": [1, {"b": "x"}]}),
                "/c",
                "it is nothing, the build gives null",
            ),
            (
                json!(7),
                "",
                "it is 7, the build gives {\"a\":[1,{\"b\":\"x\"}],\"c\":null}",
            ),
        ] {
            let unlike = unlike_json(&one, &other, "").unwrap();
            assert_eq!(
                (
                    unlike.path.as_str(),
                    unlike.reason("the build gives").as_str()
                ),
                (path, reason)
            );
        }
        let long = json!("é".repeat(200));
        let unlike = unlike_json(&one, &long, "").unwrap();
        assert!(
            unlike
                .reason("")
                .starts_with(&format!("it is \"{}…,", "é".repeat(99)))
        );
    }
}
