//! Invalid input: a clear response, and nothing stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::future::join_all;
use futures_util::stream;
use tower::ServiceExt;

use serde_json::{Value, json};

use crate::imports::{CSV, JSON, LIST, codes, counts, form, import, report, send_form, start};
use crate::support::process::{Process, answer};
use crate::support::shop::CouponSet;
use crate::support::{TestApp, eventually};

/// Number of stored rows of any kind, of all imports.
pub(super) async fn stored(app: &TestApp) -> Value {
    let query = "select (select count(*) from imports) + (select count(*) from import_chunks)
        + (select count(*) from import_errors) + (select count(*) from lots) + (select count(*) from cards)";
    app.database.query_value(query).await
}

#[tokio::test]
async fn a_wrong_form_is_refused_with_all_faults_at_once_and_stores_nothing() {
    let (app, shop, set) = start().await;
    let wrong = [
        ("colour", "red"),
        ("type", "contacts"),
        ("couponSetId", "7"),
        ("header", "maybe"),
        ("overrideExisting", "maybe"),
        ("delimiter", "#"),
    ];
    let answer = send_form(&shop, "/v1/imports", form(&wrong))
        .await
        .expect(422);
    let mut faults = answer.faults();
    faults.sort_unstable();
    let expected = [
        "/colour",
        "/couponSetId",
        "/delimiter",
        "/file",
        "/header",
        "/overrideExisting",
        "/type",
    ];
    assert_eq!(faults, expected);

    let into = |id: &str| {
        form(&[
            ("type", "coupons"),
            ("couponSetId", id),
            ("file", "code\nA\n"),
        ])
    };
    let single = shop.single("popup", "WELCOME15", None).await;
    let refusal = async |body: String| send_form(&shop, "/v1/imports", body).await.refusal();
    assert_eq!(
        refusal(into(&uuid::Uuid::now_v7().to_string())).await,
        "404 not-found"
    );
    assert_eq!(refusal(into(&single.id)).await, "422 single-set");
    assert_eq!(
        refusal(into(&set.id).replace("code\nA\n", "")).await,
        "422 unreadable-file"
    );
    assert_eq!(
        refusal(into(&set.id).replace("--frontier--\r\n", "")).await,
        "400 malformed-request"
    );
    assert_eq!(
        refusal(form(&[("type", &"x".repeat(2000))])).await,
        "400 malformed-request"
    );
    let answer = shop
        .client
        .post("/v1/imports", json!({"type": "coupons"}))
        .await;
    assert_eq!(answer.refusal(), "415 unsupported-media-type");
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn a_fault_that_shows_before_the_first_row_is_422_and_stores_nothing() {
    let (app, _, set) = start().await;
    let utf16 = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let files: &[(&str, &str, Vec<u8>, &str)] = &[
        (CSV, "", b"".to_vec(), "the file is empty"),
        (CSV, "", "\u{feff}\n \r\n".into(), "the file is empty"),
        (LIST, "", b" ,;\n".to_vec(), "the file is empty"),
        (JSON, "", br#"{"codes": []}"#.to_vec(), "the file is empty"),
        (CSV, "", b"code\n\n".to_vec(), "a header but no rows"),
        (
            CSV,
            "?codeColumn=gift",
            b"code;name\nA;ann\n".to_vec(),
            r#"the column "gift" does not exist; the first row has "code", "name""#,
        ),
        (
            CSV,
            "?codeColumn=3",
            b"code;name\nA;ann\n".to_vec(),
            "the column \"3\" does not exist",
        ),
        (
            CSV,
            "?codeColumn=0",
            b"code\nA\n".to_vec(),
            "the column \"0\" does not exist",
        ),
        (
            CSV,
            "?codeColumn=code&header=false",
            b"code\nA\n".to_vec(),
            "header=false",
        ),
        (
            CSV,
            "",
            b"x;y\n1;2\n".to_vec(),
            "the column with the codes is not known",
        ),
        (
            JSON,
            "",
            utf16("\u{feff}{\"codes\": [\"A\"]}"),
            "cannot be read in its encoding",
        ),
        (
            CSV,
            "?encoding=utf-8",
            b"caf\xe9;code\nx;A\n".to_vec(),
            "cannot be read in its encoding",
        ),
    ];
    for (kind, query, body, detail) in files {
        let answer = set.upload(kind, query, body.clone()).await;
        assert_eq!(answer.refusal(), "422 unreadable-file", "{detail}");
        assert!(answer.str("detail").contains(detail), "{}", answer.text);
    }
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn a_bad_row_further_down_is_reported_and_the_good_ones_come_in() {
    let (app, _, set) = start().await;
    let megabyte = "x".repeat(1_000_000);
    let cut = format!("{}…", "x".repeat(255));
    let mut file = format!("code;note\nA;1\nB\0C;2\n{megabyte};3\nD;{megabyte}\n").into_bytes();
    file.extend_from_slice(b"caf\xe9;5\nE;caf\xe9\n");
    let of_csv = import(&set, CSV, "?encoding=utf-8", file).await;
    assert_eq!(counts(&of_csv), [6, 3, 3, 0]);
    let expected = [
        "3|B\u{fffd}C|controlCharacter|",
        &format!("4|{cut}|tooLong|"),
        "6|caf\u{fffd}|invalidEncoding|",
    ];
    assert_eq!(report(&set, &of_csv).await, expected);

    let codes_of_json = json!({"codes": ["F", "G\u{0}", megabyte, "", "H"]});
    let of_json = import(&set, JSON, "", codes_of_json.to_string()).await;
    let expected = [
        "2|G\u{fffd}|controlCharacter|",
        &format!("3|{cut}|tooLong|"),
        "4||empty|",
    ];
    assert_eq!(report(&set, &of_json).await, expected);
    assert_eq!(codes(&app).await.concat(), "ADEFH");
}

#[tokio::test]
async fn an_unclosed_quote_ends_the_import_with_its_opening_line_and_publishes_nothing() {
    let (app, _, set) = start().await;
    // Enough rows that chunks and rejected rows are stored before the end is read.
    let file = "code;note\n".to_owned() + &"A;1\n;2\n".repeat(30_000) + "B;\"never closed\nC;3\n";
    let answer = set.upload(CSV, "", file).await.expect(201);
    let import = set.ended(answer.str("id")).await;
    assert_eq!(import["status"], "error");
    assert!(
        import["failure"].as_str().unwrap().contains("line 60002"),
        "{import}"
    );
    assert_eq!(
        (counts(&import), &import["errorReportFileUrl"]),
        ([0; 4], &Value::Null)
    );
    assert!(import["finishedAt"].is_string() && import["startedAt"].is_null());
    assert_eq!(stored(&app).await, 1);
    assert_eq!(set.counters().await, (json!(0), 0, json!(0)));
}

#[tokio::test]
async fn json_that_is_not_as_the_document_says_is_refused() {
    let (app, _, set) = start().await;
    for (body, faults) in [
        ("[\"A\"]", vec![""]),
        ("\"A\"", vec![""]),
        ("null", vec![""]),
        ("{}", vec!["/codes"]),
        (r#"{"codes": "A"}"#, vec!["/codes"]),
        (r#"{"codes": null}"#, vec!["/codes"]),
        (r#"{"codes": {"a": 1}}"#, vec!["/codes"]),
        (r#"{"codes": ["A"], "codes": ["B"]}"#, vec!["/codes"]),
        (r#"{"codes": ["A"], "a/b": 1}"#, vec!["/a~1b"]),
        (
            r#"{"colour": 1, "codes": ["A", 7, null, ["B"], 1e999, true]}"#,
            vec![],
        ),
        (
            r#"{"colour": 1, "codes": ["A", 7, null, ["B"], {}, true]}"#,
            vec![
                "/colour",
                "/codes/1",
                "/codes/2",
                "/codes/3",
                "/codes/4/code",
                "/codes/5",
            ],
        ),
    ] {
        let answer = set.upload(JSON, "", body).await;
        if faults.is_empty() {
            // Most programs reject a number that they cannot represent as invalid JSON.
            assert_eq!(answer.refusal(), "400 malformed-request", "{body}");
        } else {
            assert_eq!(answer.expect(422).faults(), faults, "{body}");
        }
    }
    let huge = format!(r#"{{"codes": ["A", "{}"]}}"#, "x".repeat(2 << 20));
    assert_eq!(
        set.upload(JSON, "", huge).await.expect(422).faults(),
        ["/codes/1"]
    );
    for broken in [
        "",
        "{",
        r#"{"codes": ["A",]}"#,
        r#"{"codes": ["A"]} x"#,
        "{\"codes\": [\"\u{1}\"]}",
    ] {
        let refusal = set.upload(JSON, "", broken).await.refusal();
        assert_eq!(refusal, "400 malformed-request", "{broken}");
    }
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn json_that_breaks_off_after_a_hundred_thousand_codes_stores_nothing() {
    let (app, _, set) = start().await;
    let codes: Vec<String> = (0..100_000).map(|n| format!("\"C{n}\", \"\", ")).collect();
    let start = format!("{{\"codes\": [{}", codes.concat());
    let broken = set.upload(JSON, "", start.clone() + "\"A\"").await;
    assert_eq!(broken.refusal(), "400 malformed-request");
    let wrong = set.upload(JSON, "", start + "7]}").await;
    assert_eq!(wrong.expect(422).faults(), ["/codes/200000"]);
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn wrong_options_sets_and_types_are_refused_before_the_upload() {
    let (app, shop, set) = start().await;
    assert_eq!(
        set.upload(CSV, "?delimiter=%23", "A")
            .await
            .expect(422)
            .faults(),
        ["delimiter"]
    );
    for (query, names) in [
        ("?delimiter=%3B", vec!["delimiter"]),
        ("?header=true&codeColumn=1", vec!["header", "codeColumn"]),
    ] {
        for kind in [LIST, JSON] {
            let answer = set.upload(kind, query, r#"{"codes": ["A"]}"#).await;
            assert_eq!(answer.expect(422).faults(), names, "{kind} {query}");
        }
    }
    for query in ["?header=maybe", "?colour=red", "?header=true&header=false"] {
        assert_eq!(
            set.upload(CSV, query, "A").await.refusal(),
            "400 malformed-request",
            "{query}"
        );
    }
    for kind in [
        "application/xml",
        "multipart/form-data; boundary=x",
        "text",
        "",
    ] {
        assert_eq!(
            set.upload(kind, "", "A").await.refusal(),
            "415 unsupported-media-type",
            "{kind}"
        );
    }
    let single = shop.single("popup", "WELCOME15", None).await;
    assert_eq!(
        single.upload(CSV, "", "A").await.refusal(),
        "422 single-set"
    );
    let nobody = CouponSet {
        id: uuid::Uuid::now_v7().to_string(),
        ..set.clone()
    };
    assert_eq!(nobody.upload(CSV, "", "A").await.refusal(), "404 not-found");
    let stranger = CouponSet {
        client: app.shop().await.client,
        ..set.clone()
    };
    assert_eq!(
        stranger.upload(CSV, "", "A").await.refusal(),
        "404 not-found"
    );
    let reader = CouponSet {
        client: shop.key_with(&["imports:read"]).await,
        ..set.clone()
    };
    assert_eq!(
        reader.upload(CSV, "", "A").await.refusal(),
        "403 missing-scope"
    );
    set.delete().await.expect(204);
    assert_eq!(set.upload(CSV, "", "A").await.refusal(), "404 not-found");
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn an_announced_body_over_the_limit_is_refused_before_it_is_sent() {
    let (app, shop, set) = start().await;
    let service = Process::start(&app.database);
    let request = format!("POST {}/imports", set.path());
    let stream = service.open(&shop.key, &request, CSV, 3 << 30).await;
    let (status, problem) = answer(stream).await;
    assert_eq!(
        (status, &problem["code"]),
        (413, &json!("payload-too-large"))
    );
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn two_hundred_uploads_of_ten_tenants_that_stall_hold_up_nobody_and_end() {
    let (app, _, _) = start().await;
    let other = app.shop().await.multiple("other", &[]).await;
    let mut sets = Vec::new();
    for _ in 0..10 {
        let shop = app.shop().await;
        let set = shop.multiple("stalled", &[]).await;
        sets.push((shop, set));
    }
    let reading = Arc::new(AtomicUsize::new(0));
    let stalled = sets.iter().cycle().take(200).map(|(shop, set)| {
        let reading = Arc::clone(&reading);
        let mut counted = false;
        // The handler reads, and no data ever arrives.
        let body = stream::poll_fn(move |_| -> Poll<Option<Result<Bytes, std::io::Error>>> {
            if !std::mem::replace(&mut counted, true) {
                reading.fetch_add(1, Ordering::SeqCst);
            }
            Poll::Pending
        });
        let request = Request::post(format!("{}/imports", set.path()))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", shop.key))
            .header("content-type", LIST)
            .body(Body::from_stream(body))
            .unwrap();
        app.app.router().oneshot(request)
    });
    let (ended, ()) = tokio::join!(join_all(stalled), async {
        eventually("all uploads are in progress", async || {
            (reading.load(Ordering::SeqCst) == 200).then_some(())
        })
        .await;
        other.fill(&["A"]).await;
        sets[0].1.fill(&["A"]).await;
    });
    for answer in ended {
        assert_eq!(answer.unwrap().status(), 408);
    }
}
