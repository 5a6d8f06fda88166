use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use tempfile::TempDir;
use uuid::Uuid;

use super::journal::Journal;
use super::{Record, read};

fn record(lot: i32, ordinal: i32, code: &str) -> Record<&str> {
    Record {
        tenant: 1,
        set: Uuid::from_u128(7),
        lot,
        ordinal,
        code,
        at: DateTime::UNIX_EPOCH,
        returned: false,
    }
}

fn returned(code: &str, at: DateTime<Utc>) -> Record<&str> {
    Record {
        at,
        returned: true,
        ..record(9, 1, code)
    }
}

/// The furthest codes of a lot in the folder, one for each file.
fn furthest(folder: &Path, lot: i32) -> Vec<(i32, String)> {
    let mut records = read(folder).expect("it is there");
    let set = records.sets.remove(&(1, Uuid::from_u128(7)));
    let mut lots = set.unwrap_or_default().lots;
    let lot = lots.remove(&lot).unwrap_or_default().into_iter();
    lot.map(|record| (record.ordinal, record.code)).collect()
}

fn size(folder: &TempDir) -> u64 {
    let file = fs::metadata(folder.path().join("replica-1.jsonl"));
    file.expect("it was made").len()
}

#[test]
fn of_each_lot_the_furthest_code_of_each_replica_is_read() {
    let folder = TempDir::new().expect("a folder");
    let mut first = Journal::new(folder.path());
    let mut second = Journal::new(folder.path());
    let batch = [record(1, 2, "B"), record(1, 3, "C"), record(1, 1, "A")];
    first.record(batch.into_iter()).expect("written");
    let written = size(&folder);
    // A replay of an earlier code.
    first
        .record([record(1, 2, "B")].into_iter())
        .expect("written");
    assert_eq!(size(&folder), written);
    second
        .record([record(1, 5, "E")].into_iter())
        .expect("written");
    let furthest = furthest(folder.path(), 1);
    assert_eq!(furthest, [(5, "E".to_owned()), (3, "C".to_owned())]);
}

#[test]
fn a_replica_continues_the_file_of_one_that_ended_in_the_middle_of_a_line() {
    let folder = TempDir::new().expect("a folder");
    let mut first = Journal::new(folder.path());
    first
        .record([record(1, 5, "E")].into_iter())
        .expect("written");
    drop(first);
    let path = folder.path().join("replica-1.jsonl");
    let mut file = OpenOptions::new().append(true).open(path).expect("a file");
    file.write_all(b"{\"tenant\":1,\"se").expect("written");
    let mut second = Journal::new(folder.path());
    second
        .record([record(2, 1, "X")].into_iter())
        .expect("written");
    assert_eq!(furthest(folder.path(), 1), [(5, "E".to_owned())]);
    assert_eq!(furthest(folder.path(), 2), [(1, "X".to_owned())]);
    assert_eq!(read(folder.path()).expect("it is there").files, 1);
}

#[test]
fn what_could_not_be_written_is_written_with_the_next_code() {
    let folder = TempDir::new().expect("a folder");
    let late = folder.path().join("late");
    let mut journal = Journal::new(&late);
    let at = Utc::now();
    let first = [record(1, 5, "E"), returned("R", at)];
    journal
        .record(first.into_iter())
        .expect_err("there is no folder");
    fs::create_dir(&late).expect("the folder is ours");
    journal
        .record([record(2, 1, "X")].into_iter())
        .expect("written");
    assert_eq!(furthest(&late, 1), [(5, "E".to_owned())]);
    assert_eq!(furthest(&late, 2), [(1, "X".to_owned())]);
    let records = read(&late).expect("it is there");
    let set = records.sets.values().next().expect("a set");
    assert_eq!(set.returned.get("R"), Some(&at));
}

#[test]
fn a_file_of_many_records_is_compacted_to_one_for_each_lot_and_the_returned_codes_of_35_days() {
    let folder = TempDir::new().expect("a folder");
    let mut journal = Journal::new(folder.path());
    let now = Utc::now();
    let old = [
        returned("OLD", now - TimeDelta::days(36)),
        returned("YOUNG", now - TimeDelta::days(34)),
        returned("YOUNG", now - TimeDelta::days(33)),
    ];
    journal.record(old.into_iter()).expect("written");
    let mut largest = 0;
    for ordinal in 1..=20_000 {
        let code = format!("CODE-{ordinal}");
        journal
            .record([record(1, ordinal, &code)].into_iter())
            .expect("written");
        largest = largest.max(size(&folder));
        journal.maintain().expect("maintained");
    }
    assert!(largest > 1 << 20 && largest < (1 << 20) + 1000, "{largest}");
    assert!(size(&folder) < largest);
    assert_eq!(
        furthest(folder.path(), 1),
        [(20_000, "CODE-20000".to_owned())]
    );
    let records = read(folder.path()).expect("it is there");
    let set = records.sets.values().next().expect("a set");
    let kept: Vec<_> = set.returned.iter().collect();
    let last = now - TimeDelta::days(33);
    assert_eq!(kept, [(&"YOUNG".to_owned(), &last)]);
    let file = fs::read_to_string(folder.path().join("replica-1.jsonl")).expect("it was made");
    assert_eq!(file.matches("YOUNG").count(), 1);
    let files = fs::read_dir(folder.path()).expect("it is there");
    assert_eq!(files.count(), 2, "the file and its lock");
}
