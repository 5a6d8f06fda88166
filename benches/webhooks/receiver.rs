//! The endpoint of the webhook: it accepts every message and records its arrival time.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;

use crate::support::Result;
use crate::support::http::find_text;

/// Received messages, by the id of their event.
#[derive(Debug, Default)]
struct Arrivals {
    ids: HashSet<String>,
    delays: Vec<Duration>,
}

/// A server on its own thread.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    arrivals: Arc<Mutex<Arrivals>>,
}

impl Receiver {
    pub fn start() -> Result<Self> {
        let arrivals = Arc::new(Mutex::new(Arrivals::default()));
        let router = Router::new()
            .route("/", post(take))
            .with_state(Arc::clone(&arrivals));
        let (bound, address) = mpsc::channel();
        std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || -> Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await?;
                    bound.send(listener.local_addr()?)?;
                    axum::serve(listener, router).await?;
                    Ok(())
                })
            })?;
        Ok(Self {
            address: address.recv()?,
            arrivals,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until `count` messages have arrived, fails if one arrived twice, and forgets them. Returns the delay of
    /// each, shortest first.
    pub async fn take(&self, count: usize, limit: Duration) -> Result<Vec<Duration>> {
        let deadline = Instant::now() + limit;
        loop {
            let (distinct, all) = {
                let arrivals = self.arrivals.lock().map_err(|_| "the receiver panicked")?;
                (arrivals.ids.len(), arrivals.delays.len())
            };
            if all > distinct {
                return Err("an event was delivered twice".into());
            }
            if distinct >= count {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("{distinct} of {count} events arrived").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut arrivals = self.arrivals.lock().map_err(|_| "the receiver panicked")?;
        let mut arrivals = std::mem::take(&mut *arrivals);
        arrivals.delays.sort_unstable();
        Ok(arrivals.delays)
    }
}

async fn take(State(arrivals): State<Arc<Mutex<Arrivals>>>, headers: HeaderMap, body: Bytes) {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    let at = std::str::from_utf8(&body)
        .ok()
        .and_then(|body| find_text(body, "assignedAt"))
        .and_then(|(at, _)| at.parse::<DateTime<Utc>>().ok());
    let (Some(id), Some(at)) = (id, at) else {
        // The expected count will not be reached.
        eprintln!("a message without an id or a time");
        return;
    };
    let mut arrivals = arrivals.lock().expect("no holder of this lock panics");
    arrivals.ids.insert(id.to_owned());
    arrivals
        .delays
        .push((Utc::now() - at).to_std().unwrap_or_default());
}
