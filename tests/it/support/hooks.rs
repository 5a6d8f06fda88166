//! Webhooks of a shop, and endpoints that receive their messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use super::client::{Answer, Client};
use super::database::TestDatabase;
use super::eventually;
use super::rows;
use super::shop::Shop;
use super::tls::TlsServer;

/// A message that an endpoint received.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    pub id: String,
    pub timestamp: i64,
    pub signatures: Vec<String>,
    pub content_type: String,
    pub trace_parent: Option<String>,
    pub text: String,
    pub body: Value,
}

impl Received {
    fn new(headers: &HeaderMap, body: &Bytes) -> Self {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Self {
            at: Instant::now(),
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp").parse().unwrap(),
            signatures: header("webhook-signature")
                .split(' ')
                .map(str::to_owned)
                .collect(),
            trace_parent: headers
                .contains_key("traceparent")
                .then(|| header("traceparent")),
            content_type: header(header::CONTENT_TYPE.as_str()),
            body: serde_json::from_str(&text).unwrap(),
            text,
        }
    }

    /// The number that a test assigned to an event.
    #[track_caller]
    pub fn n(&self) -> i64 {
        self.body["data"]["n"].as_i64().unwrap()
    }

    /// The signature for a secret, computed here from the definition of HMAC.
    pub fn signature(&self, secret: &str) -> String {
        let key = STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap();
        let mut block = [0_u8; 64];
        block[..key.len()].copy_from_slice(&key);
        let hash = |pad: u8, message: &[u8]| {
            let mut hash = Sha256::new();
            hash.update(block.map(|byte| byte ^ pad));
            hash.update(message);
            hash.finalize()
        };
        let message = format!("{}.{}.{}", self.id, self.timestamp, self.text);
        let inner = hash(0x36, message.as_bytes());
        format!("v1,{}", STANDARD.encode(hash(0x5c, &inner)))
    }
}

/// Response of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    pub status: u16,
    pub after: Duration,
}

pub fn status(status: u16) -> Reply {
    Reply {
        status,
        after: Duration::ZERO,
    }
}

pub fn slow(after: Duration) -> Reply {
    Reply { status: 200, after }
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

/// An endpoint in this process.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    /// Requests in progress, and their maximum so far.
    open: AtomicUsize,
    most: AtomicUsize,
    script: Box<Script>,
}

impl Shared {
    /// Returns the endpoint and its router.
    fn new(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> (Arc<Self>, Router) {
        let shared = Arc::new(Self {
            received: Mutex::default(),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            script: Box::new(script),
        });
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&shared));
        (shared, router)
    }
}

impl Endpoint {
    /// An endpoint that accepts everything.
    pub async fn open() -> Self {
        Self::answering(|_| status(200)).await
    }

    pub async fn answering(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, router) = Shared::new(script);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url: format!("http://{address}/hook"),
            shared,
        }
    }

    /// An endpoint that accepts everything by HTTPS, and its server, whose authority must be trusted.
    pub async fn secure() -> (Self, TlsServer) {
        let (shared, router) = Shared::new(|_| status(200));
        let server = TlsServer::serve(|_| router).await;
        let url = server.url("localhost", "/hook");
        (Self { url, shared }, server)
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// The numbers of the received events, in the order of arrival.
    pub fn numbers(&self) -> Vec<i64> {
        self.received().iter().map(Received::n).collect()
    }

    /// Maximum number of concurrent requests.
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// Waits until `count` messages have arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually(&format!("{count} messages come"), async || {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let received = Received::new(&headers, &body);
    let reply = (shared.script)(&received);
    shared.received.lock().unwrap().push(received);
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(open, Ordering::SeqCst);
    tokio::time::sleep(reply.after).await;
    shared.open.fetch_sub(1, Ordering::SeqCst);
    let status = StatusCode::from_u16(reply.status).unwrap();
    if status.is_redirection() {
        return (status, [(header::LOCATION, "/elsewhere")]).into_response();
    }
    status.into_response()
}

/// A webhook and a client that manages it.
pub struct Webhook {
    pub client: Client,
    pub id: String,
    pub secret: String,
}

impl Shop {
    /// Creates a webhook for all types of events.
    pub async fn webhook(&self, url: &str) -> Webhook {
        let body = json!({"url": url, "eventTypes": [
            "coupon.assigned",
            "coupon-set.low-stock",
            "coupon-set.exhausted",
            "coupon-set.refilled",
            "import.finished",
        ]});
        let webhook = self.client.post("/v1/webhooks", body).await.expect(201);
        Webhook {
            client: self.client.clone(),
            id: webhook.str("id").to_owned(),
            secret: webhook.str("secret").to_owned(),
        }
    }
}

impl Webhook {
    pub fn path(&self) -> String {
        format!("/v1/webhooks/{}", self.id)
    }

    pub async fn read(&self) -> Value {
        self.client.get(&self.path()).await.expect(200).body
    }

    pub async fn patch(&self, body: Value) -> Answer {
        self.client.patch(&self.path(), body).await
    }

    /// Calls an operation of the webhook that takes no body.
    pub async fn call(&self, operation: &str) -> Answer {
        let uri = format!("{}/{operation}", self.path());
        let method = axum::http::Method::POST;
        self.client.send(method, &uri, &[], "").await
    }

    /// The newest deliveries.
    pub async fn deliveries(&self, query: &str) -> Vec<Value> {
        let uri = format!("{}/deliveries{query}", self.path());
        self.client.get(&uri).await.expect(200).results().clone()
    }

    /// Waits until there are `count` deliveries, all in this state.
    pub async fn settled(&self, count: usize, state: &str) -> Vec<Value> {
        eventually(&format!("{count} deliveries are {state}"), async || {
            let deliveries = self.deliveries("?limit=1000").await;
            let all = deliveries.iter().all(|one| one["state"] == state);
            (all && deliveries.len() == count).then_some(deliveries)
        })
        .await
    }

    /// Writes events for it directly into the database, with the numbers from `from` to `to`.
    pub async fn write(&self, database: &TestDatabase, from: i64, to: i64) {
        database.execute(&self.writing(from, to)).await;
    }

    /// The statement that writes them.
    pub fn writing(&self, from: i64, to: i64) -> String {
        rows::deliveries(&self.id, from, to)
    }

    /// Makes deliveries that wait for their next attempt due now.
    pub async fn hasten(&self, database: &TestDatabase) {
        database.execute(&rows::due_deliveries(&self.id)).await;
    }

    /// Sets columns of its row.
    pub async fn set(&self, database: &TestDatabase, columns: &str) {
        let set = format!("update webhooks set {columns} where id = '{}'", self.id);
        database.execute(&set).await;
    }
}
