//! Configured limits of imports.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use futures_util::stream;
use serde_json::json;
use tower::ServiceExt;

use crate::imports::formats::{BYTES, XLSX, gzip, workbook, zip};
use crate::imports::invalid_input::stored;
use crate::imports::{CSV, JSON, LIST, codes, counts, form, import, report, send_form};
use crate::support::TestApp;
use crate::support::database::TestDatabase;
use crate::support::shop::{CouponSet, Shop};

async fn start(settings: &[&str]) -> (TestApp, Shop, CouponSet) {
    let app = TestApp::with(TestDatabase::create().await, settings);
    let shop = app.shop().await;
    let set = shop.multiple("birthday", &[]).await;
    (app, shop, set)
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let (app, shop, set) = start(&["--import-max-bytes", "1000"]).await;
    let body = "x\n".repeat(501);
    assert_eq!(
        set.upload(CSV, "", body.clone()).await.refusal(),
        "413 payload-too-large"
    );
    let fields = [
        ("type", "coupons"),
        ("couponSetId", set.id.as_str()),
        ("file", body.as_str()),
    ];
    let answer = send_form(&shop, "/v1/imports", form(&fields)).await;
    assert_eq!(answer.refusal(), "413 payload-too-large");
    // Without a Content-Length.
    let frames =
        stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 400]))));
    let request = Request::post(format!("{}/imports", set.path()))
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", shop.key))
        .header("content-type", LIST)
        .body(Body::from_stream(frames))
        .unwrap();
    let answer = app.app.router().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(stored(&app).await, 0);
    import(&set, CSV, "?header=false", "x".repeat(100) + "\n").await;
}

#[tokio::test]
async fn what_unpacks_to_more_than_the_limit_is_refused() {
    let (app, _, set) = start(&["--import-max-unpacked-bytes", "1000000"]).await;
    let bomb = vec![b'\n'; 10_000_000];
    for body in [
        gzip(&bomb),
        zip(&[("codes.csv", &bomb)]),
        gzip(&gzip(&bomb)),
    ] {
        assert!(body.len() < 100_000);
        let answer = set.upload(BYTES, "?encoding=utf-8", body).await;
        assert_eq!(answer.refusal(), "413 payload-too-large");
        assert!(
            answer.str("detail").contains("1000000 bytes"),
            "{}",
            answer.text
        );
    }
    assert_eq!(stored(&app).await, 0);
    import(&set, BYTES, "", gzip(b"A")).await;
}

#[tokio::test]
async fn rows_over_the_limit_are_refused_and_none_of_the_file_is_stored() {
    let (app, _, set) = start(&["--import-max-rows", "3"]).await;
    let book = workbook(&[("A", 1), ("B", 2), ("C", 3), ("D", 4)], &[]);
    for (kind, body) in [
        (CSV, b"code,n\nA,1\n,2\nC,3\nD,4\n".to_vec()),
        (LIST, b"A B C D".to_vec()),
        (JSON, br#"{"codes": ["A", "B", "C", "D"]}"#.to_vec()),
        (XLSX, book),
    ] {
        let answer = set.upload(kind, "", body).await;
        assert_eq!(answer.refusal(), "413 payload-too-large", "{kind}");
        assert!(
            answer.str("detail").contains("at most 3 rows"),
            "{}",
            answer.text
        );
    }
    assert_eq!(stored(&app).await, 0);
    assert_eq!(counts(&import(&set, LIST, "", "A B C").await), [3, 3, 0, 0]);
}

#[tokio::test]
async fn a_code_over_the_limit_is_a_row_of_the_report_and_never_cut() {
    let (app, _, set) = start(&["--import-max-code-length", "4"]).await;
    for (kind, body) in [
        (CSV, "code,n\nÑBCD,1\nABCDE,2\n".to_owned()),
        (LIST, "B2 ABCDE".to_owned()),
        (
            JSON,
            json!({"codes": ["C3", {"code": "ABCDE"}]}).to_string(),
        ),
    ] {
        let import = import(&set, kind, "", body).await;
        assert_eq!(counts(&import), [2, 1, 1, 0], "{kind}");
        assert!(
            report(&set, &import).await[0].ends_with("|ABCDE|tooLong|"),
            "{kind}"
        );
    }
    assert_eq!(codes(&app).await, ["ÑBCD", "B2", "C3"]);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_and_holds_no_place() {
    let (app, shop, set) = start(&[]).await;
    for _ in 0..5 {
        let broken = [
            Ok(Bytes::from("A\n".repeat(1_000_000))),
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
        ];
        let request = Request::post(format!("{}/imports", set.path()))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", shop.key))
            .header("content-type", LIST)
            .body(Body::from_stream(stream::iter(broken)))
            .unwrap();
        let answer = app.app.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 400);
    }
    assert_eq!(stored(&app).await, 0);
    set.fill(&["A"]).await;
}

#[tokio::test]
async fn a_form_that_goes_on_between_its_fields_is_refused_before_it_fills_the_memory() {
    let (app, shop, _) = start(&[]).await;
    let head = "--frontier\r\nContent-Disposition: form-data; name=\"type\"\r\nX-Long: ";
    let field = form(&[("type", "coupons")]);
    let next = format!("{}\r\nX-Long: ", field.trim_end_matches("--\r\n"));
    for before in [head, "", &next] {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let frames = (0..128).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 * 1024]))
        });
        let first = Ok(Bytes::from(before.to_owned()));
        let body = Body::from_stream(stream::iter([first].into_iter().chain(frames)));
        let request = Request::post("/v1/imports")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", shop.key))
            .header("content-type", "multipart/form-data; boundary=frontier")
            .body(body)
            .unwrap();
        let answer = app.app.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 400);
        let text = to_bytes(answer.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("outside of its fields"), "{text}");
        assert!(read.load(Ordering::Relaxed) < 24);
    }
    assert_eq!(stored(&app).await, 0);
}
