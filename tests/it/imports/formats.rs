//! File formats of shops: compressed, in old encodings, as workbooks.

use std::io::Write;

use axum::http::Method;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::imports::invalid_input::stored;
use crate::imports::{CSV, JSON, LIST, codes, counts, import, report, start};
use crate::support::client::Answer;
use crate::support::shop::{CouponSet, Shop};

pub(super) const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const ODS: &str = "application/vnd.oasis.opendocument.spreadsheet";
pub(super) const BYTES: &str = "application/octet-stream";

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A workbook of two sheets: the first has a header and these codes with numbers, the second only these codes.
pub(super) fn workbook(first: &[(&str, i64)], second: &[&str]) -> Vec<u8> {
    let text = |text: &str| format!("<c t=\"inlineStr\"><is><t>{text}</t></is></c>");
    let header = format!("<row>{}{}</row>", text("code"), text("number"));
    let row =
        |(code, number): &(&str, i64)| format!("<row>{}<c><v>{number}</v></c></row>", text(code));
    let rows: Vec<String> = [header].into_iter().chain(first.iter().map(row)).collect();
    let row = |code: &&str| format!("<row>{}</row>", text(code));
    let others: Vec<String> = second.iter().map(row).collect();
    let kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet";
    let links = format!(
        "<Relationships><Relationship Id=\"a\" Type=\"{kind}\" Target=\"worksheets/sheet1.xml\"/>\
         <Relationship Id=\"b\" Type=\"{kind}\" Target=\"worksheets/sheet2.xml\"/></Relationships>"
    );
    let sheets = "<workbook><sheets><sheet name=\"Spring\" sheetId=\"1\" r:id=\"a\"/>\
        <sheet name=\"Summer\" sheetId=\"2\" r:id=\"b\"/></sheets></workbook>";
    let sheet = |rows: &str| format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    zip(&[
        ("xl/workbook.xml", sheets.as_bytes()),
        ("xl/_rels/workbook.xml.rels", links.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet(&rows.concat()).as_bytes()),
        (
            "xl/worksheets/sheet2.xml",
            sheet(&others.concat()).as_bytes(),
        ),
    ])
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Posts a form of the usual fields, these fields, and a file.
async fn send_file(shop: &Shop, set: &CouponSet, fields: &[(&str, &str)], file: &[u8]) -> Answer {
    let of_set = [("type", "coupons"), ("couponSetId", set.id.as_str())];
    let mut body = Vec::new();
    for (name, value) in of_set.iter().chain(fields) {
        let part = format!(
            "--frontier\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        body.extend(part.into_bytes());
    }
    body.extend(
        b"--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"codes\"\r\n\r\n",
    );
    body.extend(file);
    body.extend(b"\r\n--frontier--\r\n");
    let kind = ("content-type", "multipart/form-data; boundary=frontier");
    shop.client
        .send(Method::POST, "/v1/imports", &[kind], body)
        .await
}

#[tokio::test]
async fn a_body_is_what_its_first_bytes_say_whatever_type_was_named() {
    let (app, _, set) = start().await;
    let table = |code: &str| format!("code;n\n{code};1\n");
    for (kind, body) in [
        (CSV, gzip(table("A").as_bytes())),
        ("application/gzip", gzip(table("B").as_bytes())),
        (BYTES, zip(&[("codes.csv", table("C").as_bytes())])),
        (
            "application/zip",
            zip(&[("codes.csv", table("D").as_bytes())]),
        ),
        (XLSX, workbook(&[("E", 1)], &[])),
        (BYTES, workbook(&[("F", 1)], &[])),
        ("application/vnd.ms-excel", table("G").into_bytes()),
        ("text/tab-separated-values", b"code\tn\nH\t1\n".to_vec()),
        (BYTES, utf16(&table("I"))),
        (LIST, gzip(b"J")),
        (JSON, gzip(br#"{"codes": ["K"]}"#)),
    ] {
        let import = import(&set, kind, "", body).await;
        assert_eq!(counts(&import), [1, 1, 0, 0], "{kind}");
    }
    assert_eq!(codes(&app).await.concat(), "ABCDEFGHIJK");
}

#[tokio::test]
async fn the_encoding_of_the_content_is_gzip_or_none() {
    let (app, _, set) = start().await;
    let uri = format!("{}/imports", set.path());
    let send = async |encoding: &str, body: Vec<u8>| {
        let headers = [("content-type", LIST), ("content-encoding", encoding)];
        set.client.send(Method::POST, &uri, &headers, body).await
    };
    for (encoding, body) in [("GZIP", gzip(b"A")), ("identity", b"B".to_vec())] {
        let answer = send(encoding, body).await.expect(201);
        set.ended(answer.str("id")).await;
    }
    assert_eq!(codes(&app).await.concat(), "AB");
    assert_eq!(
        send("br", gzip(b"C")).await.refusal(),
        "415 unsupported-media-type"
    );
    let plain = send("gzip", b"C".to_vec()).await;
    assert_eq!(plain.refusal(), "422 unreadable-file");
    assert!(
        plain.str("detail").contains("Content-Encoding is gzip"),
        "{}",
        plain.text
    );
    let headers = [
        ("content-type", "multipart/form-data; boundary=frontier"),
        ("content-encoding", "gzip"),
    ];
    let form = set
        .client
        .send(Method::POST, "/v1/imports", &headers, "")
        .await;
    assert_eq!(form.refusal(), "415 unsupported-media-type");
}

/// An ODS workbook with one row that is shown and one that is hidden.
fn ods() -> Vec<u8> {
    let row = |attributes: &str, code: &str| {
        format!(
            "<table:table-row {attributes}><table:table-cell office:value-type=\"string\"><text:p>{code}</text:p></table:table-cell></table:table-row>"
        )
    };
    let shown = row("", "A-1");
    let hidden = row("table:visibility=\"filter\"", "B-2");
    let content = format!(
        "<office:body><office:spreadsheet><table:table table:name=\"Codes\">{shown}{hidden}</table:table></office:spreadsheet></office:body>"
    );
    zip(&[
        ("mimetype", ODS.as_bytes()),
        ("content.xml", content.as_bytes()),
    ])
}

#[tokio::test]
async fn an_import_has_the_warnings_of_its_preview() {
    let (app, _, set) = start().await;
    let kinds = |value: &Value| -> Vec<String> {
        let warnings = value["warnings"].as_array().unwrap();
        let kinds = warnings.iter().map(|it| it["kind"].as_str().unwrap());
        kinds.map(str::to_owned).collect()
    };
    for (content_type, file, expected) in [
        (ODS, ods(), &["hiddenRows"][..]),
        (CSV, b"code\n\xd1-1\n".to_vec(), &["encodingGuessed"]),
        (
            CSV,
            b"code,voucher\nC-1001,D-2001\nC-1002,D-2002\n".to_vec(),
            &["ambiguousCodeColumn"],
        ),
        (CSV, b"code\nE-5\n".to_vec(), &[]),
        (LIST, b"F-6".to_vec(), &[]),
        (JSON, br#"{"codes": ["G-7"]}"#.to_vec(), &[]),
    ] {
        if content_type != JSON {
            let headers = [("content-type", content_type)];
            let uri = "/v1/imports/preview?whole=true";
            let preview = set.client.send(Method::POST, uri, &headers, file.clone());
            let preview = preview.await.expect(200);
            assert_eq!(kinds(&preview.body), expected, "{}", preview.text);
        }
        let import = import(&set, content_type, "", file).await;
        assert_eq!(import["status"], "finished");
        assert_eq!(kinds(&import), expected, "{import:#}");
        let uri = format!("/v1/imports?couponSetId={}&limit=1", set.id);
        let list = set.client.get(&uri).await.expect(200);
        assert_eq!(list.body["results"][0]["warnings"], import["warnings"]);
    }
    assert_eq!(
        codes(&app).await,
        ["A-1", "Ñ-1", "C-1001", "C-1002", "E-5", "F-6", "G-7"]
    );
}

#[tokio::test]
async fn the_form_takes_the_same_files_and_options() {
    let (app, shop, set) = start().await;
    let book = workbook(&[("A", 1)], &["B"]);
    let windows = b"c\xf3digo;n\n\xd1;1\n";
    for (fields, file, expected) in [
        (
            &[][..],
            book.clone(),
            json!({"delimiter": null, "header": true, "codeColumn": "code", "sheet": "Spring"}),
        ),
        (
            &[("sheet", "summer")],
            book,
            json!({"delimiter": null, "header": false, "codeColumn": "1", "sheet": "Summer"}),
        ),
        (
            &[],
            gzip(b"code,n\nC,1\n"),
            json!({"delimiter": ",", "header": true, "codeColumn": "code"}),
        ),
        (
            &[("encoding", "latin1"), ("attributeColumns", "n")],
            windows.to_vec(),
            json!({
                "delimiter": ";", "header": true, "codeColumn": "código", "encoding": "windows-1252",
                "attributeColumns": "n",
            }),
        ),
    ] {
        let answer = send_file(&shop, &set, fields, &file).await.expect(201);
        let import = set.ended(answer.str("id")).await;
        assert_eq!(
            (&import["status"], &import["options"]),
            (&json!("finished"), &expected)
        );
    }
    assert_eq!(codes(&app).await, ["A", "B", "C", "Ñ"]);
}

#[tokio::test]
async fn rows_of_an_old_encoding_are_reported_with_the_lines_of_the_file() {
    let (app, _, set) = start().await;
    let file = utf16("\u{feff}code;note\r\nÄ1;\"two\r\nlines\"\r\n;x\r\nÄ1;y\r\n");
    let import = import(&set, CSV, "", file).await;
    assert_eq!(import["options"]["encoding"], "UTF-16LE");
    assert_eq!(counts(&import), [3, 1, 2, 1]);
    assert_eq!(
        report(&set, &import).await,
        ["4||empty|", "5|Ä1|duplicateInFile|2"]
    );
    assert_eq!(codes(&app).await, ["Ä1"]);
}

#[tokio::test]
async fn what_cannot_be_unpacked_is_refused_and_nothing_of_it_is_stored() {
    let (app, _, set) = start().await;
    let many: Vec<String> = (0..120_000).map(|n| format!("C{n}\n")).collect();
    let mut cut = gzip(many.concat().as_bytes());
    cut.truncate(cut.len() - 9);
    for (body, query, detail) in [
        (cut, "?header=false&encoding=utf-8", "end too early"),
        (
            zip(&[("a.csv", b"A"), ("b.csv", b"B")]),
            "",
            "contains 2 files, but only one can be imported; send one of \"a.csv\", \"b.csv\"",
        ),
        (zip(&[]), "", "contains no file"),
        (
            workbook(&[("A", 1)], &[]),
            "?sheet=Winter",
            "the sheet \"Winter\" does not exist; the workbook has \"Spring\", \"Summer\"",
        ),
        (b"A\n".to_vec(), "?sheet=Winter", "is not a workbook"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(),
            "",
            "the workbook is damaged",
        ),
        (b"%PDF-1.7".to_vec(), "", "the file is a PDF"),
        (
            b"code,a,a\nA,1,2\n".to_vec(),
            "?attributeColumns=a,2",
            "used more than once",
        ),
    ] {
        let answer = set.upload(BYTES, query, body).await;
        assert_eq!(answer.refusal(), "422 unreadable-file", "{detail}");
        assert!(answer.str("detail").contains(detail), "{}", answer.text);
    }
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn attributes_of_any_format_are_judged_with_the_code() {
    let (app, _, set) = start().await;
    let long = "x".repeat(1001);
    let file = format!("code;a;b\nA;1;\nB;{long};\nC;;x\n");
    let import_of = import(&set, CSV, "?attributeColumns=*", file).await;
    assert_eq!(import_of["options"]["attributeColumns"], "a,b");
    assert_eq!(report(&set, &import_of).await, ["3|B|attributeTooLong|"]);
    let body = json!({"codes": [
        {"code": "D", "attributes": {"k": "v", "none": null}},
        {"code": "E", "attributes": null},
        {"code": "F", "attributes": {"k": long}},
    ]});
    let import_of = import(&set, JSON, "", body.to_string()).await;
    assert_eq!(report(&set, &import_of).await, ["3|F|attributeTooLong|"]);
    assert_eq!(codes(&app).await.concat(), "ACDE");

    let many: serde_json::Map<String, Value> =
        (0..51).map(|n| (format!("k{n:02}"), json!("v"))).collect();
    let body = json!({"codes": [
        {"code": "G", "attributes": {"k": 7, "": "v"}}, {"code": "H", "attributes": ["v"]},
        {"code": "I", "attributes": many},
    ]});
    let faults = [
        "/codes/0/attributes/",
        "/codes/0/attributes/k",
        "/codes/1/attributes",
        "/codes/2/attributes/k50",
    ];
    let answer = set.upload(JSON, "", body.to_string()).await.expect(422);
    assert_eq!(answer.faults(), faults);
}

#[tokio::test]
async fn options_that_a_format_does_not_have_are_refused_before_the_upload() {
    let (_app, _, set) = start().await;
    for (kind, query, names) in [
        (CSV, "?encoding=klingon&sheet=", vec!["encoding", "sheet"]),
        (
            LIST,
            "?sheet=A&attributeColumns=a",
            vec!["attributeColumns", "sheet"],
        ),
        (JSON, "?encoding=utf-8", vec!["encoding"]),
    ] {
        let answer = set.upload(kind, query, "A").await.expect(422);
        assert_eq!(answer.faults(), names, "{kind} {query}");
    }
    let list = import(&set, LIST, "?encoding=windows-1252", b"\xd1".to_vec()).await;
    assert_eq!(list["options"]["encoding"], "windows-1252");
}
