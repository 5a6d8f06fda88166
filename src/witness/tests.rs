use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use uuid::Uuid;

use super::journal::Journal;
use super::{Record, read};

fn import(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The record of a code of the import of this number.
fn record(number: u128, ordinal: i32, code: &str) -> Record<&str> {
    Record {
        tenant: 1,
        set: Uuid::from_u128(7),
        import: Some(import(number)),
        ordinal,
        code,
        at: DateTime::UNIX_EPOCH,
    }
}

fn returned(code: &str, at: DateTime<Utc>) -> Record<&str> {
    Record {
        at,
        import: None,
        ..record(9, 1, code)
    }
}

#[track_caller]
fn write(journal: &Journal, record: Record<&str>) {
    journal.record([record].into_iter()).expect("written");
}

/// The furthest codes of an import in the folder, one for each file.
fn furthest(folder: &Path, number: u128) -> Vec<(i32, String)> {
    let mut records = read(folder).expect("it is there");
    let set = records.sets.remove(&(1, Uuid::from_u128(7)));
    let mut imports = set.unwrap_or_default().imports;
    let records = imports.remove(&import(number)).unwrap_or_default();
    let place = |record: Record<String>| (record.ordinal, record.code);
    records.into_iter().map(place).collect()
}

fn size(folder: &TempDir) -> u64 {
    let file = fs::metadata(folder.path().join("replica-1.jsonl"));
    file.expect("it was made").len()
}

/// Assigns codes of the first import until the file can be compacted. Returns the number of codes.
fn grow(journal: &Journal, folder: &TempDir) -> i32 {
    let mut ordinal = 0;
    while ordinal == 0 || size(folder) <= 1 << 20 {
        ordinal += 1;
        write(journal, record(1, ordinal, &format!("CODE-{ordinal}")));
    }
    ordinal
}

#[test]
fn of_each_import_the_furthest_code_of_each_replica_is_read() {
    let folder = TempDir::new().expect("a folder");
    let first = Journal::new(folder.path());
    let second = Journal::new(folder.path());
    let batch = [record(1, 2, "B"), record(1, 3, "C"), record(1, 1, "A")];
    first.record(batch.into_iter()).expect("written");
    let written = size(&folder);
    // A replay of an earlier code.
    write(&first, record(1, 2, "B"));
    assert_eq!(size(&folder), written);
    write(&second, record(1, 5, "E"));
    let furthest = furthest(folder.path(), 1);
    assert_eq!(furthest, [(5, "E".to_owned()), (3, "C".to_owned())]);
}

#[test]
fn a_replica_continues_the_file_of_one_that_ended_in_the_middle_of_a_line() {
    let folder = TempDir::new().expect("a folder");
    let first = Journal::new(folder.path());
    write(&first, record(1, 5, "E"));
    drop(first);
    let path = folder.path().join("replica-1.jsonl");
    let mut file = OpenOptions::new().append(true).open(path).expect("a file");
    file.write_all(b"{\"tenant\":1,\"se").expect("written");
    let second = Journal::new(folder.path());
    write(&second, record(2, 1, "X"));
    assert_eq!(furthest(folder.path(), 1), [(5, "E".to_owned())]);
    assert_eq!(furthest(folder.path(), 2), [(1, "X".to_owned())]);
    assert_eq!(read(folder.path()).expect("it is there").files, 1);
}

/// Records an assignment and a returned code where no folder is, makes the folder, and calls `retry`.
fn caught_up(retry: impl FnOnce(&Journal)) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let late = folder.path().join("late");
    let journal = Journal::new(&late);
    let at = Utc::now();
    let first = [record(1, 5, "E"), returned("R", at)];
    journal
        .record(first.into_iter())
        .expect_err("there is no folder");
    fs::create_dir(&late).expect("the folder is ours");
    retry(&journal);
    assert_eq!(furthest(&late, 1), [(5, "E".to_owned())]);
    let records = read(&late).expect("it is there");
    let set = records.sets.values().next().expect("a set");
    assert_eq!(set.returned.get("R"), Some(&at));
    (folder, late)
}

#[test]
fn what_could_not_be_written_is_written_with_the_next_code() {
    let (_folder, late) = caught_up(|journal| write(journal, record(2, 1, "X")));
    assert_eq!(furthest(&late, 2), [(1, "X".to_owned())]);
}

#[test]
fn what_could_not_be_written_is_written_with_the_next_sync() {
    caught_up(|journal| journal.sync().expect("synced"));
}

