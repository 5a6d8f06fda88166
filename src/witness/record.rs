//! The records: their form in a file, and what the files of all replicas say together.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The end of the names of the files.
pub(super) const EXTENSION: &str = "jsonl";

/// An assigned code with its place in the deck: a line of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record<C> {
    /// The number of the tenant.
    pub tenant: i32,
    pub set: Uuid,
    pub lot: i32,
    pub ordinal: i32,
    pub code: C,
    pub at: DateTime<Utc>,
    /// The code had come back to its set.
    pub returned: bool,
}

/// The number of a tenant, the id of a set of it, and the number of a lot of that.
type Lot = (i32, Uuid, i32);

impl<C> Record<C> {
    pub(super) fn lot(&self) -> Lot {
        (self.tenant, self.set, self.lot)
    }
}

/// The furthest record of each lot.
#[derive(Debug, Default)]
pub(super) struct Lots(HashMap<Lot, Record<String>>);

impl Lots {
    /// Returns true if the code is further in its lot than those before.
    pub(super) fn advance<C: Into<String> + Clone>(&mut self, record: &Record<C>) -> bool {
        let known = self.0.get(&record.lot());
        if known.is_some_and(|known| known.ordinal >= record.ordinal) {
            return false;
        }
        let record = Record {
            tenant: record.tenant,
            set: record.set,
            lot: record.lot,
            ordinal: record.ordinal,
            code: record.code.clone().into(),
            at: record.at,
            returned: record.returned,
        };
        self.0.insert(record.lot(), record);
        true
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record<String>> {
        self.0.values()
    }
}

/// What the files say of one set.
#[derive(Debug, Default)]
pub(crate) struct WitnessedSet {
    /// Of each lot the furthest record of each file, the furthest one first.
    pub lots: BTreeMap<i32, Vec<Record<String>>>,
    /// The last time at which each returned code was assigned again.
    pub returned: BTreeMap<String, DateTime<Utc>>,
}

/// What the files of all replicas say.
#[derive(Debug, Default)]
pub(crate) struct Records {
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
        all.files += 1;
        let mut lots = Lots::default();
        for record in records(&path)? {
            let record = record?;
            if record.returned {
                let set = all.sets.entry((record.tenant, record.set)).or_default();
                let at = set.returned.entry(record.code).or_insert(record.at);
                *at = record.at.max(*at);
            } else {
                lots.advance(&record);
            }
        }
        for record in lots.0.into_values() {
            let set = all.sets.entry((record.tenant, record.set)).or_default();
            set.lots.entry(record.lot).or_default().push(record);
        }
    }
    for set in all.sets.values_mut() {
        for records in set.lots.values_mut() {
            records.sort_unstable_by_key(|record| std::cmp::Reverse(record.ordinal));
        }
    }
    Ok(all)
}

/// Reads a file. Lines that a crash or a full disk has cut off are skipped.
pub(super) fn records(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Record<String>>>> {
    let lines = BufReader::new(File::open(path)?).split(b'\n');
    Ok(lines.filter_map(|line| match line {
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(error) => Some(Err(error)),
    }))
}
