//! The file of one replica. Records are appended; from time to time those that a later one replaces are removed.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};

use super::record::{EXTENSION, Lots, Record, records};

/// Maximum number of replicas that use one folder.
const MAX_FILES: u32 = 1000;
/// Size up to which a file is not compacted.
const MAX_LOOSE_BYTES: u64 = 1 << 20;
/// Maximum size of the records that wait for a write to succeed. Beyond it those of returned codes are lost; those of lots are
/// in memory too.
const MAX_UNWRITTEN_BYTES: usize = 4 << 20;
/// Time for which returned codes are kept.
const RETENTION: TimeDelta = TimeDelta::days(35);

#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    /// Opened with the first record.
    output: Option<Output>,
    lots: Lots,
    /// Lines of which the write has failed.
    unwritten: Vec<u8>,
    is_synced: bool,
    must_compact: bool,
}

/// The open file.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
    bytes: u64,
    compacted_bytes: u64,
    /// Locked as long as the replica lives, so that no other one takes its file.
    _lock: File,
}

impl Journal {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            output: None,
            lots: Lots::default(),
            unwritten: Vec::new(),
            is_synced: true,
            must_compact: false,
        }
    }

    pub(super) fn record<'a>(
        &mut self,
        codes: impl Iterator<Item = Record<&'a str>>,
    ) -> io::Result<()> {
        let mut lines = mem::take(&mut self.unwritten);
        // Of each lot only the furthest code is written.
        let mut furthest: HashMap<_, Record<&str>> = HashMap::new();
        for code in codes {
            if code.returned {
                write_line(&mut lines, &code)?;
                continue;
            }
            let known = furthest.entry(code.lot()).or_insert_with(|| code.clone());
            if known.ordinal < code.ordinal {
                *known = code;
            }
        }
        for code in furthest.into_values() {
            if self.lots.advance(&code) {
                write_line(&mut lines, &code)?;
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let written = self.write(&lines);
        if written.is_err() {
            if lines.len() > MAX_UNWRITTEN_BYTES {
                self.must_compact = true;
            } else {
                // The file may end with a part of a line.
                self.unwritten.push(b'\n');
                self.unwritten.append(&mut lines);
            }
        }
        written
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let output = match &mut self.output {
            Some(output) => output,
            none => none.insert(open(&self.folder, &mut self.lots)?),
        };
        output.file.write_all(lines)?;
        output.bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        self.is_synced = false;
        Ok(())
    }

    /// Compacts the file if it is time. Returns the file if it must be synced.
    pub(super) fn maintain(&mut self) -> io::Result<Option<File>> {
        let Some(output) = &mut self.output else {
            return Ok(None);
        };
        let max_bytes = MAX_LOOSE_BYTES.max(2 * output.compacted_bytes);
        if self.must_compact || output.bytes > max_bytes {
            output.compact(&self.lots)?;
            self.must_compact = false;
        }
        if mem::replace(&mut self.is_synced, true) {
            return Ok(None);
        }
        output.file.try_clone().map(Some)
    }
}

/// Opens the first file that no other replica uses, and adds what an earlier one has left there to the lots.
fn open(folder: &Path, lots: &mut Lots) -> io::Result<Output> {
    for number in 1..=MAX_FILES {
        let path = folder.join(format!("replica-{number}.{EXTENSION}"));
        let lock = private().write(true).open(path.with_extension("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => continue,
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let mut file = private().append(true).open(&path)?;
        // Ends the part of a line that a crash may have left.
        file.write_all(b"\n")?;
        for record in records(&path)? {
            let record = record?;
            if !record.returned {
                lots.advance(&record);
            }
        }
        return Ok(Output {
            bytes: file.metadata()?.len(),
            compacted_bytes: 0,
            path,
            file,
            _lock: lock,
        });
    }
    Err(io::Error::other("too many replicas use the folder"))
}

impl Output {
    /// Replaces the file by one with the furthest code of each lot, and the last record of each returned code that is young
    /// enough.
    fn compact(&mut self, lots: &Lots) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let file = private().write(true).truncate(true).open(&new)?;
        let mut writer = BufWriter::new(file);
        for record in lots.records() {
            write_line(&mut writer, record)?;
        }
        let oldest = Utc::now() - RETENTION;
        let mut returned: HashMap<_, Record<String>> = HashMap::new();
        for record in records(&self.path)? {
            let record = record?;
            if record.returned && record.at >= oldest {
                let code = (record.tenant, record.set, record.code.clone());
                returned
                    .entry(code)
                    .and_modify(|known| known.at = known.at.max(record.at))
                    .or_insert(record);
            }
        }
        for record in returned.values() {
            write_line(&mut writer, record)?;
        }
        let file = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        // Before it has its name: without a handle, later records would go to the file that is gone.
        let file = private().append(true).open(&new)?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.bytes = self.file.metadata()?.len();
        self.compacted_bytes = self.bytes;
        Ok(())
    }
}

/// Options to open a file that only its owner may read: it contains codes.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

fn write_line(out: &mut impl Write, record: &Record<impl serde::Serialize>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}
