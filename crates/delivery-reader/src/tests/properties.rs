//! Properties of any file. The reference for line numbers is a count of the line breaks that the writer of a table wrote.

use std::io::{self, Read};

use proptest::prelude::*;

use super::{
    super::{code::validate, *},
    Short, files, read, read_csv, read_json, read_list, rules,
};

/// Returns a file a few bytes at a time.
#[derive(Clone)]
struct Dribble<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.size.min(buffer.len()).min(self.bytes.len());
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

/// Blank lines before a file, enough that its bytes cross the end of the readers' buffer.
fn padding() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(0), 65_236..=65_536_usize].prop_map(|length| vec![b'\n'; length])
}

/// A cell of characters that are special to a parser.
fn cell() -> impl Strategy<Value = String> {
    let characters = prop::sample::select(vec![
        "A", "b", "é", " ", "\"", ",", ";", "\n", "\r", "\r\n", "\t", "\0", "|",
    ]);
    prop::collection::vec(characters, 0..8).prop_map(|characters| characters.concat())
}

fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (1..5_usize)
        .prop_flat_map(|width| prop::collection::vec(prop::collection::vec(cell(), width), 1..12))
}

fn line_breaks(text: &str) -> u32 {
    let breaks = text.replace("\r\n", "\n").matches(['\n', '\r']).count();
    u32::try_from(breaks).expect("a short text")
}

/// Formats a table as a file, with the rows that its reading must return.
fn written(
    table: &[Vec<String>],
    delimiter: Delimiter,
    crlf: bool,
    quoted: bool,
    column: usize,
) -> (Vec<u8>, Vec<Short>) {
    let terminator = if crlf {
        ::csv::Terminator::CRLF
    } else {
        ::csv::Terminator::Any(b'\n')
    };
    let (mut file, mut rows) = (Vec::new(), Vec::new());
    for cells in table {
        let line = line_breaks(str::from_utf8(&file).expect("UTF-8")) + 1;
        let mut writer = ::csv::WriterBuilder::new()
            .delimiter(delimiter.byte())
            .terminator(terminator)
            .quote_style(if quoted {
                ::csv::QuoteStyle::Always
            } else {
                ::csv::QuoteStyle::Necessary
            })
            .from_writer(Vec::new());
        writer.write_record(cells).expect("a row");
        file.extend(writer.into_inner().expect("a row"));
        let code = validate(&cells[column], 255).map_err(|rejection| rejection.reason);
        if cells.len() > 1 || code != Err(RejectionReason::Empty) {
            rows.push((line, code));
        }
    }
    (file, rows)
}

fn delimiters() -> impl Strategy<Value = Delimiter> {
    prop::sample::select(vec![
        Delimiter::Comma,
        Delimiter::Semicolon,
        Delimiter::Tab,
        Delimiter::Pipe,
    ])
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let trouble = prop::sample::select(b"\"\",;\n\r\0A\xe9 \xef\xbb\xbf\x1f".to_vec());
    prop::collection::vec(prop_oneof![4 => trouble, 1 => any::<u8>()], 0..300)
}

fn any_options() -> impl Strategy<Value = TableOptions> {
    let column = || prop::sample::select(vec![None, Some("1"), Some("2"), Some("code")]);
    (
        prop::option::of(delimiters()),
        any::<Option<bool>>(),
        column(),
        column(),
    )
        .prop_map(|(delimiter, header, codes, expiries)| TableOptions {
            delimiter,
            header,
            code_column: codes.map(str::to_owned),
            expires_at_column: expiries.map(str::to_owned),
            ..TableOptions::default()
        })
}

/// Encodes a text in an encoding that has all of its characters.
fn encoded(text: &str, encoding: u8) -> Vec<u8> {
    let marked = || format!("\u{feff}{text}");
    match encoding {
        0 => text.as_bytes().to_vec(),
        1 => marked().into_bytes(),
        2 => marked().encode_utf16().flat_map(u16::to_le_bytes).collect(),
        3 => marked().encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => encoding_rs::WINDOWS_1252.encode(text).0.into_owned(),
    }
}

fn packed(bytes: Vec<u8>, packing: u8) -> Vec<u8> {
    match packing {
        0 => bytes,
        1 => files::gzip(&bytes),
        2 => files::zip(&[("codes.csv", &bytes)]),
        _ => files::gzip(&files::zip(&[("codes.csv", &bytes)])),
    }
}

