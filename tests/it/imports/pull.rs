//! Imports of files that the service fetches itself.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::database::TestDatabase;
use crate::support::program::folder;
use crate::support::shop::CouponSet;
use crate::support::tls::TlsServer;

/// Serves files at `https://localhost`.
async fn serve() -> TlsServer {
    TlsServer::serve(|server| router(server.url("localhost", "/codes.csv"))).await
}

fn router(codes: String) -> Router {
    let csv = || async { ([(header::CONTENT_TYPE, "text/csv")], "code\nA\nB\nA\n") };
    let list = || async { ([(header::CONTENT_TYPE, "text/plain")], "L1 L2,L3") };
    let cut = || async {
        let begin = stream::iter([Ok("code\nC1\n")]);
        // The pause flushes the first part.
        let end = stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err("the disk is gone")
        });
        Body::from_stream(begin.chain(end)).into_response()
    };
    let huge = || async {
        let length = [(header::CONTENT_LENGTH, "3000000000")];
        (
            length,
            Body::from_stream(stream::pending::<Result<&str, &str>>()),
        )
    };
    Router::new()
        .route("/codes.csv", get(csv))
        .route("/list", get(list))
        .route("/moved", get(|| async move { Redirect::temporary(&codes) }))
        .route("/below", get(|| async { Redirect::permanent("moved") }))
        .route("/circle", get(|| async { Redirect::temporary("/circle") }))
        .route(
            "/plain",
            get(|| async { Redirect::temporary("http://localhost/codes.csv") }),
        )
        .route(
            "/elsewhere",
            get(|| async { Redirect::temporary("https://example.com/codes.csv") }),
        )
        .route(
            "/inside",
            get(|| async { Redirect::temporary("https://169.254.169.254/codes.csv") }),
        )
        .route("/cut", get(cut))
        .route("/huge", get(huge))
}

/// A service with these options, and a set.
async fn start(options: &[&str]) -> (TestApp, CouponSet) {
    let app = TestApp::with(TestDatabase::create().await, options);
    let shop = app.shop().await;
    let set = shop.multiple("Spring", &[]).await;
    (app, set)
}

async fn pull(set: &CouponSet, url: &str) -> Answer {
    set.client
        .post(&format!("{}/imports", set.path()), json!({"url": url}))
        .await
}

async fn imports(set: &CouponSet) -> Value {
    set.client.get("/v1/imports").await.expect(200).body["results"].clone()
}

#[tokio::test]
async fn a_file_is_fetched_by_https_and_imported() {
    let files = serve().await;
    let (_app, set) = start(&[
        "--pull-hosts=localhost",
        "--pull-private",
        "--ca-file",
        files.authority(),
    ])
    .await;
    let import = pull(&set, &files.url("localhost", "/codes.csv"))
        .await
        .expect(201);
    assert_eq!(import.str("apiKeyName"), "all");
    let import = set.ended(import.str("id")).await;
    assert_eq!(
        (&import["total"], &import["success"], &import["duplicates"]),
        (&json!(3), &json!(2), &json!(1))
    );
    let import = pull(&set, &files.url("localhost", "/list"))
        .await
        .expect(201);
    let import = set.ended(import.str("id")).await;
    assert_eq!(import["success"], 3);
}

#[tokio::test]
async fn redirects_are_followed_to_where_files_may_come_from() {
    let files = serve().await;
    let (_app, set) = start(&[
        "--pull-hosts=localhost",
        "--pull-private",
        "--ca-file",
        files.authority(),
    ])
    .await;
    // Two redirects, of which the first is relative.
    let import = pull(&set, &files.url("localhost", "/below"))
        .await
        .expect(201);
    assert_eq!(set.ended(import.str("id")).await["success"], 2);
    for path in ["/plain", "/elsewhere", "/inside"] {
        let answer = pull(&set, &files.url("localhost", path)).await.expect(422);
        assert_eq!(answer.faults(), ["/url"], "{path}");
    }
    let answer = pull(&set, &files.url("localhost", "/circle")).await;
    assert_eq!(answer.refusal(), "502 fetch-failed");
}

