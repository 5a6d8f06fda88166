//! Previews.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    super::*,
    CODE_NAMES,
    files::{file, gzip, limits, sheet_of, zip},
    rules,
};

fn preview_as(
    format: TextFormat,
    bytes: &[u8],
    whole: bool,
    options: &TableOptions,
) -> Result<Value, DeliveryFault> {
    let hint = ContentTypeHint {
        format,
        gzip: false,
    };
    match sample::<()>(file(bytes), hint, whole, options, rules(), &limits()) {
        Ok(sample) => Ok(serde_json::to_value(sample).expect("JSON")),
        Err(ReadError::Fault(fault)) => Err(fault),
        Err(error) => panic!("{error:?}"),
    }
}

#[track_caller]
fn preview(bytes: impl AsRef<[u8]>) -> Value {
    preview_as(
        TextFormat::Csv,
        bytes.as_ref(),
        false,
        &TableOptions {
            code_names: CODE_NAMES,
            ..TableOptions::default()
        },
    )
    .expect("a table")
}

fn kinds(sample: &Value) -> Vec<&str> {
    let warnings = sample["warnings"].as_array().expect("warnings");
    warnings
        .iter()
        .map(|warning| warning["kind"].as_str().expect("a kind"))
        .collect()
}

#[test]
fn a_preview_has_the_layout_the_columns_and_the_warnings() {
    let file =
        "name;code;until\nann;A-1001;2026-12-31\nbob;B-1002;soon\ncat;;\ndan;A-1001;\neve;C-10";
    let options = TableOptions {
        expires_at_column: Some("until".to_owned()),
        ..TableOptions::default()
    };
    let sample = preview_as(TextFormat::Csv, file.as_bytes(), false, &options).expect("a table");
    assert_eq!(sample["format"], "csv");
    assert_eq!(sample["encoding"], "UTF-8");
    assert_eq!(sample["delimiter"], ";");
    assert_eq!(sample["header"], true);
    // The last row is truncated.
    assert_eq!(
        (&sample["rows"], &sample["complete"]),
        (&json!(4), &json!(false))
    );
    assert_eq!(sample["codeColumn"]["number"], 2);
    assert_eq!(sample["codeColumn"]["name"], "code");
    assert_eq!(sample["columns"][1]["samples"], json!(["A-1001", "B-1002"]));
    assert_eq!(
        (
            &sample["columns"][1]["filled"],
            &sample["columns"][1]["unique"]
        ),
        (&json!(3), &json!(2))
    );
    assert_eq!(kinds(&sample), ["badDate", "duplicateInFile", "empty"]);
    assert_eq!(sample["warnings"][1]["lines"], json!([5]));
    let whole = preview_as(TextFormat::Csv, file.as_bytes(), true, &options).expect("a table");
    assert_eq!(
        (&whole["rows"], &whole["complete"]),
        (&json!(5), &json!(true))
    );
}

#[test]
fn the_code_column_is_found_by_what_is_in_it() {
    let mut file = "id,mail,price,day,key,name\n".to_owned();
    for n in 1..60_u64 {
        let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        writeln!(
            file,
            "{n},a{n}@b.com,{n}.50,2026-01-{:02},{key:010X},Ann",
            n % 28 + 1
        )
        .expect("memory");
    }
    let sample = preview(&file);
    assert_eq!(sample["codeColumn"]["name"], "key", "{sample:#}");
    assert_eq!(sample["header"], true);
    assert!(
        sample["codeColumn"]["confidence"]
            .as_f64()
            .expect("a number")
            > 0.7
    );
    assert_eq!(kinds(&sample), ["codeColumnNeeded"]);
    for column in [0, 1, 2, 3, 5] {
        assert!(
            sample["columns"][column]["confidence"]
                .as_f64()
                .expect("a number")
                < 0.4,
            "{sample:#}"
        );
    }
    // The same without names.
    let (_, rows) = file.split_once('\n').expect("lines");
    let bare = preview(rows);
    assert_eq!(
        (&bare["header"], &bare["codeColumn"]["number"]),
        (&json!(false), &json!(5))
    );
    assert_eq!(
        (&bare["rows"], &bare["codeColumn"]["name"]),
        (&json!(59), &Value::Null)
    );
}

#[test]
fn two_columns_of_codes_are_ambiguous() {
    let mut file = "code,pin\n".to_owned();
    let mut nameless = String::new();
    for n in 0..40_u64 {
        let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        writeln!(nameless, "{key:010X},{:010X}", key ^ 0xff_ffff).expect("memory");
    }
    file += &nameless;
    assert_eq!(
        kinds(&preview(&nameless)),
        ["codeColumnNeeded", "ambiguousCodeColumn"]
    );
    assert_eq!(preview(&file)["codeColumn"]["number"], 1);
}

