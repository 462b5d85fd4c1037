//! The build information that Go's linker leaves in a program (Go's `cmd/link` "buildinfo",
//! `debug/buildinfo`, `runtime/debug.BuildInfo`).

use crate::{Binary, Ecosystem, Error, Package, Purl};

const SECTION: &[u8] = b".go.buildinfo";
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Where there is no section, the information starts within so many bytes of data.
const SEARCHED: u64 = 64 << 10;
/// The flag of the form in which both strings follow the header (Go 1.18 and later).
const INLINE: u8 = 2;
const BIG_ENDIAN: u8 = 1;
/// Each side of the module text has a mark of so many bytes.
const MARK: usize = 16;

fn bad(reason: &'static str) -> Error {
    Error::format("Go program", reason)
}

/// The Go version and the modules that a program was built from; empty when it is no Go program.
///
/// # Errors
/// [`Error`] when the information is there and makes no sense.
pub fn packages(binary: &Binary<'_>, origin: &str) -> Result<Vec<Package>, Error> {
    let Some((version, modules)) = build_info(binary)? else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    let compiler = version.split(' ').next().unwrap_or_default();
    let compiler = compiler.strip_prefix("go").unwrap_or(compiler);
    out.push(module("stdlib", compiler, origin));
    out.extend(listed(&modules, origin));
    Ok(out)
}

/// The version of Go and the text of modules.
fn build_info(binary: &Binary<'_>) -> Result<Option<(String, String)>, Error> {
    let address = binary.address_of(SECTION);
    let Some(address) = address.or_else(|| binary.unnamed_data()) else {
        return Ok(None);
    };
    let searched = binary.memory(address, SEARCHED)?;
    let aligned = (0..searched.len()).step_by(16);
    let mut found = aligned.filter_map(|at| searched.get(at..)?.strip_prefix(MAGIC).map(|_| at));
    let Some(start) = found.next() else {
        return Ok(None);
    };
    let head = searched
        .get(start..)
        .and_then(<[u8]>::first_chunk::<32>)
        .ok_or(bad("it ends early"))?;
    let [pointer_size, flags] = [head[14], head[15]];
    let (version, modules) = if flags & INLINE != 0 {
        let data = binary.memory(address + start as u64 + 32, u64::MAX)?;
        let (version, rest) = inline(&data).ok_or(bad("its version ends early"))?;
        let (modules, _) = inline(rest).ok_or(bad("its modules end early"))?;
        (version.to_vec(), modules.to_vec())
    } else {
        let strings = Pointers {
            binary,
            size: usize::from(pointer_size),
            is_big: flags & BIG_ENDIAN != 0,
        };
        let second = 16 + usize::from(pointer_size);
        (strings.at(head, 16)?, strings.at(head, second)?)
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Some((text(&version), text(framed(&modules)))))
}

/// A length in base 128, least significant group first, then as many bytes.
fn inline(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0;
    for (at, byte) in data.iter().enumerate().take(9) {
        len |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let rest = data.get(at + 1..)?;
            return rest.split_at_checked(usize::try_from(len).ok()?);
        }
    }
    None
}

/// Go strings in memory: an address and a length.
struct Pointers<'a> {
    binary: &'a Binary<'a>,
    size: usize,
    is_big: bool,
}

impl Pointers<'_> {
    fn number(&self, bytes: &[u8], at: usize) -> Result<u64, Error> {
        let bytes = bytes.get(at..at + self.size);
        let bytes = bytes.filter(|one| matches!(one.len(), 4 | 8));
        let bytes = bytes.ok_or(bad("a pointer is cut off"))?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Ok(if self.is_big {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        })
    }

    /// The string whose header the pointer at `at` names.
    fn at(&self, head: &[u8], at: usize) -> Result<Vec<u8>, Error> {
        let header = self.number(head, at)?;
        if header == 0 {
            return Ok(Vec::new());
        }
        let header = self.binary.memory(header, 2 * self.size as u64)?;
        let (data, len) = (self.number(&header, 0)?, self.number(&header, self.size)?);
        self.binary.memory(data, len)
    }
}

/// What stands between the marks.
fn framed(modules: &[u8]) -> &[u8] {
    let inner = modules.len().checked_sub(MARK);
    let inner = inner.and_then(|end| modules.get(MARK..end));
    inner
        .filter(|inner| inner.last() == Some(&b'\n'))
        .unwrap_or_default()
}

/// Lines of `mod`, `dep` and `=>` (what replaces the one before), tab-separated: path, version,
/// checksum. A program built without modules has only `path`.
fn listed(text: &str, origin: &str) -> Vec<Package> {
    let mut out: Vec<Package> = Vec::new();
    let mut path = None;
    for line in text.lines() {
        let mut words = line.split('\t');
        let (kind, name) = (words.next(), words.next().unwrap_or_default());
        let version = words.next().unwrap_or_default();
        match kind {
            Some("path") => path = Some(name),
            Some("mod" | "dep") => out.push(module(name, version, origin)),
            Some("=>") => {
                out.pop();
                out.push(module(name, version, origin));
            }
            _ => {}
        }
    }
    if let (true, Some(path)) = (out.is_empty(), path) {
        out.push(module(path, "", origin));
    }
    out
}

fn module(name: &str, version: &str, origin: &str) -> Package {
    // What was built from a working copy has no version.
    let version = if version == "(devel)" { "" } else { version };
    let lower = name.to_lowercase();
    let (namespace, last) = lower.rsplit_once('/').unwrap_or(("", &lower));
    Package {
        ecosystem: Ecosystem::Golang,
        purl: Purl::new("golang", namespace, last, version, &[]),
        name: name.to_owned(),
        version: version.to_owned(),
        licence: None,
        source: None,
        supplier: None,
        origin: origin.to_owned(),
    }
}
