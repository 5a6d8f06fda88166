//! Shared code of the fuzz targets: reads a delivery, and checks the rows.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, Write};

use delivery_reader::{
    ContentTypeHint, Delimiter, DeliveryReader, Limits, ReadError, Row, RowRules, TableOptions,
    TextFormat, WorkbookSemaphore, sample,
};

/// Small, so that a package that unpacks to many bytes does not slow down the run.
const MAX_UNPACKED_BYTES: u64 = 1 << 20;
const MAX_CODE_CHARS: usize = 255;

/// Derives options of a table from one byte of the input.
pub fn table_options(byte: u8) -> TableOptions {
    let delimiters = [
        None,
        Some(Delimiter::Comma),
        Some(Delimiter::Semicolon),
        Some(Delimiter::Tab),
    ];
    let column = |bit: u8, name: &str| (byte & bit != 0).then(|| name.to_owned());
    TableOptions {
        delimiter: delimiters[usize::from(byte & 3)],
        header: [None, Some(true), Some(false), None][usize::from(byte >> 2 & 3)],
        code_column: column(16, "1"),
        expires_at_column: column(32, "2"),
        attribute_columns: column(64, "*"),
        sheet: column(128, "b").filter(|_| byte & 64 == 0),
        ..TableOptions::default()
    }
}

/// Previews and reads a delivery. Panics if a row breaks a rule, or if an error is not a fault of the bytes.
pub fn read(bytes: &[u8], hint: ContentTypeHint, options: &TableOptions) {
    let limits = Limits {
        max_inner_bytes: MAX_UNPACKED_BYTES,
        max_unpacked_bytes: MAX_UNPACKED_BYTES,
        workbooks: WorkbookSemaphore::default(),
    };
    let rules = RowRules {
        zone: chrono_tz::Europe::Madrid,
        max_code_chars: MAX_CODE_CHARS,
    };
    for whole in [false, true] {
        if hint.format != TextFormat::Json {
            check_error(sample(file(bytes), hint, whole, options, rules, &limits).err());
        }
    }
    let mut last_line = 0;
    let delivery = DeliveryReader::open(file(bytes), hint, options, &limits);
    let layout = delivery.and_then(|delivery| {
        delivery.read(options, rules, &mut |row| {
            check(&row);
            if hint.format == TextFormat::Json {
                assert!(row.line > last_line, "elements are numbered in order");
            }
            last_line = row.line;
            Ok(())
        })
    });
    match layout {
        Ok(layout) => assert!(
            layout
                .table
                .is_none_or(|table| !table.code_column.is_empty())
        ),
        Err(error) => check_error(Some(error)),
    }
}

/// The file can be read and the permit is free, so each error must be a fault of the bytes.
fn check_error(error: Option<ReadError<()>>) {
    assert!(
        !matches!(
            error,
            Some(ReadError::Io(_) | ReadError::Busy | ReadError::Sink(()))
        ),
        "{error:?}"
    );
}

fn check(row: &Row) {
    match &row.code {
        Ok(code) => {
            assert!(!code.is_empty());
            assert!(code.chars().count() <= MAX_CODE_CHARS);
            assert!(!code.contains(char::is_control));
        }
        Err(rejection) => {
            assert!(rejection.code.chars().count() <= 256);
            assert!(!rejection.code.contains(char::is_control));
            assert_eq!((row.expires_at, &row.attributes), (None, &None));
        }
    }
    if let Some(attributes) = &row.attributes {
        let attributes: serde_json::Value = serde_json::from_str(attributes).expect("JSON");
        let attributes = attributes.as_object().expect("an object");
        assert!((1..=50).contains(&attributes.len()));
        assert!(attributes.values().all(serde_json::Value::is_string));
    }
}

/// A handle of one temporary file with these bytes; the previous bytes are overwritten.
fn file(bytes: &[u8]) -> File {
    thread_local! {
        static FILE: RefCell<File> = RefCell::new(tempfile::tempfile().expect("a file"));
    }
    FILE.with_borrow_mut(|file| {
        file.set_len(0).expect("an empty file");
        file.rewind().expect("its start");
        file.write_all(bytes).expect("room for it");
        file.rewind().expect("its start");
        file.try_clone().expect("a handle")
    })
}