#[test]
fn a_truncated_package_is_previewed_up_to_its_end() {
    let mut file = "code;n\n".to_owned();
    for n in 0..200_000_u64 {
        writeln!(file, "{:016X};{n}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).expect("memory");
    }
    let packed = gzip(file.as_bytes());
    let part = preview(&packed[..1 << 19]);
    assert_eq!(
        (&part["packing"], &part["complete"]),
        (&json!("gzip"), &json!(false))
    );
    assert!(part["rows"].as_u64().expect("a number") > 10_000);
    assert_eq!(part["codeColumn"]["name"], "code");
    let whole = preview_as(
        TextFormat::Csv,
        &packed[..1 << 19],
        true,
        &TableOptions::default(),
    );
    assert_eq!(whole.expect_err("a cut file"), DeliveryFault::CutShort);
    let zipped = zip(&[("a.csv", file.as_bytes())]);
    assert_eq!(preview(&zipped)["packing"], "zip");
    let cut = preview_as(
        TextFormat::Csv,
        &zipped[..1 << 19],
        false,
        &TableOptions::default(),
    );
    assert_eq!(cut.expect_err("a cut archive"), DeliveryFault::NoDirectory);
}

#[test]
fn a_preview_of_a_workbook_lists_its_sheets() {
    let sample = preview(sheet_of(&[
        &["code", "name"],
        &["A-1", "ann"],
        &["B-2", "bob"],
    ]));
    assert_eq!(
        (&sample["format"], &sample["encoding"]),
        (&json!("xlsx"), &Value::Null)
    );
    assert_eq!(
        (&sample["sheets"], &sample["sheet"]),
        (&json!(["Sheet1"]), &json!("Sheet1"))
    );
    assert_eq!(
        (&sample["rows"], &sample["complete"]),
        (&json!(2), &json!(true))
    );
}

#[test]
fn a_preview_warns_of_hidden_rows() {
    let sample = preview(include_bytes!("data/libreoffice.xls"));
    assert_eq!(sample["format"], "xls");
    assert_eq!(sample["sheets"], json!(["Codes", "Second"]));
    let hidden = sample["warnings"].as_array().expect("warnings");
    let hidden = hidden.iter().find(|it| it["kind"] == "hiddenRows");
    assert_eq!(hidden.expect("a warning")["count"], 1);
}

#[test]
fn a_part_may_end_anywhere() {
    let file = "código,nota\nÑ-1,\"a\nb\"\nÑ-2,\"ü\"\nÑ-3,x\n";
    let texts = [
        file.as_bytes().to_vec(),
        file.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        encoding_rs::WINDOWS_1252.encode(file).0.into_owned(),
    ];
    for text in texts {
        for end in 40..=text.len() {
            let sample = preview(&text[..end]);
            let samples = sample["columns"][0]["samples"].as_array().expect("samples");
            let expected = ["Ñ-1", "Ñ-2", "Ñ-3"];
            assert!(
                samples
                    .iter()
                    .zip(expected)
                    .all(|(sample, code)| sample == code),
                "{end} {sample:#}"
            );
        }
    }
    assert_eq!(kinds(&preview("code;n\nA1;\"x\nB2;y\n")), ["unclosedQuote"]);
}

#[test]
fn a_list_has_a_preview_too() {
    let sample = preview_as(
        TextFormat::List,
        b"A-1001 B-1002,C-1003;A-1001 D-1",
        false,
        &TableOptions::default(),
    );
    let sample = sample.expect("a list");
    assert_eq!(
        (&sample["format"], &sample["rows"]),
        (&json!("list"), &json!(4))
    );
    assert_eq!(kinds(&sample), ["duplicateInFile"]);
    let one =
        preview_as(TextFormat::List, b"A-1001", false, &TableOptions::default()).expect("a list");
    assert_eq!(one["rows"], 1);
}

#[test]
fn a_guessed_encoding_is_a_warning() {
    let sample = preview(b"c\xf3digo\nA1\n");
    assert_eq!(sample["encoding"], "windows-1252");
    assert_eq!(kinds(&sample), ["encodingGuessed"]);
    assert_eq!(
        preview_as(TextFormat::Csv, b"", false, &TableOptions::default()),
        Err(DeliveryFault::Empty)
    );
}