/// Bytes that begin like one of the formats, or a valid file with some bytes changed.
fn half_a_format() -> impl Strategy<Value = Vec<u8>> {
    let begun = prop::sample::select(vec![
        &b""[..],
        b"\x1f\x8b\x08\0",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\xff\xfe",
        b"\xfe\xff",
    ]);
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let begun = (begun, noise).prop_map(|(begun, noise)| [begun, &noise].concat());
    let good = prop::sample::select(vec![
        files::gzip(b"code;n\nA;1\n"),
        files::zip(&[("a.csv", b"code;n\nA;1\n")]),
        files::sheet_of(&[&["code", "n"], &["A", "1"]]),
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let broken = (good, changes).prop_map(|(mut bytes, changes)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    });
    prop_oneof![begun, broken]
}

proptest! {
    #[test]
    fn a_table_reads_back_from_any_encoding_and_packing(
        table in table(),
        delimiter in delimiters(),
        crlf in any::<bool>(),
        quoted in any::<bool>(),
        column in any::<prop::sample::Index>(),
        encoding in 0..5_u8,
        packing in 0..4_u8,
    ) {
        let column = column.index(table[0].len());
        let (file, expected) = written(&table, delimiter, crlf, quoted, column);
        let text = String::from_utf8(file).expect("UTF-8");
        let declared = match encoding {
            4 => Some(encoding_rs::WINDOWS_1252),
            // A text with many of them may be valid UTF-16.
            0 if text.contains('\0') => Some(encoding_rs::UTF_8),
            _ => None,
        };
        let options = TableOptions {
            delimiter: Some(delimiter),
            header: Some(false),
            code_column: Some((column + 1).to_string()),
            encoding: declared,
            ..TableOptions::default()
        };
        match files::deliver(&packed(encoded(&text, encoding), packing), &options) {
            Ok((_, rows)) => prop_assert_eq!(rows, expected),
            Err(ReadError::Fault(DeliveryFault::Empty)) => prop_assert!(expected.is_empty()),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_sheet_reads_back(
        codes in prop::collection::vec("[A-Z0-9]{1,8}", 1..20),
    ) {
        let rows: Vec<[&str; 2]> = codes.iter().map(|code| [code.as_str(), "x"]).collect();
        let rows: Vec<&[&str]> = [&["code", "n"][..]].into_iter().chain(rows.iter().map(|row| &row[..])).collect();
        prop_assert_eq!(files::codes(&files::sheet_of(&rows)), codes);
    }

    #[test]
    fn no_bytes_break_the_reading_or_the_preview(bytes in half_a_format(), options in any_options()) {
        let _ = files::deliver(&bytes, &options);
        let hint = ContentTypeHint { format: TextFormat::Csv, gzip: false };
        let _ = sample::<()>(files::file(&bytes), hint, false, &options, rules(), &files::limits());
    }

    #[test]
    fn a_written_table_reads_back_with_exact_lines(
        table in table(),
        delimiter in delimiters(),
        crlf in any::<bool>(),
        quoted in any::<bool>(),
        column in any::<prop::sample::Index>(),
        padding in padding(),
    ) {
        let column = column.index(table[0].len());
        let (file, mut expected) = written(&table, delimiter, crlf, quoted, column);
        let before = u32::try_from(padding.len()).expect("a short padding");
        for row in &mut expected {
            row.0 += before;
        }
        let options = TableOptions {
            delimiter: Some(delimiter),
            header: Some(false),
            code_column: Some((column + 1).to_string()),
            ..TableOptions::default()
        };
        match read(padding.chain(&file[..]), &options) {
            Ok((_, rows)) => prop_assert_eq!(rows, expected),
            Err(ReadError::Fault(DeliveryFault::Empty)) => prop_assert!(expected.is_empty()),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn the_size_of_the_reads_does_not_matter(
        padding in padding(),
        file in anything(),
        options in any_options(),
        size in 1..8_usize,
    ) {
        let file = [padding, file].concat();
        let pieces = Dribble { bytes: &file, size };
        let csv = |input: &mut dyn Read| format!("{:?}", read(input, &options));
        prop_assert_eq!(csv(&mut &file[..]), csv(&mut pieces.clone()));
        let list = |input: &mut dyn Read| {
            let mut rows = Vec::new();
            let result = read_list(input, rules(), &mut |row| { rows.push(row); Ok::<(), ()>(()) });
            format!("{rows:?} {result:?}")
        };
        prop_assert_eq!(list(&mut &file[..]), list(&mut pieces.clone()));
        let json = |input: &mut dyn Read| {
            let mut rows = Vec::new();
            let result = read_json(input, rules(), &mut |row| { rows.push(row); Ok::<(), ()>(()) });
            format!("{rows:?} {result:?}")
        };
        prop_assert_eq!(json(&mut &file[..]), json(&mut pieces.clone()));
    }

    #[test]
    fn a_written_json_body_reads_back(
        padding in padding(),
        codes in prop::collection::vec(cell(), 1..20),
        size in 1..8_usize,
    ) {
        let body = serde_json::json!({ "codes": codes }).to_string();
        let mut read = Vec::new();
        let pieces = Dribble { bytes: body.as_bytes(), size };
        read_json(padding.chain(pieces), rules(), &mut |row| {
            read.push((row.line, row.code));
            Ok::<(), ()>(())
        }).expect("a correct body");
        let expected: Vec<_> = (1..).zip(codes.iter().map(|code| validate(code, 255))).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_bytes_give_short_rows_in_order(file in anything(), options in any_options()) {
        let mut last = 0;
        let _ = read_csv(&file[..], &options, rules(), &mut |row| {
            assert!(row.line > last, "lines rise");
            last = row.line;
            match row.code {
                Ok(code) => assert_eq!(validate(&code, 255), Ok(code.clone())),
                Err(rejection) => {
                    assert!(rejection.code.chars().count() <= 256);
                    assert!(!rejection.code.contains(char::is_control));
                }
            }
            Ok::<(), ()>(())
        });
    }
}
