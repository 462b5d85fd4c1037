//! RPM's databases: `rpmdb.sqlite` ([`sqlite`]) and `Packages.db` ([`ndb`]). Either holds one header
//! per package. Berkeley DB's `Packages`, of before RPM 4.16, is not read.

mod header;
pub mod ndb;
pub mod sqlite;

use i2kit_format::ReadAt;

use crate::{Distribution, Ecosystem, Error, Package, Purl, Source, licence};
use header::Header;

/// A header of a package with many files has some 10 MB.
const MAX_HEADER: u64 = 64 << 20;

/// The packages of a database, whose format its first bytes tell.
///
/// # Errors
/// [`Error`] when it is of no known format or damaged.
pub fn packages(
    file: &dyn ReadAt,
    distribution: &Distribution,
    origin: &str,
) -> Result<Vec<Package>, Error> {
    let mut out = Vec::new();
    let mut add = |blob: &[u8]| {
        out.extend(package(&Header::parse(blob)?, distribution, origin));
        Ok(())
    };
    let mut magic = [0; 4];
    if file.len() >= 4 {
        file.read_exact_at(&mut magic, 0)?;
    }
    if magic == ndb::MAGIC {
        ndb::blobs(file, &mut add)?;
    } else {
        sqlite::blobs(file, b"Packages", 1, &mut add)?;
    }
    Ok(out)
}

fn package(header: &Header<'_>, distribution: &Distribution, origin: &str) -> Option<Package> {
    let name = header.text(header::NAME)?;
    // Keys are kept as packages, and are none.
    if name == "gpg-pubkey" {
        return None;
    }
    let text = |tag| header.text(tag).unwrap_or_default();
    let version = format!("{}-{}", text(header::VERSION), text(header::RELEASE));
    let epoch = header.number(header::EPOCH).unwrap_or(0);
    let (architecture, source) = (text(header::ARCH), text(header::SOURCERPM));
    let shown_epoch = if epoch == 0 {
        String::new()
    } else {
        epoch.to_string()
    };
    let purl = Purl::new(
        "rpm",
        distribution.id_or(""),
        &name,
        &version,
        &[
            ("arch", &architecture),
            ("distro", &distribution.qualifier()),
            ("epoch", &shown_epoch),
            ("upstream", &source),
        ],
    );
    let version = match epoch {
        0 => version,
        epoch => format!("{epoch}:{version}"),
    };
    Some(Package {
        ecosystem: Ecosystem::Rpm,
        purl,
        licence: header
            .text(header::LICENSE)
            .map(|text| licence::tidy(&text)),
        source: self::source(&source),
        supplier: header.text(header::VENDOR).filter(|text| text != "(none)"),
        origin: origin.to_owned(),
        name,
        version,
    })
}

/// `NAME-VERSION-RELEASE.src.rpm`.
fn source(file: &str) -> Option<Source> {
    let stem = file.strip_suffix(".rpm")?;
    let (stem, _) = stem.rsplit_once('.')?;
    let mut parts = stem.rsplitn(3, '-');
    let (release, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Source {
        name: name.to_owned(),
        version: Some(format!("{version}-{release}")),
    })
}
