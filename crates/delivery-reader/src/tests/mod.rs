//! Tests of the readers, by example and by property.

mod attributes;
mod bombs;
mod csv;
mod encodings;
mod files;
mod json;
mod ods;
mod packing;
mod properties;
mod samples;
mod workbooks;
mod xls;

use std::io::Read;

use super::{delivery::read_csv, json::read_json, list::read_list, *};

/// Known names of the code column, one of which has an accent in files.
const CODE_NAMES: &[&str] = &["code", "codigo"];

/// Rules for tests in which dates do not matter.
pub(crate) fn rules() -> RowRules {
    RowRules {
        zone: Tz::UTC,
        max_code_chars: 255,
    }
}

/// A row in short form: its line, and its code or the reason of the rejection.
type Short = (u32, Result<String, RejectionReason>);

/// Reads a CSV file.
fn read(
    input: impl Read,
    options: &TableOptions,
) -> Result<(TableLayout, Vec<Short>), ReadError<()>> {
    let mut rows = Vec::new();
    let layout = read_csv(input, options, rules(), &mut |row| {
        rows.push((row.line, row.code.map_err(|rejection| rejection.reason)));
        Ok(())
    })?;
    Ok((layout, rows))
}
