//! Attributes of codes.

use serde_json::{Value, json};

use super::{super::*, read_csv, read_json, rules};

/// The attributes of a row as JSON, or the reason of its rejection.
type RowAttributes = Result<Option<Value>, RejectionReason>;

fn attributes_of(row: Row) -> RowAttributes {
    let parse = |text: String| serde_json::from_str(&text).expect("JSON");
    match row.code {
        Ok(_) => Ok(row.attributes.map(parse)),
        Err(rejection) => Err(rejection.reason),
    }
}

fn of_csv(
    file: &str,
    columns: &str,
) -> Result<(Option<String>, Vec<RowAttributes>), DeliveryFault> {
    let options = TableOptions {
        attribute_columns: Some(columns.to_owned()),
        expires_at_column: file.contains("until").then(|| "until".to_owned()),
        ..TableOptions::default()
    };
    let mut rows = Vec::new();
    let read = read_csv(file.as_bytes(), &options, rules(), &mut |row| {
        rows.push(attributes_of(row));
        Ok::<(), ()>(())
    });
    match read {
        Ok(layout) => Ok((layout.attribute_columns, rows)),
        Err(ReadError::Fault(fault)) => Err(fault),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn columns_are_attributes_by_their_names() {
    let file = "name;code;until;\"no, te\";;name\nann;A;;\" two\nlines \"\"q\"\" \";x;1\n ;B;;;;\n";
    let first = json!({"name": "ann", "no, te": "two\nlines \"q\"", "5": "x", "name (4)": "1"});
    let (columns, rows) = of_csv(file, "*").expect("a table");
    assert_eq!(columns.as_deref(), Some("name,4,5,6"));
    assert_eq!(rows, [Ok(Some(first)), Ok(None)]);
    let (columns, rows) = of_csv(file, " 5 , NAME").expect("a table");
    assert_eq!(columns.as_deref(), Some("5,name"));
    assert_eq!(rows[0], Ok(Some(json!({"5": "x", "name": "ann"}))));
    let (columns, rows) = of_csv("A\n", "*").expect("one column");
    assert_eq!((columns.as_deref(), &rows[..]), (Some(""), &[Ok(None)][..]));
}

#[test]
fn columns_that_cannot_be_attributes_are_a_fault() {
    let file = "code;until;a\nA;;1\n";
    for (columns, column) in [("a,3", "a"), ("code", "code"), ("2", "until")] {
        let column = column.to_owned();
        assert_eq!(
            of_csv(file, columns),
            Err(DeliveryFault::AttributeTwice { column })
        );
    }
    assert!(matches!(
        of_csv(file, "b"),
        Err(DeliveryFault::NoSuchColumn { .. })
    ));
    assert!(matches!(
        of_csv(file, "a,4"),
        Err(DeliveryFault::NoSuchColumn { .. })
    ));
    let wide = format!("code{}\nA\n", ";a".repeat(51));
    assert_eq!(
        of_csv(&wide, "*"),
        Err(DeliveryFault::TooManyAttributes { columns: 51 })
    );
}

#[test]
fn a_value_has_at_most_a_thousand_characters_and_no_nul() {
    let value = |text: &str| {
        of_csv(&format!("code;a\nA;{text}\n"), "a")
            .expect("a table")
            .1[0]
            .clone()
    };
    let long = "🎁".repeat(1000);
    assert_eq!(value(&long), Ok(Some(json!({"a": long}))));
    assert_eq!(
        value(&format!("{long}x")),
        Err(RejectionReason::AttributeTooLong)
    );
    assert_eq!(
        value(&"x".repeat(100_000)),
        Err(RejectionReason::AttributeTooLong)
    );
    assert_eq!(value("a\0b"), Err(RejectionReason::ControlCharacter));
    // A fault of the code comes first, and no fault is carried over to the next row.
    let rows = of_csv(&format!("code;a\n;{long}x\nB;y\n"), "a")
        .expect("a table")
        .1;
    assert_eq!(
        rows,
        [Err(RejectionReason::Empty), Ok(Some(json!({"a": "y"})))]
    );
}

#[test]
fn json_has_attributes_of_its_own() {
    let long = "x".repeat(1001);
    let body = json!({"codes": [
        "A",
        {"code": "B", "attributes": {"k\"": " v ", "n": null, "e": ""}},
        {"code": "C", "attributes": {"k": long}},
        {"attributes": {"z": "1", "a": "2"}, "code": "D"},
        {"code": "E", "attributes": {}},
    ]});
    let mut rows = Vec::new();
    let body = body.to_string();
    read_json(body.as_bytes(), rules(), &mut |row| {
        rows.push(attributes_of(row));
        Ok::<(), ()>(())
    })
    .expect("a body");
    let expected = [
        Ok(None),
        Ok(Some(json!({"k\"": "v"}))),
        Err(RejectionReason::AttributeTooLong),
        Ok(Some(json!({"z": "1", "a": "2"}))),
        Ok(None),
    ];
    assert_eq!(rows, expected);
}
