//! Workbooks.

use super::{
    super::*,
    files::{codes, deliver, fault, file, limits, sheet_of, workbook, zip},
    rules,
};

const STYLES: &str = r#"<numFmts><numFmt numFmtId="164" formatCode="0000000000"/>
    <numFmt numFmtId="165" formatCode="dd/mm/yyyy;@"/></numFmts>
    <cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
    <cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="14"/></cellXfs>
    <cellStyles/>"#;

fn rows(xml: &str, strings: &str) -> Result<Vec<super::Short>, DeliveryFault> {
    let book = workbook(&[("\"Sheet1\"", xml)], STYLES, strings);
    let options = TableOptions {
        header: Some(false),
        code_column: Some("1".to_owned()),
        ..TableOptions::default()
    };
    match deliver(&book, &options) {
        Ok((_, rows)) => Ok(rows),
        other => Err(fault(other)),
    }
}

#[test]
fn cells_are_read_as_shown() {
    for (cell, shown) in [
        (r#"<c t="s"><v>0</v></c>"#, "GATE & <1>"),
        (r#"<c t="s"><v>1</v></c>"#, "AB-C"),
        (r#"<c t="s"><v>2</v></c>"#, "a_x000Gb"),
        (
            r#"<c t="inlineStr"><is><r><t>IN</t></r><r><t xml:space="preserve"> LINE</t></r></is></c>"#,
            "IN LINE",
        ),
        (
            r#"<c t="str"><f>A1&amp;B1</f><v>SUM-&#49;</v></c>"#,
            "SUM-1",
        ),
        ("<c><f>1+1</f><v>2</v></c>", "2"),
        (r#"<c t="n"><v>1234567890123</v></c>"#, "1234567890123"),
        ("<c><v>1.234567890123E+12</v></c>", "1234567890123"),
        ("<c><v>7.0</v></c>", "7"),
        (r#"<c s="1"><v>42</v></c>"#, "0000000042"),
        (r#"<c s="2"><v>46387</v></c>"#, "2026-12-31"),
        (r#"<c s="3"><v>46387.5</v></c>"#, "2026-12-31T12:00:00"),
        (r#"<c t="d"><v>2026-12-31</v></c>"#, "2026-12-31"),
        (r#"<c t="b"><v>1</v></c>"#, "TRUE"),
        ("<c><v>not a number</v></c>", "not a number"),
        (r#"<c s="99"><v>5</v></c>"#, "5"),
    ] {
        let strings = "<si><t>GATE &amp; &lt;1&gt;</t></si>
            <si><r><t>AB</t></r><r><t>-C</t></r><rPh><t>phonetic</t></rPh></si><si><t>a_x000G_x0062_</t></si>";
        let read = rows(&format!("<row>{cell}</row>"), strings).expect("a sheet");
        assert_eq!(read, [(1, Ok(shown.to_owned()))], "{cell}");
    }
}

#[test]
fn a_sheet_has_a_header_and_rows_with_their_own_numbers() {
    let xml = r#"<row r="2"><c r="B2" t="inlineStr"><is><t>Name</t></is></c>
            <c r="D2" t="inlineStr"><is><t>Codes</t></is></c><c r="E2" t="inlineStr"><is><t>Until</t></is></c></row>
        <row r="3"/><row r="4"><c r="B4" s="2"/><c r="D4" t="inlineStr"><is><t> </t></is></c></row>
        <row r="5"><c r="D5" t="inlineStr"><is><t>A1</t></is></c><c r="E5" s="2"><v>46387</v></c></row>
        <row r="7"><c r="B7" t="inlineStr"><is><t>bob</t></is></c><c r="D7" t="e"><v>#N/A</v></c></row>
        <row r="8"><c r="D8" t="e"><v>#REF!</v></c></row>
        <row r="9"><c r="D9" t="inlineStr"><is><t>B2</t></is></c><c r="E9" t="inlineStr"><is><t>soon</t></is></c></row>"#;
    let options = TableOptions {
        expires_at_column: Some("until".to_owned()),
        attribute_columns: Some("name".to_owned()),
        ..TableOptions::default()
    };
    let book = workbook(&[("\"Sheet1\"", xml)], STYLES, "");
    let hint = ContentTypeHint {
        format: TextFormat::Csv,
        gzip: false,
    };
    let delivery =
        DeliveryReader::open::<()>(file(&book), hint, &options, &limits()).expect("a workbook");
    let mut rows = Vec::new();
    let layout = delivery.read(&options, rules(), &mut |row| {
        rows.push(row);
        Ok::<(), ()>(())
    });
    let layout = layout.expect("a sheet");
    assert_eq!(layout.sheet.as_deref(), Some("Sheet1"));
    let table = layout.table.expect("a table");
    assert!(table.header);
    assert_eq!(table.code_column, "Codes");
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            (
                row.line,
                row.code.map_err(|it| it.reason),
                row.expires_at.map(|at| at.date_naive().to_string()),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (5, Ok("A1".to_owned()), Some("2027-01-01".to_owned())),
            (7, Err(RejectionReason::Empty), None),
            (8, Err(RejectionReason::Empty), None),
            (9, Err(RejectionReason::BadDate), None),
        ]
    );
}

#[test]
fn the_first_visible_sheet_is_read_unless_another_is_named() {
    let row = |code: &str| format!(r#"<row><c t="inlineStr"><is><t>{code}</t></is></c></row>"#);
    let book = workbook(
        &[
            ("\"Secret\" state=\"hidden\"", &row("H")),
            ("\"Spring &amp; summer\"", &row("S")),
            ("\"Autumn\"", &row("A")),
        ],
        "",
        "",
    );
    assert_eq!(codes(&book), ["S"]);
    let named = |sheet: &str| TableOptions {
        sheet: Some(sheet.to_owned()),
        ..TableOptions::default()
    };
    for (sheet, code) in [
        ("Autumn", "A"),
        (" autumn", "A"),
        ("Spring & summer", "S"),
        ("Secret", "H"),
    ] {
        let (layout, rows) = deliver(&book, &named(sheet)).expect("a sheet");
        assert_eq!(rows, [(1, Ok(code.to_owned()))]);
        assert!(
            layout
                .sheet
                .expect("a sheet")
                .to_lowercase()
                .contains(&sheet.trim().to_lowercase())
        );
    }
    assert_eq!(
        fault(deliver(&book, &named("Winter"))).to_string(),
        "the sheet \"Winter\" does not exist; the workbook has \"Spring & summer\", \"Autumn\""
    );
    let empty = workbook(&[("\"Empty\"", "")], "", "");
    assert_eq!(
        fault(deliver(&empty, &TableOptions::default())),
        DeliveryFault::Empty
    );
    assert_eq!(
        fault(deliver(&workbook(&[], "", ""), &TableOptions::default())),
        DeliveryFault::NoSheet
    );
    assert_eq!(
        codes(&sheet_of(&[
            &["code", "x"],
            &["A1", "1"],
            &["", ""],
            &["B2", "2"]
        ])),
        ["A1", "B2"]
    );
}

#[test]
fn hidden_rows_are_skipped_and_counted() {
    let row = |attributes: &str, code: &str| {
        format!(r#"<row {attributes}><c t="inlineStr"><is><t>{code}</t></is></c></row>"#)
    };
    let xml = [
        row("", "A1"),
        row(r#"hidden="1""#, "B2"),
        row(r#"hidden="true""#, ""),
        row(r#"hidden="0""#, "C3"),
    ];
    let book = workbook(&[("\"Sheet1\"", &xml.concat())], "", "");
    let (layout, rows) = deliver(&book, &TableOptions::default()).expect("a sheet");
    assert_eq!(rows, [(1, Ok("A1".to_owned())), (4, Ok("C3".to_owned()))]);
    assert_eq!(layout.warnings[0].count, Some(1));
}

#[test]
fn a_damaged_workbook_is_a_fault() {
    let damaged = Err(DeliveryFault::Damaged { what: "workbook" });
    for xml in [
        r#"<row><c t="s"><v>5</v></c></row>"#,
        r#"<row><c r="ZZZZZZZZ1"><v>5</v></c></row>"#,
        r#"<row><c r="7"><v>5</v></c></row>"#,
        r#"<row r="99999999999"><c><v>5</v></c></row>"#,
        "<row><c><v>5",
        "<row><c><v a=5 5</v></c></row",
    ] {
        assert_eq!(rows(xml, ""), damaged, "{xml}");
    }
    let only = zip(&[("xl/workbook.xml", b"<workbook/>")]);
    assert_eq!(
        fault(deliver(&only, &TableOptions::default())),
        DeliveryFault::Damaged { what: "workbook" }
    );
}
