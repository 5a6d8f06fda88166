//! The memory budget: what one tenant sends takes neither memory nor time from the others.

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::bodies::{Resources, WITH_LIST, taking};
use crate::support::TestApp;
use crate::support::contract::Operation;
use crate::support::process::Process;
use crate::support::shop::Shop;

const JSON: &str = "application/json";
const MIB: u64 = 1 << 20;

/// A request that announces `length` bytes and sends all but the last.
async fn send_unfinished(mut stream: TcpStream, length: usize) -> TcpStream {
    let body = [br#"{"items": ["#.to_vec(), b"[],".repeat(length / 3)].concat();
    // The service refuses some of them, and closes the connection.
    let _ = stream.write_all(&body[..length - 1]).await;
    stream
}

/// A service with a budget of 64 MiB, and two of its tenants.
struct Tenants {
    /// Keeps the database.
    _app: TestApp,
    service: Process,
    shop: Shop,
    resources: Resources,
    other: Shop,
    request: String,
    assigned: usize,
}

impl Tenants {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let shop = app.shop().await;
        let resources = Resources::of(&shop).await;
        let other = app.shop().await;
        let set = other.single("other", "CODE", None).await;
        app.app.stop().await;
        let service = start_service(&app);
        let mut tenants = Self {
            _app: app,
            service,
            shop,
            resources,
            other,
            request: format!("POST {}/assignments", set.path()),
            assigned: 0,
        };
        tenants.assign(1).await;
        tenants
    }

    /// The other tenant assigns codes.
    async fn assign(&mut self, count: usize) {
        for _ in 0..count {
            self.assigned += 1;
            let body = json!({"contactId": format!("contact-{}", self.assigned)}).to_string();
            let (status, assigned) = self
                .service
                .send(&self.other.key, &self.request, JSON, &body)
                .await;
            assert_eq!(status, 201, "{assigned}");
        }
    }

    /// Opens `count` unfinished requests to an operation.
    async fn open(&self, operation: &Operation, count: usize, unfinished: &mut JoinSet<TcpStream>) {
        let method = operation.method.to_uppercase();
        let request = format!("{method} {}", self.resources.path(operation));
        let has_list = WITH_LIST.contains(&&*operation.path);
        let length = if has_list { 16_000_000 } else { 64 * 1024 };
        for _ in 0..count {
            let opened = self
                .service
                .open(&self.shop.key, &request, JSON, length as u64);
            unfinished.spawn(send_unfinished(opened.await, length));
        }
    }
}

/// A container of 256 MiB is enough.
#[track_caller]
fn check_memory(service: &Process) {
    let peak = service.peak_memory();
    assert!(peak < 256 * MIB, "{} MiB", peak / MIB);
}

fn start_service(app: &TestApp) -> Process {
    let budget = (64 * MIB).to_string();
    Process::start_with(&app.database, &[("COUPONRY_MEMORY_BUDGET", &budget)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_one_tenant_take_no_memory_from_the_others() {
    let mut tenants = Tenants::start().await;
    let mut unfinished = JoinSet::new();
    for operation in taking(JSON) {
        tenants.open(&operation, 10, &mut unfinished).await;
    }
    tenants.assign(500).await;
    check_memory(&tenants.service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "opens a thousand connections for each operation"]
async fn a_thousand_unfinished_bodies_of_any_operation_take_no_memory_from_the_others() {
    let mut tenants = Tenants::start().await;
    for operation in taking(JSON) {
        let mut unfinished = JoinSet::new();
        tenants.open(&operation, 1_000, &mut unfinished).await;
        tenants.assign(100).await;
        check_memory(&tenants.service);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_batches_of_ten_thousand_items_at_once_are_served_within_the_budget() {
    let app = TestApp::start().await;
    let other_shop = app.shop().await;
    let other = other_shop.multiple("other", &["A"]).await;
    let mut requests = Vec::new();
    for _ in 0..25 {
        let shop = app.shop().await;
        let set = shop.multiple("set", &["A"]).await;
        for _ in 0..2 {
            let request = format!("POST {}/assignments/batch", set.path());
            requests.push((shop.key.clone(), request));
        }
    }
    app.app.stop().await;
    let service = start_service(&app);
    let items: Vec<_> = (0..10_000)
        .map(|n| json!({"contactId": format!("contact-{n}")}))
        .collect();
    let body = json!({"items": items}).to_string();
    let served = join_all(requests.iter().map(async |(key, request)| {
        let mut stream = service.open(key, request, JSON, body.len() as u64).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        String::from_utf8_lossy(&response[..15]).into_owned()
    }));
    let (served, ()) = tokio::join!(served, async {
        let request = format!("POST {}/assignments", other.path());
        let (status, assigned) = service
            .send(&other_shop.key, &request, JSON, r#"{"contactId": "ann"}"#)
            .await;
        assert_eq!(status, 201, "{assigned}");
    });
    for status in served {
        // Whoever waits in vain is told so.
        let is_expected = ["200 OK", "429 ", "503 "]
            .into_iter()
            .any(|expected| status.contains(expected));
        assert!(is_expected, "{status}");
    }
    check_memory(&service);
}