#[tokio::test]
async fn what_may_not_be_fetched_is_refused_before_any_connection() {
    let files = serve().await;
    let ca = ["--ca-file", files.authority()];
    let (_none, by_default) = start(&ca).await;
    let (_other, other_host) = start(
        &[
            &["--pull-hosts=files.example.com", "--pull-private"],
            &ca[..],
        ]
        .concat(),
    )
    .await;
    let (_public, public_only) = start(&[&["--pull-hosts=*"], &ca[..]].concat()).await;
    let localhost = files.url("localhost", "/codes.csv");
    let address = files.url("127.0.0.1", "/codes.csv");
    let cases = [
        (&by_default, localhost.as_str()),
        (&other_host, &localhost),
        (&public_only, &address),
        (&public_only, "https://[::1]/codes.csv"),
        (&public_only, "http://example.com/codes.csv"),
        (&public_only, "https://ann:secret@example.com/codes.csv"),
        (&public_only, "file:///etc/passwd"),
        (&public_only, "codes.csv"),
    ];
    for (set, url) in cases {
        let answer = pull(set, url).await.expect(422);
        assert_eq!(answer.faults(), ["/url"], "{url}");
        assert_eq!(imports(set).await, json!([]));
    }
    // A name that resolves to a private address is rejected only after the lookup.
    let answer = pull(&public_only, &localhost).await;
    assert_eq!(answer.refusal(), "502 fetch-failed");
    assert!(
        answer.str("detail").contains("not public"),
        "{}",
        answer.text
    );
    assert_eq!(files.connections(), 0);
}

#[tokio::test]
async fn a_failure_on_the_way_is_reported_and_stores_nothing() {
    let files = serve().await;
    let options = ["--pull-hosts=localhost", "--pull-private"];
    let (_app, set) = start(
        &[
            &options[..],
            &["--ca-file", files.authority(), "--pull-seconds=20"],
        ]
        .concat(),
    )
    .await;
    let (_wary, wary) = start(&options).await;
    let cases = [
        (&set, "/nothing", "404"),
        (&set, "/cut", "interrupted"),
        (&wary, "/codes.csv", "certificate"),
    ];
    for (set, path, what) in cases {
        let answer = pull(set, &files.url("localhost", path)).await;
        assert_eq!(answer.refusal(), "502 fetch-failed");
        assert!(answer.str("detail").contains(what), "{}", answer.text);
        assert!(!answer.text.contains(path), "{}", answer.text);
        assert_eq!(imports(set).await, json!([]));
    }
    let answer = pull(&set, &files.url("localhost", "/huge")).await;
    assert_eq!(answer.refusal(), "413 payload-too-large");
    // Nothing listens there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    drop(listener);
    assert_eq!(pull(&set, &url).await.refusal(), "502 fetch-failed");
    assert_eq!(imports(&set).await, json!([]));
}

#[tokio::test]
async fn a_fetch_that_takes_too_long_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_app, set) = start(&[
        "--pull-hosts=localhost",
        "--pull-private",
        "--pull-seconds=1",
    ])
    .await;
    // It accepts connections and sends nothing.
    let answer = pull(&set, &format!("https://localhost:{port}/codes.csv")).await;
    assert_eq!(answer.refusal(), "502 fetch-failed");
    assert!(answer.str("detail").contains("1 second"), "{}", answer.text);
}

#[test]
fn a_file_without_certificates_is_refused_at_the_start() {
    use clap::Parser;
    let folder = folder();
    let path = folder.path().join("ca.pem");
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&path, text).unwrap();
        let line = couponry::cli::CommandLine::try_parse_from([
            "couponry",
            "--ca-file",
            path.to_str().unwrap(),
        ]);
        assert!(line.unwrap_err().to_string().contains("certificate"));
    }
}
