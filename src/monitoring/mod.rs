//! The metrics of this replica, on a listener of their own.
//!
//! Most are recorded where something happens (`metrics`). What waits in the database is read for each scrape.

mod db;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::background::{StepOutcome, Tasks, log_failure};
use crate::database::Database;
use crate::metrics;

/// Time limit of reading from the database for a scrape. Prometheus waits 10 seconds by default.
const READ_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Monitoring {
    database: Database,
    /// Scrapes read from the database one after another.
    reading: Arc<Mutex<()>>,
}

/// Builds the router of the listener, and starts the upkeep of what was recorded.
pub(crate) fn start(database: &Database, tasks: &Tasks) -> Router {
    let upkeep = tasks.clone();
    tasks.spawn(async move {
        upkeep
            .every(metrics::UPKEEP_INTERVAL, || {
                metrics::run_upkeep();
                ready(StepOutcome::Done)
            })
            .await;
    });
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(Monitoring {
            database: database.clone(),
            reading: Arc::default(),
        })
}

async fn scrape(State(monitoring): State<Monitoring>) -> impl IntoResponse {
    monitoring.read().await;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], metrics::render())
}

impl Monitoring {
    async fn read(&self) {
        let _turn = self.reading.lock().await;
        self.database.record_pools();
        let backlog = timeout(READ_LIMIT, self.database.with_system(db::read_backlog)).await;
        let backlog = backlog.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        if let Err(error) = &backlog {
            log_failure("the backlog could not be read for the metrics", error);
        }
        metrics::backlog(backlog.as_ref().ok());
    }
}
