//! Workbooks in the OASIS format (ODS).

use super::{
    super::*,
    files::{codes, deliver, fault, zip},
};

const LIBRE_OFFICE: &[u8] = include_bytes!("data/libreoffice.ods");

fn ods(content: &str) -> Vec<u8> {
    zip(&[
        (
            "mimetype",
            b"application/vnd.oasis.opendocument.spreadsheet",
        ),
        ("content.xml", content.as_bytes()),
        ("META-INF/manifest.xml", b"<manifest:manifest/>"),
    ])
}

/// A workbook with one sheet.
fn sheet(rows: &str) -> Vec<u8> {
    ods(&format!(
        r#"<office:body><office:spreadsheet><table:table table:name="A">{rows}</table:table></office:spreadsheet></office:body>"#
    ))
}

fn row(cells: &str) -> String {
    format!("<table:table-row>{cells}</table:table-row>")
}

fn only_column() -> TableOptions {
    TableOptions {
        header: Some(false),
        code_column: Some("1".to_owned()),
        ..TableOptions::default()
    }
}

#[test]
fn a_file_of_libreoffice_is_read_as_it_is_shown() {
    let options = TableOptions {
        expires_at_column: Some("Valid until".to_owned()),
        ..TableOptions::default()
    };
    let (layout, rows) = deliver(LIBRE_OFFICE, &options).expect("a workbook");
    assert_eq!(layout.sheet.as_deref(), Some("Codes"));
    let read: Vec<_> = rows
        .iter()
        .map(|(line, code)| (*line, code.as_deref().expect("a code")))
        .collect();
    assert_eq!(
        read,
        [
            (2, "AB-0001"),
            (3, "00042"),
            (4, "GC-0007"),
            (5, "1234567"),
            (6, "1234567890123"),
            (7, "ÑANDÚ €"),
            (8, "1"),
            (9, "12.5"),
            (10, "F-1"),
            (12, "X 9"),
        ]
    );
    let [warning] = &layout.warnings[..] else {
        panic!("{:?}", layout.warnings);
    };
    assert_eq!((warning.kind, warning.count), ("hiddenRows", Some(1)));
    let second = TableOptions {
        sheet: Some("second".to_owned()),
        ..TableOptions::default()
    };
    let (_, rows) = deliver(LIBRE_OFFICE, &second).expect("a workbook");
    assert_eq!(rows, [(1, Ok("S-1".to_owned())), (3, Ok("S-3".to_owned()))]);
}

#[test]
fn cells_are_read_as_shown() {
    for (cell, shown) in [
        (
            r#"<table:table-cell office:value-type="string"><text:p>A<text:span>B</text:span>&amp;C</text:p></table:table-cell>"#,
            "AB&C",
        ),
        (
            r#"<table:table-cell office:value-type="string"><office:annotation><text:p>ask Ann</text:p></office:annotation><text:p>A<text:s text:c="2"/>1</text:p></table:table-cell>"#,
            "A  1",
        ),
        (
            r#"<table:table-cell office:value-type="float" office:value="42"><text:p>00042</text:p></table:table-cell>"#,
            "00042",
        ),
        (
            r#"<table:table-cell office:value-type="float" office:value="1234567890123456"><text:p>1.23456789012346E+15</text:p></table:table-cell>"#,
            "1234567890123460",
        ),
        (
            "<table:table-cell office:value-type=\"float\" office:value=\"1234567\"><text:p>1\u{202f}234\u{202f}567</text:p></table:table-cell>",
            "1234567",
        ),
        (
            r#"<table:table-cell office:value-type="float" office:value="1.5"><text:p>2</text:p></table:table-cell>"#,
            "1.5",
        ),
        (
            r#"<table:table-cell office:value-type="currency" office:value="5"><text:p>5 €</text:p></table:table-cell>"#,
            "5",
        ),
        (
            r#"<table:table-cell office:value-type="date" office:date-value="2027-01-31"><text:p>31.01.27</text:p></table:table-cell>"#,
            "2027-01-31",
        ),
        (
            r#"<table:table-cell office:value-type="boolean" office:boolean-value="true"><text:p>WAHR</text:p></table:table-cell>"#,
            "TRUE",
        ),
    ] {
        let (_, rows) = deliver(&sheet(&row(cell)), &only_column()).expect("a sheet");
        assert_eq!(rows, [(1, Ok(shown.to_owned()))], "{cell}");
    }
    let error = r#"<table:table-cell calcext:value-type="error" office:value-type="string"><text:p>#N/A</text:p></table:table-cell>"#;
    let (_, rows) = deliver(&sheet(&row(error)), &only_column()).expect("a sheet");
    assert_eq!(rows, [(1, Err(RejectionReason::Empty))]);
}

