//! Compression of responses: large JSON documents and exports, for clients that accept it.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{Request, header};
use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::support::TestApp;
use crate::support::shop::Shop;

/// Sends a request and returns the response as it is transferred, in its chunks.
async fn transfer(app: &TestApp, shop: &Shop, path: &str, accepted: &str) -> (Parts, Vec<Bytes>) {
    let request = Request::get(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", shop.key))
        .header("accept-encoding", accepted)
        .body(Body::empty())
        .expect("a request");
    let response = app.app.router().oneshot(request).await;
    let (parts, mut body) = response.expect("the router answers").into_parts();
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        chunks.push(frame.expect("a frame").into_data().expect("data"));
    }
    (parts, chunks)
}

fn unpack(chunks: &[Bytes]) -> String {
    let mut text = String::new();
    GzDecoder::new(&*chunks.concat())
        .read_to_string(&mut text)
        .expect("gzip");
    text
}

#[tokio::test]
async fn a_large_document_is_compressed_for_clients_that_accept_it() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    for number in 0..10 {
        shop.multiple(&format!("Set {number}"), &[]).await;
    }
    let path = "/v1/coupon-sets?limit=10";
    let (plain, text) = transfer(&app, &shop, path, "identity").await;
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    let (packed, chunks) = transfer(&app, &shop, path, "br;q=1, gzip;q=0.5").await;
    assert_eq!(packed.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(unpack(&chunks).as_bytes(), text.concat());
    assert!(chunks.concat().len() * 4 < text.concat().len());
    // A length of the uncompressed document would end the response early.
    assert!(!packed.headers.contains_key(header::CONTENT_LENGTH));
    for name in [
        "vary",
        "x-request-id",
        "cache-control",
        "x-content-type-options",
    ] {
        assert!(packed.headers.contains_key(name), "{name}");
    }
    assert_eq!(packed.headers[header::CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn a_small_document_is_not_compressed() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("Set", &["CODE"]).await;
    set.assign("ann").await.expect(201);
    for path in ["/v1/workflows", "/v1/contacts/ann/coupons", "/healthz"] {
        let (answer, chunks) = transfer(&app, &shop, path, "gzip").await;
        assert!(
            !answer.headers.contains_key(header::CONTENT_ENCODING),
            "{path}: {} bytes",
            chunks.concat().len()
        );
    }
}

#[tokio::test]
async fn an_export_is_compressed_and_remains_a_stream() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let codes: Vec<String> = (0..20_000)
        .map(|number| format!("CODE-{number:05}"))
        .collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = shop.multiple("Set", &codes).await;
    let path = format!("{}/coupons?format=csv", set.path());
    let (_, plain) = transfer(&app, &shop, &path, "identity").await;
    let (packed, chunks) = transfer(&app, &shop, &path, "gzip").await;
    assert_eq!(packed.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(unpack(&chunks).as_bytes(), plain.concat());
    assert!(chunks.concat().len() * 4 < plain.concat().len());
    assert!(chunks.len() > 1, "the export came at once");
}
