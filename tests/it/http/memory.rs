//! The memory budget: what one tenant sends takes neither memory nor time from the others.

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::bodies::{Resources, taking};
use crate::support::TestApp;
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

/// Opens `count` unfinished requests to each operation with a JSON body.
async fn open_unfinished(
    service: &Process,
    shop: &Shop,
    resources: &Resources,
    count: usize,
) -> JoinSet<TcpStream> {
    let mut unfinished = JoinSet::new();
    for operation in taking(JSON) {
        let request = format!(
            "{} {}",
            operation.method.to_uppercase(),
            resources.path(&operation)
        );
        let is_list = operation.path.ends_with("/batch")
            || operation.path.ends_with("/withdraw")
            || operation.path.ends_with("/events");
        let length = if is_list { 16_000_000 } else { 64 * 1024 };
        for _ in 0..count {
            let stream = service.open(&shop.key, &request, JSON, length as u64).await;
            unfinished.spawn(send_unfinished(stream, length));
        }
    }
    unfinished
}

async fn hold_up_nobody(count: usize) {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let other = app.shop().await;
    let codes: Vec<String> = (0..500).map(|n| format!("C{n}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let set = other.multiple("other", &codes).await;
    let resources = Resources::of(&shop).await;
    app.app.stop().await;
    let budget = (64 * MIB).to_string();
    let service = Process::start_with(&app.database, &[("COUPONRY_MEMORY_BUDGET", &budget)]);
    let request = format!("POST {}/assignments", set.path());
    let assign = async |n: usize| {
        let body = json!({"contactId": format!("contact-{n}")}).to_string();
        let (status, assigned) = service.send(&other.key, &request, JSON, &body).await;
        assert_eq!(status, 201, "{assigned}");
    };
    assign(0).await;
    let at_rest = service.peak_memory();

    let unfinished = open_unfinished(&service, &shop, &resources, count).await;
    for n in 1..500 {
        assign(n).await;
    }
    let grown = service.peak_memory() - at_rest;
    assert!(grown < 128 * MIB, "{} MiB", grown / MIB);
    drop(unfinished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_one_tenant_take_no_memory_from_the_others() {
    hold_up_nobody(10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "opens thousands of connections"]
async fn a_thousand_unfinished_bodies_of_one_tenant_take_no_memory_from_the_others() {
    hold_up_nobody(300).await;
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
    let budget = (64 * MIB).to_string();
    let service = Process::start_with(&app.database, &[("COUPONRY_MEMORY_BUDGET", &budget)]);
    let items: Vec<_> = (0..10_000)
        .map(|n| json!({"contactId": format!("contact-{n}")}))
        .collect();
    let body = json!({"items": items}).to_string();
    let at_rest = service.peak_memory();
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
    let grown = service.peak_memory() - at_rest;
    assert!(grown < 128 * MIB, "{} MiB", grown / MIB);
}
