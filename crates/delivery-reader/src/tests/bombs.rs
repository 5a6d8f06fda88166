//! Deliveries that are made to exhaust memory or disk: each is stopped by a limit.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};

use super::{
    super::{
        archive::Archive,
        attributes,
        workbook::{Workbook, WorkbookFile},
        *,
    },
    files::{deliver, deliver_as, fault, file, limits, workbook, zip},
    read_csv, read_json, read_list, rules,
};

/// Repeats a pattern up to a number of bytes.
struct Endless {
    pattern: &'static [u8],
    left: usize,
}

fn endless(pattern: &'static [u8]) -> Endless {
    Endless {
        pattern,
        left: 8 << 20,
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.left) / self.pattern.len() * self.pattern.len();
        for piece in buffer[..count].chunks_exact_mut(self.pattern.len()) {
            piece.copy_from_slice(self.pattern);
        }
        self.left -= count;
        Ok(count)
    }
}

/// A gzip member that unpacks to mebibytes of one byte.
fn gzip_bomb(byte: u8, mebibytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let block = vec![byte; 1 << 20];
    for _ in 0..mebibytes {
        encoder.write_all(&block).expect("memory");
    }
    encoder.finish().expect("memory")
}

fn small() -> Limits {
    Limits {
        max_inner_bytes: 4 << 20,
        max_unpacked_bytes: 5 << 20,
        ..limits()
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = gzip_bomb(b'x', 40);
    assert!(bomb.len() < 1 << 20, "it is packed well");
    let limit = 5 << 20;
    for bytes in [bomb.clone(), zip(&[("codes.csv", &vec![b'x'; 40 << 20])])] {
        let read = deliver_as(
            TextFormat::Csv,
            false,
            &bytes,
            &TableOptions::default(),
            &small(),
        );
        assert_eq!(fault(read), DeliveryFault::UnpackedTooLarge { limit });
    }
    // A bomb in a bomb is unpacked into a file, and not past the limit either.
    let mut nested = GzEncoder::new(Vec::new(), Compression::fast());
    nested.write_all(&gzip_bomb(b'\n', 1)).expect("memory");
    nested.write_all(&vec![0; 40 << 20]).expect("memory");
    let nested = nested.finish().expect("memory");
    let limit = 4 << 20;
    let read = deliver_as(
        TextFormat::Csv,
        false,
        &nested,
        &TableOptions::default(),
        &small(),
    );
    assert_eq!(fault(read), DeliveryFault::UnpackedTooLarge { limit });
}

#[test]
fn a_declared_size_in_a_zip_is_not_trusted() {
    let mut bytes = zip(&[("codes.csv", &vec![b'x'; 40 << 20])]);
    let directory = bytes
        .windows(4)
        .position(|it| it == b"PK\x01\x02")
        .expect("a directory");
    bytes[22..26].copy_from_slice(&10_u32.to_le_bytes());
    bytes[directory + 24..directory + 28].copy_from_slice(&10_u32.to_le_bytes());
    let read = deliver_as(
        TextFormat::Csv,
        false,
        &bytes,
        &TableOptions::default(),
        &small(),
    );
    assert_eq!(
        fault(read),
        DeliveryFault::UnpackedTooLarge { limit: 5 << 20 }
    );
}

#[test]
fn a_directory_of_a_million_files_is_not_held() {
    // Built by hand: the writer of a library would take minutes.
    let entry = {
        let mut entry = b"PK\x01\x02".to_vec();
        entry.extend([0; 24]);
        entry.extend([10, 0]);
        entry.extend([0; 16]);
        entry
    };
    let count = 200_000_u32;
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.resize(1 << 20, 0);
    let start = bytes.len();
    for number in 0..count {
        bytes.extend(&entry);
        bytes.extend(format!("{number:010}").bytes());
    }
    let size = bytes.len() - start;
    // The record of large archives, which counts past 65,535.
    let place = bytes.len() as u64;
    bytes.extend(b"PK\x06\x06");
    bytes.extend(44_u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(u64::from(count).to_le_bytes());
    bytes.extend(u64::from(count).to_le_bytes());
    bytes.extend((size as u64).to_le_bytes());
    bytes.extend((start as u64).to_le_bytes());
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend(place.to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([0xff; 12]);
    bytes.extend([0, 0]);
    assert_eq!(
        fault(deliver(&bytes, &TableOptions::default())),
        DeliveryFault::TooManyFiles
    );
}

fn open_workbook(bytes: &[u8], limits: (u64, u64)) -> Result<u64, DeliveryFault> {
    let archive = Archive::open(&Arc::new(file(bytes))).expect("an archive");
    let run = || -> io::Result<u64> {
        let mut workbook = Workbook::open(WorkbookFile::Xlsx(archive), None, limits)?;
        let mut rows = workbook.rows()?;
        let mut count = 0;
        while table::Records::next::<io::Error>(&mut rows, |_, _| ())
            .map_err(|error| match error {
                ReadError::Fault(fault) => fault.into(),
                other => io::Error::other(other.to_string()),
            })?
            .is_some()
        {
            count += 1;
        }
        Ok(count)
    };
    run().map_err(|error| fault_of(&error).expect("a fault").clone())
}

#[test]
fn a_workbook_has_limits_of_its_own() {
    let cell = r#"<row><c t="inlineStr"><is><t>A</t></is></c></row>"#;
    let sheet = cell.repeat(100_000);
    let bomb = workbook(&[("\"Sheet1\"", &sheet)], "", "");
    let strings = workbook(
        &[("\"Sheet1\"", cell)],
        "",
        &"<si><t>A</t></si>".repeat(300_000),
    );
    let mebibytes = |count: u64| count << 20;
    assert_eq!(
        open_workbook(&bomb, (mebibytes(1), mebibytes(8))),
        Ok(100_000)
    );
    let too_large = Err(DeliveryFault::UnpackedTooLarge {
        limit: mebibytes(4),
    });
    assert_eq!(
        open_workbook(&bomb, (mebibytes(1), mebibytes(4))),
        too_large
    );
    assert_eq!(
        open_workbook(&strings, (mebibytes(1), mebibytes(4))),
        too_large
    );
    let limit = 1_000;
    assert_eq!(
        open_workbook(&bomb, (limit, mebibytes(8))),
        Err(DeliveryFault::WorkbookTooLarge { limit })
    );
}

#[test]
fn a_token_of_markup_has_a_limit() {
    let damaged = Err(DeliveryFault::Damaged { what: "workbook" });
    let long = "x".repeat(3 << 20);
    for xml in [
        format!("<row><c t=\"str\"><v>{long}</v></c></row>"),
        format!("<row a=\"{long}\"></row>"),
        format!("<!--{long}-->"),
    ] {
        let book = workbook(&[("\"Sheet1\"", &xml)], "", "");
        assert_eq!(open_workbook(&book, (1 << 20, 8 << 20)), damaged);
    }
    // Deep nesting and a cell of many tokens are read without being held.
    let deep = "<x>".repeat(1 << 20);
    let book = workbook(&[("\"Sheet1\"", &deep)], "", "");
    assert_eq!(open_workbook(&book, (1 << 20, 8 << 20)), Ok(0));
    let many = format!(
        "<row><c t=\"str\"><v>{}</v></c></row>",
        "<![CDATA[x]]>&#120;".repeat(200_000)
    );
    let book = workbook(&[("\"Sheet1\"", &many)], "", "");
    assert_eq!(open_workbook(&book, (1 << 20, 8 << 20)), Ok(1));
}

#[test]
fn a_workbook_has_no_more_styles_than_a_program_writes() {
    let open = |count| {
        let styles = format!(
            "<numFmts><numFmt numFmtId=\"9\" formatCode=\"{}\"/></numFmts><cellXfs>{}</cellXfs>",
            "0".repeat(1_000_000),
            "<xf numFmtId=\"9\"/>".repeat(count)
        );
        let cell = "<row><c s=\"1\"><v>7</v></c></row>";
        let book = workbook(&[("\"Sheet1\"", cell)], &styles, "");
        open_workbook(&book, (1 << 20, 8 << 20))
    };
    // Each of them would hold a copy of the million zeros.
    assert_eq!(open(60_000), Ok(1));
    let damaged = Err(DeliveryFault::Damaged { what: "workbook" });
    assert_eq!(open(70_000), damaged);
}

#[test]
fn endless_lines_cells_columns_and_quotes_have_an_end() {
    let count = |input: Endless, options: &TableOptions| {
        let mut rows = 0_u64;
        let read = read_csv(input, options, rules(), &mut |_| {
            rows += 1;
            Ok::<(), ()>(())
        });
        (rows, read)
    };
    let comma = TableOptions {
        delimiter: Some(Delimiter::Comma),
        header: Some(false),
        code_column: Some("1".to_owned()),
        attribute_columns: Some("2,3".to_owned()),
        ..TableOptions::default()
    };
    let (rows, read) = count(endless(b"x"), &TableOptions::default());
    assert!(read.is_ok() && rows == 1);
    let (rows, read) = count(endless(b"x,"), &comma);
    assert!(read.is_ok() && rows == 1);
    let (rows, read) = count(endless(b"\n"), &comma);
    assert!(matches!(read, Err(ReadError::Fault(DeliveryFault::Empty))) && rows == 0);
    let (rows, read) = count(endless(b" "), &TableOptions::default());
    assert!(matches!(read, Err(ReadError::Fault(DeliveryFault::Empty))) && rows == 0);
    let quoted = io::Read::chain(&b"A,\""[..], endless(b"x\n"));
    let read = read_csv(quoted, &TableOptions::default(), rules(), &mut |_| {
        Ok::<(), ()>(())
    });
    assert!(
        matches!(read, Err(ReadError::UnclosedQuote { line: 1 })),
        "{read:?}"
    );
    let mut words = 0;
    let read = read_list(endless(b"x"), rules(), &mut |_| {
        words += 1;
        Ok::<(), ()>(())
    });
    assert!(read.is_ok() && words == 1);
    let read = read_json(
        io::Read::chain(&b"{\"codes\": [\""[..], endless(b"x")),
        rules(),
        &mut |_| Ok::<(), ()>(()),
    );
    assert!(matches!(read, Err(ReadError::Fields(_))));
}

#[test]
fn ten_thousand_columns_are_read_and_not_all_held() {
    let header: Vec<String> = (1..=10_000).map(|n| format!("c{n}")).collect();
    let file = format!(
        "code,{}\nA1,{}\n",
        header.join(","),
        vec!["x"; 10_000].join(",")
    );
    let (_, rows) = deliver(file.as_bytes(), &TableOptions::default()).expect("a table");
    assert_eq!(rows, [(2, Ok("A1".to_owned()))]);
    let all = TableOptions {
        attribute_columns: Some("*".to_owned()),
        ..TableOptions::default()
    };
    let columns = header::MAX_COLUMNS - 1;
    assert!(columns > attributes::MAX_ATTRIBUTES);
    assert_eq!(
        fault(deliver(file.as_bytes(), &all)),
        DeliveryFault::TooManyAttributes { columns }
    );
}