#[test]
fn repeated_rows_and_cells_are_read_as_often_as_they_are_shown() {
    let text = |text: &str| {
        format!(
            r#"<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>"#
        )
    };
    let rows = [
        row(&(text("code") + &text("x"))),
        r#"<table:table-row table:number-rows-repeated="5"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>"#
            .to_owned(),
        format!(
            r#"<table:table-row table:number-rows-repeated="2">{}</table:table-row>"#,
            text("A1")
        ),
        row(&(String::from("<table:covered-table-cell><text:p>no</text:p></table:covered-table-cell>") + &text("y"))),
        row(&text("B2")),
    ];
    let (_, rows) = deliver(&sheet(&rows.concat()), &TableOptions::default()).expect("a sheet");
    assert_eq!(
        rows,
        [
            (7, Ok("A1".to_owned())),
            (8, Ok("A1".to_owned())),
            (9, Err(RejectionReason::Empty)),
            (10, Ok("B2".to_owned())),
        ]
    );
}

#[test]
fn a_small_file_cannot_stand_for_billions_of_cells() {
    let bomb = r#"<table:table-row table:number-rows-repeated="1000000"><table:table-cell table:number-columns-repeated="16384" office:value-type="string"><text:p>A</text:p></table:table-cell></table:table-row>"#;
    let damaged = DeliveryFault::Damaged { what: "workbook" };
    assert_eq!(fault(deliver(&sheet(bomb), &only_column())), damaged);
    // Blanks after a code are read for each repetition.
    let blanks = format!(
        r#"<table:table-row table:number-rows-repeated="16000000"><table:table-cell office:value-type="string" office:string-value="A{}"/></table:table-row>"#,
        " ".repeat(1_000_000)
    );
    assert_eq!(fault(deliver(&sheet(&blanks), &only_column())), damaged);
    let wide = format!(
        "<table:table-row>{}</table:table-row>",
        format!(
            r#"<table:table-cell office:string-value="{}" office:value-type="string"/>"#,
            "x".repeat(60_000)
        )
        .repeat(20)
    );
    assert_eq!(fault(deliver(&sheet(&wide), &only_column())), damaged);
}

#[test]
fn hidden_sheets_are_chosen_only_by_name_and_hidden_rows_are_skipped() {
    let text = |text: &str| {
        format!(
            r#"<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>"#
        )
    };
    let content = format!(
        r#"<office:automatic-styles><style:style style:name="ta1"><style:table-properties table:display="false"/></style:style>
           <style:style style:name="ta2"><style:table-properties table:display="true"/></style:style></office:automatic-styles>
           <office:spreadsheet><table:table table:name="Old" table:style-name="ta1">{}</table:table>
           <table:table table:name="New" table:style-name="ta2">{}<table:table-row table:visibility="filter" table:number-rows-repeated="3">{}</table:table-row></table:table></office:spreadsheet>"#,
        row(&text("O-1")),
        row(&text("N-1")),
        text("N-2"),
    );
    let workbook = ods(&content);
    assert_eq!(codes(&workbook), ["N-1"]);
    let old = TableOptions {
        sheet: Some("Old".to_owned()),
        ..TableOptions::default()
    };
    let (_, rows) = deliver(&workbook, &old).expect("a sheet");
    assert_eq!(rows, [(1, Ok("O-1".to_owned()))]);

    let hidden = sheet(&format!(
        r#"{}<table:table-row table:visibility="collapse">{}</table:table-row>"#,
        row(&text("code")),
        text("A1")
    ));
    assert_eq!(
        fault(deliver(&hidden, &TableOptions::default())),
        DeliveryFault::AllHidden
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let kind = b"application/vnd.oasis.opendocument.text";
    let text = zip(&[("mimetype", kind), ("content.xml", b"<x/>")]);
    assert_eq!(
        fault(deliver(&text, &TableOptions::default())),
        DeliveryFault::OtherFormat {
            name: "an OpenDocument, but not a spreadsheet"
        }
    );
    let encrypted = zip(&[
        (
            "mimetype",
            b"application/vnd.oasis.opendocument.spreadsheet",
        ),
        ("content.xml", b"\xfa\x01\x02"),
        (
            "META-INF/manifest.xml",
            br#"<manifest:manifest><manifest:file-entry manifest:full-path="content.xml"><manifest:encryption-data/></manifest:file-entry></manifest:manifest>"#,
        ),
    ]);
    assert_eq!(
        fault(deliver(&encrypted, &TableOptions::default())),
        DeliveryFault::PasswordProtected
    );
    for content in [
        "",
        "<office:body>",
        r#"<table:table table:name="A"><table:table-row><table:table-cell"#,
    ] {
        let read = fault(deliver(&ods(content), &TableOptions::default()));
        let expected = [
            DeliveryFault::Damaged { what: "workbook" },
            DeliveryFault::NoSheet,
        ];
        assert!(expected.contains(&read), "{content} {read:?}");
    }
    for (part, name) in [
        ("xl/workbook.bin", "a binary workbook (XLSB)"),
        ("word/document.xml", "a Word document"),
    ] {
        assert_eq!(
            fault(deliver(&zip(&[(part, b"")]), &TableOptions::default())),
            DeliveryFault::OtherFormat { name }
        );
    }
}
