//! `i2kit explain` and `i2kit convert-manifest`.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::args::Explain;
use super::error::Error;
use super::{plan, print, print_json};
use crate::manifest::{self, Row};

/// `i2kit explain`.
pub fn explain(arguments: &Explain) -> Result<(), Error> {
    if arguments.short {
        return print(manifest::SHORT_HELP.as_bytes());
    }
    let rows = manifest::explain(arguments.field.as_deref());
    if rows.is_empty() {
        return Err(Error::Argument {
            argument: arguments.field.clone().unwrap_or_default(),
            reason: "no field of a manifest is called so",
        });
    }
    if arguments.json {
        return print_json(&rows);
    }
    print(table(&rows).as_bytes())
}

fn table(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.field.len())
        .max()
        .unwrap_or_default();
    let mut out = String::new();
    for row in rows {
        let remark = row.remark.iter().map(|remark| format!(": {remark}"));
        let fate = row.fate.to_owned() + &remark.collect::<String>();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:width$}  {fate}", row.field);
    }
    out
}

/// `i2kit convert-manifest`.
pub fn convert(files: &[PathBuf]) -> Result<(), Error> {
    print(manifest::long_form(&plan::inputs(files)?)?.as_bytes())
}
