//! CSV files.

use std::io::{self, Read};

use super::{super::*, Short, read, read_csv, rules};

fn options(
    delimiter: Option<&str>,
    header: Option<bool>,
    code_column: Option<&str>,
) -> TableOptions {
    TableOptions {
        delimiter: delimiter.map(|text| text.parse().expect("a delimiter")),
        header,
        code_column: code_column.map(str::to_owned),
        ..TableOptions::default()
    }
}

fn guessed(input: &str) -> (TableLayout, Vec<Short>) {
    read(input.as_bytes(), &TableOptions::default()).expect("a readable file")
}

fn rows(input: &str) -> Vec<Short> {
    guessed(input).1
}

fn fault(input: &[u8], options: &TableOptions) -> DeliveryFault {
    match read(input, options) {
        Err(ReadError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn row(line: u32, code: &str) -> Short {
    (line, Ok(code.to_owned()))
}

#[test]
fn the_code_column_is_read_and_the_others_are_not() {
    let (layout, rows) = guessed("id;Codes;note\r\n1;A1;\"x;\ny\"\r\n2; A2 ;\r\n");
    assert_eq!(rows, [row(2, "A1"), row(4, "A2")]);
    assert_eq!(layout.delimiter, Some(Delimiter::Semicolon));
    assert!(layout.header);
    assert_eq!(layout.code_column, "Codes");
}

#[test]
fn a_file_of_one_column_needs_no_header_and_no_delimiter() {
    let (layout, rows) = guessed("A1\nA,2\nA3\nA;4");
    assert_eq!(
        rows,
        [row(1, "A1"), row(2, "A,2"), row(3, "A3"), row(4, "A;4")]
    );
    assert_eq!((layout.delimiter, layout.header), (None, false));
    assert_eq!(layout.code_column, "1");
}

#[test]
fn the_first_row_is_a_row_unless_it_is_a_header() {
    let number_2 = options(None, None, Some("2"));
    let (layout, rows) = read(&b"1,A1\n2,A2\n"[..], &number_2).expect("two columns");
    assert_eq!(rows, [row(1, "A1"), row(2, "A2")]);
    assert_eq!((layout.header, layout.code_column.as_str()), (false, "2"));
    let (_, rows) =
        read(&b"code\nA1\n"[..], &options(None, Some(false), None)).expect("one column");
    assert_eq!(rows, [row(1, "code"), row(2, "A1")]);
    let (layout, rows) =
        read(&b"Mine\nA1\n"[..], &options(None, Some(true), None)).expect("one column");
    assert_eq!(
        (layout.code_column.as_str(), rows),
        ("Mine", vec![row(2, "A1")])
    );
}

#[test]
fn an_expiry_column_is_read() {
    let options = TableOptions {
        expires_at_column: Some("until".to_owned()),
        ..TableOptions::default()
    };
    let file = "Until;code\n2026-12-31;A1\n \u{a0};A2\n;A3\nsoon;A4\ncaf\u{e9};\n2026-12-31\n;\n 2026-07-01T12:00 ;A5\n\n";
    let mut rows = Vec::new();
    let in_madrid = RowRules {
        zone: Tz::Europe__Madrid,
        ..rules()
    };
    let layout = read_csv(file.as_bytes(), &options, in_madrid, &mut |row| {
        let code = row
            .code
            .unwrap_or_else(|it| format!("{}: {:?}", it.code, it.reason));
        let expiry = row.expires_at.map(|at| at.format("%F %R").to_string());
        rows.push((row.line, code, expiry.unwrap_or_default()));
        Ok::<(), ()>(())
    })
    .expect("two columns");
    assert_eq!(layout.expires_at_column.as_deref(), Some("Until"));
    let expected = [
        (2, "A1", "2026-12-31 23:00"),
        (3, "A2", ""),
        (4, "A3", ""),
        (5, "A4: BadDate", ""),
        (6, ": Empty", ""),
        (7, ": Empty", ""),
        (8, ": Empty", ""),
        (9, "A5", "2026-07-01 10:00"),
    ];
    assert_eq!(
        rows,
        expected.map(|(line, code, expiry)| (line, code.to_owned(), expiry.to_owned()))
    );
}

#[test]
fn an_expiry_that_is_not_text_is_a_bad_date() {
    let options = TableOptions {
        expires_at_column: Some("2".to_owned()),
        ..TableOptions::default()
    };
    let long = " ".repeat(5_000) + "2026-12-31";
    let file = [
        b"code,until\nA,caf\xe9\nB,",
        "x".repeat(5_000).as_bytes(),
        b"\nC,",
        long.as_bytes(),
        b"\n",
    ]
    .concat();
    let rows = read(&file[..], &options).expect("two columns").1;
    assert_eq!(
        rows,
        [
            (2, Err(RejectionReason::BadDate)),
            (3, Err(RejectionReason::BadDate)),
            row(4, "C")
        ]
    );
}

#[test]
fn a_blank_line_is_not_a_row() {
    let expected = [row(3, "A1"), row(7, "A2")];
    assert_eq!(rows("\n   \nA1\n\n\t \n\"\"\nA2\n\n"), expected);
    assert_eq!(
        rows("\r\n   \r\nA1\r\n\r\n\u{a0}\u{feff}\r\n\"  \"\r\nA2\r\n\r\n"),
        expected
    );
    let wide = read(&b"id,code\n\n1,A1\n  \n2,A2"[..], &TableOptions::default())
        .expect("two columns")
        .1;
    assert_eq!(wide, [row(3, "A1"), row(5, "A2")]);
}

#[test]
fn a_row_without_a_code_is_an_error_of_that_row() {
    let rows = rows("id,code,n\n1,,x\n2\n3, ,\n,,\n5,A5,\n");
    let empty = |line| (line, Err(RejectionReason::Empty));
    assert_eq!(rows, [empty(2), empty(3), empty(4), empty(5), row(6, "A5")]);
}

#[test]
fn lf_crlf_and_cr_each_end_a_line() {
    let expected = [row(2, "A1"), row(3, "A2"), row(6, "A3"), row(9, "A4")];
    let table = "code,n\nA1,1\nA2,\"x\n\ny\"\nA3,\"\n\"\n\nA4,";
    for line_break in ["\n", "\r\n", "\r"] {
        assert_eq!(
            rows(&table.replace('\n', line_break)),
            expected,
            "{line_break:?}"
        );
    }
}

#[test]
fn quotes_are_special_only_around_a_cell() {
    let (_, rows) = read(
        "\"A,1\",x\n\"A\"\"2\",x\nA\"3,x\n\"A\"4,x\n \"A5\",x\n".as_bytes(),
        &options(Some(","), None, Some("1")),
    )
    .expect("two columns");
    let codes: Vec<_> = rows.into_iter().filter_map(|row| row.1.ok()).collect();
    assert_eq!(codes, ["A,1", "A\"2", "A\"3", "A4", "A5"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_cell() {
    assert_eq!(rows("\u{feff}code\nA1\n"), [row(2, "A1")]);
    assert_eq!(rows("\u{feff}\"code\",n\n\"A1\",1\n"), [row(2, "A1")]);
    for blank in ["\u{feff}\u{feff}", "\n\u{feff}"] {
        assert_eq!(
            fault(blank.as_bytes(), &TableOptions::default()),
            DeliveryFault::Empty
        );
    }
}

#[test]
fn excels_declaration_of_the_delimiter_is_no_row() {
    let (layout, rows) = guessed("\u{feff}sep=|\r\nid|code\r\n1|A1\r\n");
    assert_eq!(
        (layout.delimiter, rows),
        (Some(Delimiter::Pipe), vec![row(3, "A1")])
    );
    assert_eq!(
        fault(b"sep=;", &TableOptions::default()),
        DeliveryFault::Empty
    );
}

#[test]
fn an_option_overrides_detection() {
    let (layout, rows) =
        read(&b"A;1,x\nA;2,y\n"[..], &options(Some(","), None, Some("1"))).expect("two");
    assert_eq!(
        (layout.delimiter, rows),
        (Some(Delimiter::Comma), vec![row(1, "A;1"), row(2, "A;2")])
    );
}

#[test]
fn a_file_without_rows_is_a_fault() {
    for empty in ["", "\u{feff}", "\n\r\n  \n", "\"\"\n"] {
        assert_eq!(
            fault(empty.as_bytes(), &TableOptions::default()),
            DeliveryFault::Empty,
            "{empty:?}"
        );
    }
    for header in ["code", "code,n\n\n  \n"] {
        assert_eq!(
            fault(header.as_bytes(), &TableOptions::default()),
            DeliveryFault::OnlyHeader,
            "{header:?}"
        );
    }
}

#[test]
fn several_columns_without_a_known_name_are_a_fault() {
    let columns = ["1", "A1"].map(str::to_owned).to_vec();
    assert_eq!(
        fault(b"1;A1\n2;A2\n", &TableOptions::default()),
        DeliveryFault::CodeColumnNeeded { columns }
    );
}

#[test]
fn two_columns_of_the_same_name_are_a_fault_unless_one_is_chosen() {
    let file = &b"code,name,Code\nA1,x,B1\n"[..];
    let columns = ["code", "name", "Code"].map(str::to_owned).to_vec();
    assert_eq!(
        fault(file, &TableOptions::default()),
        DeliveryFault::CodeColumnNeeded { columns }
    );
    let (_, rows) = read(file, &options(None, None, Some("3"))).expect("a table");
    assert_eq!(rows, [row(2, "B1")]);
}

#[test]
fn a_title_above_the_header_is_a_fault_unless_every_row_is_a_code() {
    for (file, line) in [
        ("Our codes 2026\ncode\nA-1\nB-2\n", 2),
        ("Our codes 2026\n\nname;code\nx;A-1\ny;A-2\nz;A-3\n", 3),
    ] {
        assert_eq!(
            fault(file.as_bytes(), &TableOptions::default()),
            DeliveryFault::HeaderBelowFirst { line },
            "{file}"
        );
    }
    let file = "Our codes 2026\ncode\nA-1\n";
    let (_, rows) = read(file.as_bytes(), &options(None, Some(false), None)).expect("a table");
    assert_eq!(
        rows,
        [row(1, "Our codes 2026"), row(2, "code"), row(3, "A-1")]
    );
    // Far below the beginning it is a code.
    let file = "A\nB\nC\nD\nE\nF\nCODE\n";
    assert_eq!(guessed(file).1.len(), 7);
}

#[test]
fn quotes_after_a_blank_are_no_part_of_a_code() {
    let (_, rows) = guessed("name, code\n\"a\", \"A-1\"\nb, B-2\nc, \"C\"\"3\"\n");
    assert_eq!(rows, [row(2, "A-1"), row(3, "B-2"), row(4, "C\"3")]);
}

#[test]
fn a_document_is_no_list_of_codes() {
    for text in [
        "<html><table><tr><td>A-1</td></tr></table></html>",
        "<?xml version=\"1.0\"?><a/>",
        "{\"code\":\"A-1\"}\n",
    ] {
        let fault = fault(text.as_bytes(), &TableOptions::default());
        assert!(
            matches!(fault, DeliveryFault::OtherFormat { .. }),
            "{fault}"
        );
    }
}

#[test]
fn an_encoding_other_than_utf_8_is_a_fault() {
    for input in [
        &b"\xff\xfec\0o\0"[..],
        b"\xfe\xff\0c",
        b"c\xf3digo;n\nA1;1\n",
    ] {
        assert_eq!(
            fault(input, &TableOptions::default()),
            DeliveryFault::UnreadableEncoding,
            "{input:?}"
        );
    }
}

#[test]
fn invalid_bytes_matter_only_in_the_code() {
    let (_, rows) = read(
        &b"code,n\nA1,\xe9\n\xe9,x\nA3,x\n"[..],
        &TableOptions::default(),
    )
    .expect("rows");
    assert_eq!(
        rows,
        [
            row(2, "A1"),
            (3, Err(RejectionReason::InvalidEncoding)),
            row(4, "A3")
        ]
    );
}

#[test]
fn control_characters_are_errors_of_their_rows() {
    let control = |line| (line, Err(RejectionReason::ControlCharacter));
    assert_eq!(
        rows("A\0\n\0\nAB\n\"A\nB\"\nA\u{1f}B\n\u{1f}\nA6\n"),
        [
            control(1),
            control(2),
            row(3, "AB"),
            control(4),
            control(6),
            control(7),
            row(8, "A6")
        ]
    );
}

#[test]
fn a_quote_that_is_never_closed_is_reported_with_its_line() {
    let cases = [
        ("code\nA1\n\"A2\nA3\n", 3),
        ("\"A1", 1),
        ("code,n\nA1,\"x\ny\"\nA2,\"x\ny\",\"z\n\n", 5),
        ("id,code\r\n\"1\r\n1\",\"A\0\r\n", 3),
        ("code\r\rA1\r\"A2\r\0\r", 4),
        ("code\n\"A\"\"\n", 2),
        ("code\n\"", 2),
    ];
    for (input, line) in cases {
        match read(input.as_bytes(), &options(Some(","), None, Some("code"))) {
            Err(ReadError::UnclosedQuote { line: reported }) => {
                assert_eq!(reported, line, "{input:?}");
            }
            other => panic!("{input:?}: {other:?}"),
        }
    }
}

#[test]
fn a_quote_that_closes_at_the_end_is_closed() {
    for input in [
        "code\n\"A1\"",
        "code\n\"A1\"\n",
        "code\n\"A1\"\r",
        "code\nA1\0\n\"A1\"",
    ] {
        let rows = read(input.as_bytes(), &TableOptions::default())
            .expect(input)
            .1;
        assert_eq!(
            rows.last().map(|row| row.1.clone()),
            Some(Ok("A1".to_owned())),
            "{input:?}"
        );
    }
}

#[test]
fn a_rejection_repeats_the_text_of_the_cell() {
    let mut rejections = Vec::new();
    let input = format!("code\nA\0B\n{}\n", "x".repeat(300));
    read_csv(
        input.as_bytes(),
        &TableOptions::default(),
        rules(),
        &mut |row| {
            rejections.extend(row.code.err());
            Ok::<(), ()>(())
        },
    )
    .expect("rows");
    assert_eq!(rejections[0].code, "A\u{fffd}B");
    assert_eq!(rejections[1].code, "x".repeat(255) + "…");
}

#[test]
fn cells_and_rows_of_any_size_are_read() {
    let mebibyte = "x".repeat(1 << 20);
    let input = format!("n,code\n\"{mebibyte}\n\",A1\n{mebibyte},A2\n1,\"{mebibyte}\"\n2,A4\n");
    let expected = [
        row(2, "A1"),
        row(4, "A2"),
        (5, Err(RejectionReason::TooLong)),
        row(6, "A4"),
    ];
    assert_eq!(rows(&input), expected);
    let wide = format!("code{0}\nA1{0}\nA2\n", ",x".repeat(100_000));
    assert_eq!(rows(&wide), [row(2, "A1"), row(3, "A2")]);
}

#[test]
fn a_column_beyond_the_first_thousand_is_not_found() {
    let wide = format!("{}A\n", "x,".repeat(1000));
    let wanted = fault(wide.as_bytes(), &options(None, None, Some("1001")));
    assert!(matches!(wanted, DeliveryFault::NoSuchColumn { .. }));
}

#[test]
fn the_sink_can_end_the_reading() {
    let mut seen = 0;
    let result = read_csv(
        &b"A1\nA2\nA3\n"[..],
        &TableOptions::default(),
        rules(),
        &mut |row| {
            seen += 1;
            if row.line == 2 { Err("full") } else { Ok(()) }
        },
    );
    assert!(matches!(result, Err(ReadError::Sink("full"))));
    assert_eq!(seen, 2);
}

#[test]
fn a_failing_file_ends_the_reading() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::TimedOut))
        }
    }
    let result = read(b"A1\n".chain(Broken), &TableOptions::default());
    assert!(matches!(result, Err(ReadError::Io(_))));
}
