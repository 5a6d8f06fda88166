//! HAProxy in front of replicas that restart.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Proxy, free_address, is_installed};
use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::program::{Client, Service, couponry, folder, until};

const REPLICAS: u8 = 3;
const CLIENTS: usize = 16;
const CODES: usize = 30_000;

fn start(dir: &Path, database: &TestDatabase, address: SocketAddr) -> Service {
    fs::create_dir_all(dir).expect("the folder is ours");
    let mut command = couponry(dir);
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
        .env("COUPONRY_SHUTDOWN_DELAY", "3")
        .env("COUPONRY_LISTEN", address.to_string());
    Service::start(dir, &mut command)
}

/// The number of servers that HAProxy sends requests to, once its socket exists: it listens for callers before.
fn running(socket: &Path) -> Option<usize> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream
        .write_all(b"show servers state replicas\n")
        .expect("it reads");
    let mut states = String::new();
    stream.read_to_string(&mut states).expect("it answers");
    // The sixth column is the state, of which 2 is `running`.
    let lines = states.lines().filter(|line| line.contains(" replica-"));
    let running = lines.filter(|line| line.split(' ').nth(5) == Some("2"));
    Some(running.count())
}

/// Requests codes for one contact after the other. Returns the codes.
async fn assign_until(
    done: Arc<AtomicBool>,
    http: reqwest::Client,
    uri: String,
    key: String,
    client: usize,
) -> Vec<String> {
    let mut codes = Vec::new();
    // On a fast machine a client rests when it has had its share.
    while !done.load(Ordering::Relaxed) && codes.len() < CODES / CLIENTS {
        let body = json!({"contactId": format!("{client}-{}", codes.len())});
        let request = http.post(&uri).bearer_auth(&key);
        let request = request.header("Content-Type", "application/json");
        let response = request.body(body.to_string()).send().await;
        let response = response.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a whole answer");
        assert_eq!(status, 201, "{text}");
        let assigned: Value = serde_json::from_str(&text).expect("JSON");
        codes.push(assigned["couponCode"].as_str().expect("a code").to_owned());
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request_and_assigns_no_code_twice() {
    if !is_installed("haproxy") {
        return;
    }
    let folder = folder();
    let database = TestDatabase::create().await;
    let addresses: Vec<SocketAddr> = (0..REPLICAS).map(|n| free_address(10 + n)).collect();
    let dir = |n: usize, life: usize| folder.path().join(format!("replica-{n}-{life}"));
    let mut replicas: Vec<Service> = (0..addresses.len())
        .map(|n| start(&dir(n, 0), &database, addresses[n]))
        .collect();

    let front = free_address(2);
    let socket = folder.path().join("haproxy.sock");
    let servers: Vec<String> = addresses
        .iter()
        .enumerate()
        .map(|(n, address)| format!("  server replica-{n} {address} check\n"))
        .collect();
    let servers = servers.concat();
    // No request is sent again: a failure would be seen.
    let config = format!(
        "global\n  stats socket {socket} level operator\n\
         defaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout check 5s\n\
         frontend callers\n  bind {front}\n  default_backend replicas\n\
         backend replicas\n  option httpchk\n  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost\n  \
         http-check expect status 200\n  default-server inter 300ms fall 1 rise 1\n{servers}",
        socket = socket.display()
    );
    fs::write(folder.path().join("haproxy.cfg"), config).expect("the folder is ours");
    let _haproxy = Proxy::start(
        "haproxy",
        &["-db", "-q", "-f", "haproxy.cfg"],
        folder.path(),
        front,
    );
    let all_run = || {
        until("HAProxy uses all replicas", || {
            (running(&socket)? == addresses.len()).then_some(())
        });
    };
    all_run();

    let operator = Client::at(front, OPERATOR_TOKEN);
    let shop = operator.new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "multiple"}));
    let codes: Vec<String> = (0..CODES).map(|n| format!("C{n:05}")).collect();
    for part in codes.chunks(5000) {
        shop.fill(&set, part);
    }

    let done = Arc::new(AtomicBool::new(false));
    // The client needs it although no connection is encrypted. A second test of this process may have done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // With connections that are used again.
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let assigning = assign_until(
                Arc::clone(&done),
                http.clone(),
                format!("http://{front}{set}/assignments"),
                shop.bearer().to_owned(),
                client,
            );
            tokio::spawn(assigning)
        })
        .collect();

    let restarted = tokio::task::block_in_place(|| {
        for n in 0..addresses.len() {
            replicas[n].interrupt(Signal::TERM);
            assert!(replicas[n].ended().success());
            replicas[n] = start(&dir(n, 1), &database, addresses[n]);
            all_run();
        }
        replicas.len()
    });
    assert_eq!(restarted, addresses.len());
    done.store(true, Ordering::Relaxed);
    let mut codes = Vec::new();
    for client in clients {
        codes.extend(client.await.expect("each request was served"));
    }
    let distinct: HashSet<&String> = codes.iter().collect();
    assert_eq!(distinct.len(), codes.len());
    let stored = database
        .query_value("select count(*)::integer from assignments")
        .await;
    assert_eq!(stored, codes.len());
}
