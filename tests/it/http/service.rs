//! Properties of every response, and the service's own endpoints.

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, header};
use clap::Parser;
use couponry::app::App;
use couponry::cli::CommandLine;
use futures_util::stream;
use http_body_util::BodyExt;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use tower::ServiceExt;

use crate::support::client::Client;
use crate::support::{TestApp, sql};

const FILE: &str = include_str!("../../../openapi.yaml");

/// The service on a PostgreSQL that is not reachable.
fn without_a_database() -> Client {
    let config = CommandLine::parse_from(["couponry"]).config;
    // Nothing listens on this port.
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(1);
    let key = format!("Bearer cpk_{}_secret", "01900000000070008000000000000000");
    Client::new(App::start(&config, &options).router(), Some(key))
}

#[tokio::test]
async fn an_answer_bears_the_request_id_that_the_request_brought() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let longest = "x".repeat(128);
    for id in ["1", "a-b_c.d:e/f", "~!@#", &longest] {
        for path in ["/healthz", "/v1/coupon-sets", "/v1/nothing"] {
            let answer = shop
                .client
                .send(Method::GET, path, &[("x-request-id", id)], "")
                .await;
            assert_eq!(answer.headers["x-request-id"], id, "{path}");
            if path == "/v1/nothing" {
                assert_eq!(answer.refusal(), "404 unknown-path");
                assert_eq!(answer.str("requestId"), id);
            }
        }
    }
}

#[tokio::test]
async fn a_request_without_a_usable_id_gets_a_new_one() {
    let app = TestApp::start().await;
    let client = app.anyone();
    let mut seen = std::collections::HashSet::new();
    let too_long = "x".repeat(129);
    for id in [
        None,
        None,
        Some(""),
        Some("a b"),
        Some("a\tb"),
        Some("é"),
        Some(&*too_long),
    ] {
        let headers = id.map(|id| ("x-request-id", id));
        let answer = client
            .send(Method::GET, "/v1/coupon-sets", headers.as_slice(), "")
            .await;
        assert_eq!(answer.refusal(), "401 unauthorized");
        let minted = answer.str("requestId").to_owned();
        assert_eq!(
            (minted.len(), minted.as_bytes()[14]),
            (36, b'7'),
            "a UUIDv7"
        );
        assert!(seen.insert(minted));
    }
}

#[tokio::test]
async fn a_panic_is_answered_as_a_problem_and_the_service_goes_on() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    // The handler reads the body, and reading it panics.
    let body = stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> {
            panic!("the body of a test")
        },
    );
    let request = Request::post("/v1/coupon-sets")
        .header(header::HOST, "localhost")
        .header(header::AUTHORIZATION, format!("Bearer {}", shop.key))
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-request-id", "panicking")
        .body(Body::from_stream(body))
        .unwrap();
    let answer = app.app.router().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(
        answer.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    assert_eq!(answer.headers()["x-request-id"], "panicking");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "internal-error");
    assert_eq!(problem["requestId"], "panicking");
    assert!(!problem.to_string().contains("body of a test"), "{problem}");
    shop.multiple("after", &[]).await;
}

#[tokio::test]
async fn an_internal_error_reveals_nothing_of_its_cause() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    // Renamed, not dropped: a drop also locks dependent objects, in another order than the tasks do.
    sql::run(&mut owner, "alter table coupon_sets rename to gone")
        .await
        .unwrap();
    let answer = shop.client.get("/v1/coupon-sets").await;
    assert_eq!(answer.refusal(), "500 internal-error");
    for cause in ["coupon_sets", "relation", "select", "sqlx"] {
        assert!(!answer.text.contains(cause), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_document_is_served_as_it_is() {
    let app = TestApp::start().await;
    let answer = app.anyone().get("/openapi.yaml").await.expect(200);
    assert_eq!(answer.text, FILE);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/yaml");
}

#[tokio::test]
async fn the_reference_page_loads_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let client = app.anyone();
    let page = client.get("/docs").await.expect(200);
    let policy = page.headers[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(
        !policy.contains("http") && !policy.contains('*') && !policy.contains("unsafe"),
        "{policy}"
    );
    let mut loaded = 0;
    for attribute in ["src=\"", "href=\""] {
        for rest in page.text.split(attribute).skip(1) {
            let url = rest.split('"').next().unwrap();
            if url.starts_with("data:") {
                continue;
            }
            assert!(
                !url.contains("//") && !url.starts_with('/'),
                "{url} is not relative"
            );
            // Resolved against /docs, as in a browser.
            client.get(&format!("/{url}")).await.expect(200);
            loaded += 1;
        }
    }
    assert_eq!(loaded, 4, "the style, two scripts and the document");
    let script = client.get("/docs/init.js").await.expect(200);
    assert!(script.text.contains("url: \"openapi.yaml\""));
    assert!(
        !script.text.contains("//") || !script.text.contains("http"),
        "{}",
        script.text
    );
}

#[tokio::test]
async fn without_its_database_the_service_lives_but_is_not_ready_and_says_when_to_come_again() {
    let client = without_a_database();
    let answer = client.get("/healthz").await.expect(200);
    assert_eq!(answer.text, "ok\n");
    for path in ["/readyz", "/v1/coupon-sets"] {
        let answer = client.get(path).await;
        assert_eq!(answer.refusal(), "503 unavailable", "{path}");
        let wait: u32 = answer.headers[header::RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=60).contains(&wait));
    }
}

#[tokio::test]
async fn a_migrated_service_is_ready_and_one_that_stops_is_not() {
    let app = TestApp::start().await;
    let client = app.anyone();
    client.get("/readyz").await.expect(200);
    // As on a standby: a connection finds out when it begins.
    let read_only = "do $$ begin
        execute format('alter database %I set default_transaction_read_only = on', current_database());
      end $$";
    app.database.execute(read_only).await;
    let read_only = TestApp::on(app.database.shared());
    let problem = read_only.anyone().get("/readyz").await;
    assert_eq!(problem.refusal(), "503 unavailable");
    assert_eq!(problem.str("detail"), "The database is read-only.");
    app.app.stop().await;
    assert_eq!(client.get("/readyz").await.refusal(), "503 unavailable");
    client.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_database_that_is_not_migrated_is_not_ready() {
    let app = TestApp::start().await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    // The state before the first start.
    let empty = "alter schema public rename to gone; create schema public";
    sql::run(&mut owner, empty).await.unwrap();
    assert_eq!(
        app.anyone().get("/readyz").await.refusal(),
        "503 unavailable"
    );
}

#[tokio::test]
async fn health_and_documents_need_no_key_and_mind_none() {
    let app = TestApp::start().await;
    for client in [
        app.anyone(),
        app.with_key("nonsense"),
        app.shop().await.client,
    ] {
        for path in ["/healthz", "/readyz", "/openapi.yaml", "/docs"] {
            client.get(path).await.expect(200);
        }
    }
}
