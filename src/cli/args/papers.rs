//! `i2kit sbom`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `i2kit sbom`.
#[derive(Debug, Args)]
pub struct Sbom {
    /// The disk
    pub disk: PathBuf,
    /// Which format
    #[arg(long, value_enum, default_value_t)]
    pub format: SbomFormat,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum SbomFormat {
    /// SPDX 2.3 in JSON.
    #[default]
    Spdx,
    /// CycloneDX 1.6 in JSON.
    Cyclonedx,
}
