//! The file of one replica. Records are appended; from time to time those that a later one replaces are removed.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::compaction::Compaction;
use super::record::{EXTENSION, Imports, Record, records};

/// Maximum number of replicas that use one folder.
const MAX_FILES: u32 = 1000;
/// Size up to which a file is not compacted.
const MAX_LOOSE_BYTES: u64 = 1 << 20;
/// Maximum size of the records that wait for a write to succeed. Beyond it those of returned codes are lost; those of imports
/// are in memory too.
const MAX_UNWRITTEN_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    /// Held for the append of a batch, and never while a file is compacted or synced.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    output: Option<Output>,
    imports: Imports,
    /// Lines of which the write has failed.
    unwritten: Vec<u8>,
    /// Lines were dropped because there were too many.
    has_dropped: bool,
    is_unsynced: bool,
    /// The folder is to be synced too.
    has_new_name: bool,
}

/// The open file.
#[derive(Debug)]
struct Output {
    path: PathBuf,
    file: File,
    compacted_bytes: u64,
    /// Locked as long as the replica lives, so that no other one takes its file.
    _lock: File,
}

impl Journal {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Opens the file. If this fails, the next record tries it again.
    pub(super) fn open(&self) -> io::Result<()> {
        self.state().output(&self.folder).map(drop)
    }

    /// Writes records with at most one write. Of each import only the furthest code is written.
    pub(super) fn record<'a>(
        &self,
        codes: impl Iterator<Item = Record<&'a str>>,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        let mut furthest: HashMap<_, Record<&str>> = HashMap::new();
        for code in codes {
            let Some(key) = code.import_key() else {
                write_line(&mut lines, &code)?;
                continue;
            };
            let known = furthest.entry(key).or_insert_with(|| code.clone());
            if known.ordinal < code.ordinal {
                *known = code;
            }
        }
        let mut state = self.state();
        for (key, code) in furthest {
            if state.imports.advance(key, &code) {
                write_line(&mut lines, &code)?;
            }
        }
        state.unwritten.append(&mut lines);
        state.flush(&self.folder)
    }

    /// Writes what could not be written before, and syncs the file.
    pub(super) fn sync(&self) -> io::Result<()> {
        let flushed = self.state().flush_all(&self.folder);
        let synced = self.sync_written();
        flushed.and(synced)
    }

    fn sync_written(&self) -> io::Result<()> {
        let unsynced = self.state().take_unsynced()?;
        let Some((file, has_new_name)) = unsynced else {
            return Ok(());
        };
        let mut synced = file.sync_data();
        if has_new_name {
            synced = synced.and_then(|()| File::open(&self.folder)?.sync_all());
        }
        if synced.is_err() {
            let mut state = self.state();
            state.is_unsynced = true;
            state.has_new_name |= has_new_name;
        }
        synced
    }

    /// Compacts the file if it is time. The file must be synced afterwards.
    pub(super) fn compact(&self) -> io::Result<()> {
        match self.begin_compaction()? {
            Some(compaction) => self.end_compaction(compaction),
            None => Ok(()),
        }
    }

    /// Writes a compacted file if it is time.
    pub(super) fn begin_compaction(&self) -> io::Result<Option<Compaction>> {
        let compactable = self.state().compactable()?;
        compactable
            .map(|(path, bytes)| Compaction::write(&path, bytes))
            .transpose()
    }

    /// Appends to the compacted file from now on.
    pub(super) fn end_compaction(&self, compaction: Compaction) -> io::Result<()> {
        let mut state = self.state();
        if let Some(output) = &mut state.output {
            (output.file, output.compacted_bytes) = compaction.replace()?;
            state.is_unsynced = true;
            state.has_new_name = true;
        }
        Ok(())
    }
}

impl State {
    fn output(&mut self, folder: &Path) -> io::Result<&mut Output> {
        match &mut self.output {
            Some(output) => Ok(output),
            none => {
                let output = open(folder, &mut self.imports)?;
                self.has_new_name = true;
                Ok(none.insert(output))
            }
        }
    }

    /// Writes the lines that wait for it. They keep waiting if the write fails, unless there are too many.
    fn flush(&mut self, folder: &Path) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut lines = mem::take(&mut self.unwritten);
        let written = self
            .output(folder)
            .and_then(|output| output.file.write_all(&lines));
        if written.is_ok() {
            self.is_unsynced = true;
        } else if lines.len() > MAX_UNWRITTEN_BYTES {
            self.has_dropped = true;
        } else {
            // The file may end with a part of a line.
            if !lines.starts_with(b"\n") {
                lines.insert(0, b'\n');
            }
            self.unwritten = lines;
        }
        written
    }

    /// Writes the lines that wait for it, and those that were dropped, as far as they are in memory.
    fn flush_all(&mut self, folder: &Path) -> io::Result<()> {
        if mem::take(&mut self.has_dropped) {
            for record in self.imports.records() {
                write_line(&mut self.unwritten, record)?;
            }
        }
        self.flush(folder)
    }

    /// Returns the path and the length of the file if it is to be compacted.
    fn compactable(&self) -> io::Result<Option<(PathBuf, u64)>> {
        let Some(output) = &self.output else {
            return Ok(None);
        };
        let bytes = output.file.metadata()?.len();
        let max_bytes = MAX_LOOSE_BYTES.max(2 * output.compacted_bytes);
        Ok((bytes > max_bytes).then(|| (output.path.clone(), bytes)))
    }

    /// Returns the file if it has records that are not synced, and whether its name is new.
    fn take_unsynced(&mut self) -> io::Result<Option<(File, bool)>> {
        let Some(output) = self.output.as_ref().filter(|_| self.is_unsynced) else {
            return Ok(None);
        };
        let file = output.file.try_clone()?;
        self.is_unsynced = false;
        Ok(Some((file, mem::take(&mut self.has_new_name))))
    }
}

/// Opens the first file that no other replica uses, and adds what an earlier one has left there to the imports.
fn open(folder: &Path, imports: &mut Imports) -> io::Result<Output> {
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
        for record in records(File::open(&path)?) {
            let record = record?;
            if let Some(key) = record.import_key() {
                imports.advance(key, &record);
            }
        }
        return Ok(Output {
            compacted_bytes: 0,
            path,
            file,
            _lock: lock,
        });
    }
    Err(io::Error::other("too many replicas use the folder"))
}

/// Options to open a file that only its owner may read: it contains codes.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

pub(super) fn write_line(
    out: &mut impl Write,
    record: &Record<impl serde::Serialize>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}
