//! What the readers promise, by example and by property.

mod csv;
mod json;
mod properties;

use std::io::Read;

use super::*;

/// The zone of files whose dates do not matter.
fn utc() -> Zone {
    Zone::parse("UTC").expect("a zone")
}

/// A row in short: its line, and its code or the reason.
type Short = (u32, Result<String, Reason>);

/// Reads a CSV file.
fn read(input: impl Read, options: &CsvOptions) -> Result<(CsvLayout, Vec<Short>), ReadError<()>> {
    let mut rows = Vec::new();
    let layout = read_csv(input, options, utc(), &mut |row| {
        rows.push((row.line, row.code.map_err(|rejection| rejection.reason)));
        Ok(())
    })?;
    Ok((layout, rows))
}
