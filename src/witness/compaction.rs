//! The removal of records that later ones replace. Meanwhile the replica goes on to append to the file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};

use super::journal::{private, write_line};
use super::record::{Imports, Record, records};

/// Time for which returned codes are kept.
const RETENTION: TimeDelta = TimeDelta::days(35);

/// A file that will replace that of a replica. The name remains that of the complete old file until the new one is as
/// complete, so a crash at any moment leaves a complete file.
#[derive(Debug)]
pub(super) struct Compaction {
    path: PathBuf,
    new_path: PathBuf,
    /// The old file, read up to where the new one has its records.
    old: File,
    new: File,
}

impl Compaction {
    /// Writes the furthest code of each import, and the last record of each returned code that is young enough. `bytes` is the
    /// length of the file to read, at the end of a write.
    pub(super) fn write(path: &Path, bytes: u64) -> io::Result<Self> {
        let new_path = path.with_extension("new");
        let new = private().write(true).truncate(true).open(&new_path)?;
        let mut writer = BufWriter::new(new);
        let mut old = File::open(path)?;
        let oldest = Utc::now() - RETENTION;
        let mut imports = Imports::default();
        let mut returned: HashMap<_, Record<String>> = HashMap::new();
        for record in records((&mut old).take(bytes)) {
            let record = record?;
            if let Some(key) = record.import_key() {
                imports.advance(key, &record);
            } else if record.at >= oldest {
                let code = (record.tenant, record.set, record.code.clone());
                returned
                    .entry(code)
                    .and_modify(|known| known.at = known.at.max(record.at))
                    .or_insert(record);
            }
        }
        for record in imports.records().chain(returned.values()) {
            write_line(&mut writer, record)?;
        }
        let new = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let mut compaction = Self {
            path: path.to_owned(),
            new_path,
            old,
            new,
        };
        compaction.catch_up()?;
        compaction.new.sync_all()?;
        // Of the time of the sync. What remains is a few records.
        compaction.catch_up()?;
        Ok(compaction)
    }

    /// Copies what was appended to the old file since the last call.
    fn catch_up(&mut self) -> io::Result<()> {
        let mut appended = Vec::new();
        self.old.read_to_end(&mut appended)?;
        self.new.write_all(&appended)
    }

    /// Puts the new file in the place of the old one, and returns it with its length. Nothing may append to the old file during
    /// this call.
    pub(super) fn replace(mut self) -> io::Result<(File, u64)> {
        self.catch_up()?;
        let bytes = self.new.metadata()?.len();
        // Before it has its name: without a handle, later records would go to the file that is gone.
        let file = private().append(true).open(&self.new_path)?;
        fs::rename(&self.new_path, &self.path)?;
        Ok((file, bytes))
    }
}
