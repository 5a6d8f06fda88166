//! JSON bodies.

use std::io::{self, Read};

use super::{super::*, read_json, rules};

const MEBIBYTE: usize = 1024 * 1024;

fn read(body: &[u8]) -> Result<Vec<Row>, ReadError<()>> {
    let mut rows = Vec::new();
    read_json(body, rules(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn faults(body: &str) -> Vec<(String, String)> {
    match read(body.as_bytes()) {
        Err(ReadError::Fields(faults)) => faults
            .into_iter()
            .map(|fault| (fault.pointer, fault.detail))
            .collect(),
        other => panic!("{body}: {other:?}"),
    }
}

fn fault(pointer: &str, detail: &str) -> (String, String) {
    (pointer.to_owned(), detail.to_owned())
}

#[test]
fn each_element_is_a_row_with_its_place_from_1() {
    let rows = read("\u{feff}{\"codes\": [\" A \", \"\", \"B\\u0000\", \"\\u00e9\"]}".as_bytes());
    let rows = rows.expect("a correct body");
    assert_eq!(
        rows.iter().map(|row| row.line).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    let codes: Vec<_> = rows
        .into_iter()
        .map(|row| row.code.map_err(|rejection| rejection.reason))
        .collect();
    assert_eq!(
        codes,
        [
            Ok("A".to_owned()),
            Err(RejectionReason::Empty),
            Err(RejectionReason::ControlCharacter),
            Ok("é".to_owned())
        ]
    );
}

#[test]
fn an_element_may_be_an_object_with_an_expiry() {
    let body = r#"{"codes": [
        {"code": " A ", "expiresAt": " 2026-12-31 "}, "B", {"expiresAt": null, "code": "C"}, {"code": "D"},
        {"code": "E", "expiresAt": " "}, {"code": "F", "expiresAt": "soon"}, {"code": "", "expiresAt": "soon"},
        {"code": "G", "expiresAt": "2026-12-31T10:00:00+02:00"}]}"#;
    let rows: Vec<_> = read(body.as_bytes())
        .expect("a correct body")
        .into_iter()
        .map(|row| {
            let expiry = row.expires_at.map(|at| at.format("%F %R").to_string());
            (row.code.map_err(|it| (it.code, it.reason)), expiry)
        })
        .collect();
    let code = |code: &str, expiry: Option<&str>| (Ok(code.to_owned()), expiry.map(str::to_owned));
    assert_eq!(
        rows,
        [
            code("A", Some("2027-01-01 00:00")),
            code("B", None),
            code("C", None),
            code("D", None),
            code("E", None),
            (Err(("F".to_owned(), RejectionReason::BadDate)), None),
            (Err((String::new(), RejectionReason::Empty)), None),
            code("G", Some("2026-12-31 08:00")),
        ]
    );
}

#[test]
fn no_codes_are_a_fault() {
    assert!(matches!(
        read(br#"{"codes": []}"#),
        Err(ReadError::Fault(DeliveryFault::Empty))
    ));
}

#[test]
fn malformed_json_is_reported_with_its_line_and_column() {
    let cases = [
        ("", 1, 0),
        ("{\"codes\": [\"A\",\n]}", 2, 1),
        ("{\"codes\": [\"A\"", 1, 14),
        ("{\"codes\": [\"A\"]} x", 1, 18),
        ("{\"codes\": [\"A\nB\"]}", 2, 0),
        ("{\"codes\": [\"\\ud800\"]}", 1, 19),
    ];
    for (body, line, column) in cases {
        match read(body.as_bytes()) {
            Err(ReadError::Syntax {
                line: l,
                column: c,
                message,
            }) => {
                assert_eq!((l, c), (line, column), "{body}: {message}");
                assert!(!message.contains(" at line "), "{message}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    assert!(matches!(
        read(b"{\"codes\": [\"\xe9\"]}"),
        Err(ReadError::Syntax { .. })
    ));
}

#[test]
fn malformed_json_outweighs_wrong_fields() {
    assert!(matches!(
        read(br#"{"codes": [1, }"#),
        Err(ReadError::Syntax { .. })
    ));
}

#[test]
fn a_body_that_is_no_object_is_a_fault_of_the_whole() {
    for body in ["[]", "[\"A\"]", "1", "-1", "1.5", "null", "true", "\"A\""] {
        assert_eq!(
            faults(body),
            [fault("", "This must be an object with the field `codes`.")],
            "{body}"
        );
    }
}

#[test]
fn all_wrong_fields_are_reported_at_once() {
    assert_eq!(faults("{}"), [fault("/codes", "This field is required.")]);
    assert_eq!(
        faults(
            r#"{"a/b~": {"x": [1]}, "codes": ["A", 1, null, ["B"], {"c": "D"}, "E"], "codes": 1}"#
        ),
        [
            fault("/a~1b~0", "Unknown field."),
            fault(
                "/codes/1",
                "This must be a string or an object with the field `code`."
            ),
            fault(
                "/codes/2",
                "This must be a string or an object with the field `code`."
            ),
            fault(
                "/codes/3",
                "This must be a string or an object with the field `code`."
            ),
            fault("/codes/4/c", "Unknown field."),
            fault("/codes/4/code", "This field is required."),
            fault("/codes", "This field occurs more than once."),
        ]
    );
    assert_eq!(
        faults(
            r#"{"codes": [{"code": null, "expiresAt": 1}, {"expiresAt": null}, {"code": ["A"], "expiresAt": {}},
                {"code": "A", "code": "B", "expiresAt": null, "expiresAt": "", "x/y": [{}]}]}"#
        ),
        [
            fault("/codes/0/code", "This must be a string."),
            fault("/codes/0/expiresAt", "This must be a string or null."),
            fault("/codes/1/code", "This field is required."),
            fault("/codes/2/code", "This must be a string."),
            fault("/codes/2/expiresAt", "This must be a string or null."),
            fault("/codes/3/code", "This field occurs more than once."),
            fault("/codes/3/expiresAt", "This field occurs more than once."),
            fault("/codes/3/x~1y", "Unknown field."),
        ]
    );
    for wrong in ["1", "null", "{}", "\"A\"", "{\"codes\": []}"] {
        let body = format!("{{\"codes\": {wrong}}}");
        assert_eq!(
            faults(&body),
            [fault("/codes", "This must be an array of codes.")],
            "{body}"
        );
    }
}

#[test]
fn a_hundred_faults_are_enough() {
    let body = format!("{{\"codes\": [1{}]}}", ",1".repeat(5_000));
    assert_eq!(faults(&body).len(), 100);
}

#[test]
fn a_string_of_more_than_1_mib_is_a_fault_at_its_place() {
    let mut body = br#"{"codes": ["A", ""#.to_vec();
    body.extend(std::iter::repeat_n(b'x', MEBIBYTE - 1));
    let fits = [&body[..], br#""]}"#].concat();
    let rows = read(&fits).expect("a long string is a row");
    assert_eq!(
        rows[1].code.as_ref().map_err(|rejection| rejection.reason),
        Err(RejectionReason::TooLong)
    );
    body.extend(b"xx");
    match read(&body) {
        Err(ReadError::Fields(faults)) => {
            assert_eq!(faults[0].pointer, "/codes/1");
            assert_eq!(
                faults[0].detail,
                "This contains a string of more than 1 MiB."
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn deep_nesting_is_a_fault() {
    for body in [
        "[".repeat(100_000),
        format!("{{\"x\": {}", "[".repeat(100_000)),
    ] {
        assert_eq!(faults(&body), [fault("", "This is nested too deeply.")]);
    }
}

#[test]
fn a_failing_file_is_not_malformed_json() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::TimedOut))
        }
    }
    let start = "{\"codes\": [".to_owned() + &"\"A\",".repeat(20_000);
    match read_json(start.as_bytes().chain(Broken), rules(), &mut |_| {
        Ok::<(), ()>(())
    }) {
        Err(ReadError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sink_can_end_the_reading() {
    let result = read_json(&br#"{"codes": ["A", "B"]}"#[..], rules(), &mut |row| {
        Err(row.line)
    });
    assert!(matches!(result, Err(ReadError::Sink(1))));
}
