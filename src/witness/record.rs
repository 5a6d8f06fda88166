//! The records: their form in a file, and what the files of all replicas say together.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The end of the names of the files.
pub(super) const EXTENSION: &str = "jsonl";

/// An assigned code with its place in its import: a line of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record<C> {
    /// The number of the tenant.
    pub tenant: i32,
    pub set: Uuid,
    /// The import that brought the code. `None` if the code had come back to its set.
    pub import: Option<Uuid>,
    /// The place of the code in the lot of its import, from 1.
    pub ordinal: i32,
    pub code: C,
    pub at: DateTime<Utc>,
}

/// The number of a tenant, the id of a set of it, and the id of an import of that.
pub(super) type ImportKey = (i32, Uuid, Uuid);

impl<C> Record<C> {
    /// Returns `None` for a code that had come back.
    pub(super) fn import_key(&self) -> Option<ImportKey> {
        Some((self.tenant, self.set, self.import?))
    }
}

/// The furthest record of each import.
#[derive(Debug, Default)]
pub(super) struct Imports(HashMap<ImportKey, Record<String>>);

impl Imports {
    /// Returns true if the code is further in its import than those before.
    pub(super) fn advance<C: Into<String> + Clone>(
        &mut self,
        key: ImportKey,
        record: &Record<C>,
    ) -> bool {
        let known = self.0.get(&key);
        if known.is_some_and(|known| known.ordinal >= record.ordinal) {
            return false;
        }
        let record = Record {
            tenant: record.tenant,
            set: record.set,
            import: record.import,
            ordinal: record.ordinal,
            code: record.code.clone().into(),
            at: record.at,
        };
        self.0.insert(key, record);
        true
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record<String>> {
        self.0.values()
    }
}

/// What the files say of one set.
#[derive(Debug, Default)]
pub(crate) struct WitnessedSet {
    /// Of each import the furthest record of each file, the furthest one first.
    pub imports: BTreeMap<Uuid, Vec<Record<String>>>,
    /// The last time at which each returned code was assigned again.
    pub returned: BTreeMap<String, DateTime<Utc>>,
}

/// What the files of all replicas say.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Number of files that have a record.
    pub files: usize,
    /// By the number of the tenant and the id of the set.
    pub sets: BTreeMap<(i32, Uuid), WitnessedSet>,
}

/// Reads all files of a folder.
pub(crate) fn read(folder: &Path) -> io::Result<Records> {
    let mut all = Records::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != EXTENSION)
        {
            continue;
        }
        let mut imports = Imports::default();
        let mut has_record = false;
        for record in records(File::open(path)?) {
            let record = record?;
            has_record = true;
            if let Some(key) = record.import_key() {
                imports.advance(key, &record);
            } else {
                let set = all.sets.entry((record.tenant, record.set)).or_default();
                let at = set.returned.entry(record.code).or_insert(record.at);
                *at = record.at.max(*at);
            }
        }
        all.files += usize::from(has_record);
        for ((tenant, set, import), record) in imports.0 {
            let set = all.sets.entry((tenant, set)).or_default();
            set.imports.entry(import).or_default().push(record);
        }
    }
    for set in all.sets.values_mut() {
        for records in set.imports.values_mut() {
            records.sort_unstable_by_key(|record| std::cmp::Reverse(record.ordinal));
        }
    }
    Ok(all)
}

/// Reads the lines of a file. Those that a crash or a full disk has cut off are skipped.
pub(super) fn records(file: impl Read) -> impl Iterator<Item = io::Result<Record<String>>> {
    let lines = BufReader::new(file).split(b'\n');
    lines.filter_map(|line| match line {
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(error) => Some(Err(error)),
    })
}
