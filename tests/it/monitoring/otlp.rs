//! The export of traces.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpListener;

use super::Monitored;
use crate::support::database::TestDatabase;
use crate::support::hooks::Endpoint;

const TRACE: [u8; 16] = *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c";
const TRACE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector in this process, and the spans that it received, as protobuf.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let take = async |State(received): State<Arc<Mutex<Vec<u8>>>>, body: Bytes| {
        received.lock().unwrap().extend_from_slice(&body);
    };
    let router = Router::new()
        .route("/v1/traces", post(take))
        .with_state(Arc::clone(&received));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), received)
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes
        .windows(part.len())
        .filter(|window| *window == part)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_its_batch_and_its_delivery_are_exported_without_private_text() {
    let (collector, received) = collector().await;
    let endpoint = Endpoint::open().await;
    let database = TestDatabase::create().await;
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector)];
    let mut monitored = Monitored::on(&database.url(), &settings);
    let shop = monitored.operator().new_shop();
    let hook = json!({"url": endpoint.url(), "eventTypes": ["coupon.assigned"]});
    shop.post("/v1/webhooks", &hook).expect(201);
    let set = shop.new_set(&json!({"name": "Private name", "type": "multiple"}));
    shop.fill(&set, &["PRIVATE-CODE".to_owned()]);
    let headers = [
        ("traceparent", TRACE_PARENT),
        ("Idempotency-Key", "private-key"),
    ];
    let body = json!({"contactId": "private-contact"}).to_string();
    let assigned = shop.send("POST", &format!("{set}/assignments"), &headers, &body);
    assigned.expect("an answer").expect(201);
    let delivered = endpoint.wait_for(1).await.remove(0).trace_parent.unwrap();
    monitored.service.interrupt(Signal::TERM);
    assert!(monitored.service.ended().success());

    let spans = received.lock().unwrap().clone();
    for name in [
        "POST /v1/coupon-sets/{couponSetId}/assignments",
        "batch",
        "import",
        "delivery",
    ] {
        assert!(count(&spans, name.as_bytes()) > 0, "{name}");
    }
    // The span of the request, and the link from its batch.
    assert_eq!(count(&spans, &TRACE), 2);
    let of_delivery: Vec<u8> = (3..35)
        .step_by(2)
        .map(|at| u8::from_str_radix(&delivered[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(count(&spans, &of_delivery), 1, "{delivered}");
    for private in ["PRIVATE", "private", "Private"] {
        assert_eq!(count(&spans, private.as_bytes()), 0, "{private}");
    }
    let log = monitored.service.log();
    assert!(!log.contains("traces are not exported"), "{log}");
}
