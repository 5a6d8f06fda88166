//! Previews of the first part of a file.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::imports::formats::{BYTES, XLSX, gzip, workbook, zip};
use crate::imports::invalid_input::stored;
use crate::imports::{CSV, JSON, LIST, counts, import, start};
use crate::support::client::{Answer, Client};

async fn preview(client: &Client, kind: &str, query: &str, body: impl Into<Body>) -> Answer {
    let uri = format!("/v1/imports/preview{query}");
    client
        .send(Method::POST, &uri, &[("content-type", kind)], body)
        .await
}

fn kinds(sample: &Value) -> Vec<&str> {
    let warnings = sample["warnings"].as_array().unwrap();
    warnings
        .iter()
        .map(|warning| warning["kind"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_preview_shows_how_a_file_would_be_read_and_stores_nothing() {
    let (app, shop, set) = start().await;
    let file = "name;code;until\nann;A-1;2026-12-31\nbob;;\ncat;A-1;soon\ndan;A-1;\n";
    let answer = preview(&shop.client, CSV, "?expiresAtColumn=until&whole=true", file).await;
    let sample = answer.expect(200).body;
    assert_eq!(sample["format"], "csv");
    assert_eq!(
        (&sample["delimiter"], &sample["header"]),
        (&json!(";"), &json!(true))
    );
    assert_eq!(
        (&sample["rows"], &sample["complete"]),
        (&json!(4), &json!(true))
    );
    assert_eq!(
        (
            &sample["codeColumn"]["number"],
            &sample["codeColumn"]["name"]
        ),
        (&json!(2), &json!("code"))
    );
    assert_eq!(kinds(&sample), ["badDate", "duplicateInFile", "empty"]);
    assert_eq!(stored(&app).await, 0);
    // An import rejects the rows that the preview named.
    let import = import(&set, CSV, "?expiresAtColumn=until", file).await;
    assert_eq!(counts(&import), [4, 1, 3, 1]);
}

#[tokio::test]
async fn what_a_preview_guesses_answers_what_an_import_asks() {
    let (_app, shop, set) = start().await;
    let row = |n: u32| format!("ann,X{:06}\n", n.wrapping_mul(48_271) % 1_000_000);
    let rows: Vec<String> = (0..30).map(row).collect();
    let file = format!("holder,key\n{}", rows.concat());
    let refused = set.upload(CSV, "", file.clone()).await;
    assert_eq!(refused.refusal(), "422 unreadable-file");
    let sample = preview(&shop.client, CSV, "", file.clone())
        .await
        .expect(200)
        .body;
    assert_eq!(kinds(&sample), ["codeColumnNeeded"]);
    assert_eq!(sample["codeColumn"]["name"], "key");
    let query = format!(
        "?codeColumn={}&header={}",
        sample["codeColumn"]["number"], sample["header"]
    );
    assert_eq!(
        counts(&import(&set, CSV, &query, file).await),
        [30, 30, 0, 0]
    );
}

#[tokio::test]
async fn packed_parts_workbooks_and_lists_have_previews() {
    let (_app, shop, _) = start().await;
    let rows: Vec<String> = (0..300_000_u64)
        .map(|n| format!("{:016X}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let packed = gzip(rows.concat().as_bytes());
    let part = packed[..1 << 20].to_vec();
    let sample = preview(&shop.client, "application/gzip", "", part)
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&sample["packing"], &sample["complete"]),
        (&json!("gzip"), &json!(false))
    );
    assert!(
        sample["rows"].as_i64().unwrap() > 10_000,
        "{}",
        sample["rows"]
    );
    let book = workbook(&[("A", 1), ("B", 2)], &["C"]);
    let sample = preview(&shop.client, XLSX, "?sheet=Summer", book.clone())
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&sample["format"], &sample["sheets"], &sample["sheet"]),
        (
            &json!("xlsx"),
            &json!(["Spring", "Summer"]),
            &json!("Summer")
        )
    );
    let sample = preview(&shop.client, LIST, "", "A-1 B-2 C-")
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&sample["format"], &sample["rows"]),
        (&json!("list"), &json!(2))
    );
    let archive = zip(&[("a.csv", b"A")]);
    for cut in [&book[..book.len() / 2], &archive[..archive.len() - 5]] {
        let answer = preview(&shop.client, BYTES, "", cut.to_vec()).await;
        assert_eq!(answer.refusal(), "422 unreadable-file");
        assert!(
            answer.str("detail").contains("send the complete file"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_preview_refuses_what_it_cannot_look_at() {
    let (_app, shop, _) = start().await;
    let client = &shop.client;
    let large = preview(client, CSV, "", vec![b'x'; (1 << 20) + 1]).await;
    assert_eq!(large.refusal(), "413 payload-too-large");
    let json = preview(client, JSON, "", "{}").await;
    assert_eq!(json.refusal(), "415 unsupported-media-type");
    let option = preview(client, CSV, "?delimiter=x", "A").await;
    assert_eq!(option.expect(422).faults(), ["delimiter"]);
    let column = preview(client, CSV, "?codeColumn=key", "code,x\nA,1\n").await;
    assert_eq!(column.refusal(), "422 unreadable-file");
    assert_eq!(
        preview(client, CSV, "", "").await.refusal(),
        "422 unreadable-file"
    );
    let unknown = preview(client, CSV, "?colour=red", "A").await;
    assert_eq!(unknown.refusal(), "400 malformed-request");
    let reader = shop.key_with(&["imports:read"]).await;
    assert_eq!(
        preview(&reader, CSV, "", "A").await.refusal(),
        "403 missing-scope"
    );
}