#[test]
fn of_more_than_can_wait_for_a_write_the_furthest_code_of_each_import_is_kept() {
    let folder = TempDir::new().expect("a folder");
    let late = folder.path().join("late");
    let journal = Journal::new(&late);
    // 20 MB.
    let code = "C".repeat(10_000);
    for ordinal in 1..=1000 {
        let both = [record(1, ordinal, &code), returned(&code, Utc::now())];
        let written = journal.record(both.into_iter());
        written.expect_err("there is no folder");
    }
    fs::create_dir(&late).expect("the folder is ours");
    journal.sync().expect("synced");
    assert_eq!(furthest(&late, 1), [(1000, code)]);
    assert!(
        fs::metadata(late.join("replica-1.jsonl"))
            .expect("it was made")
            .len()
            < 5 << 20
    );
}

#[test]
fn a_file_of_many_records_is_compacted_to_one_for_each_import_and_the_returned_codes_of_35_days() {
    let folder = TempDir::new().expect("a folder");
    let journal = Journal::new(folder.path());
    let now = Utc::now();
    let old = [
        returned("OLD", now - TimeDelta::days(36)),
        returned("YOUNG", now - TimeDelta::days(34)),
        returned("YOUNG", now - TimeDelta::days(33)),
    ];
    journal.record(old.into_iter()).expect("written");
    write(&journal, record(2, 4, "D"));
    let small = size(&folder);
    journal.compact().expect("compacted");
    assert_eq!(size(&folder), small);
    let last = grow(&journal, &folder);
    journal.compact().expect("compacted");
    assert!(size(&folder) < 1000, "{}", size(&folder));
    let code = format!("CODE-{last}");
    assert_eq!(furthest(folder.path(), 1), [(last, code)]);
    assert_eq!(furthest(folder.path(), 2), [(4, "D".to_owned())]);
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

#[test]
fn codes_that_are_assigned_during_a_compaction_are_recorded() {
    let folder = TempDir::new().expect("a folder");
    let journal = Journal::new(folder.path());
    let last = grow(&journal, &folder);
    let compaction = journal.begin_compaction().expect("written");
    write(&journal, record(1, last + 1, "NEXT"));
    write(&journal, record(2, 1, "X"));
    journal
        .end_compaction(compaction.expect("it was time"))
        .expect("replaced");
    write(&journal, record(3, 1, "Y"));
    assert!(size(&folder) < 2000, "{}", size(&folder));
    assert_eq!(furthest(folder.path(), 1), [(last + 1, "NEXT".to_owned())]);
    assert_eq!(furthest(folder.path(), 2), [(1, "X".to_owned())]);
    assert_eq!(furthest(folder.path(), 3), [(1, "Y".to_owned())]);
}

#[test]
fn an_assignment_does_not_wait_for_a_compaction() {
    let folder = TempDir::new().expect("a folder");
    let journal = Journal::new(folder.path());
    // More than a pipe holds, so that the compaction waits in the middle.
    let code = "C".repeat(1000);
    for number in 1..=1000 {
        write(&journal, record(number, 1, &code));
    }
    let pipe = folder.path().join("replica-1.new");
    let access = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, &pipe, FileType::Fifo, access, 0).expect("the folder is ours");
    thread::scope(|scope| {
        let compaction = scope.spawn(|| journal.compact());
        let begun = File::open(&pipe).expect("the compaction opens it");
        // Would never end.
        write(&journal, record(1, 2, "NEXT"));
        drop(begun);
        let compacted = compaction.join().expect("no panic");
        compacted.expect_err("nothing reads the pipe");
    });
    write(&journal, record(2, 2, "LAST"));
    assert_eq!(furthest(folder.path(), 1), [(2, "NEXT".to_owned())]);
    assert_eq!(furthest(folder.path(), 2), [(2, "LAST".to_owned())]);
}

#[test]
fn a_crash_during_a_compaction_loses_no_record() {
    let folder = TempDir::new().expect("a folder");
    let journal = Journal::new(folder.path());
    let last = grow(&journal, &folder);
    let compaction = journal.begin_compaction().expect("written");
    write(&journal, record(2, 1, "X"));
    drop((journal, compaction));
    let code = format!("CODE-{last}");
    assert_eq!(furthest(folder.path(), 1), [(last, code.clone())]);
    assert_eq!(furthest(folder.path(), 2), [(1, "X".to_owned())]);

    // What it left does not disturb the next one.
    let next = Journal::new(folder.path());
    write(&next, record(3, 1, "Y"));
    next.compact().expect("compacted");
    assert!(size(&folder) < 2000, "{}", size(&folder));
    assert_eq!(furthest(folder.path(), 1), [(last, code)]);
    assert_eq!(furthest(folder.path(), 2), [(1, "X".to_owned())]);
    assert_eq!(furthest(folder.path(), 3), [(1, "Y".to_owned())]);
}
