//! Health: whether the process is alive, and whether work should be sent to it.

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::envelope::envelope;
use super::error::{Error, UNAVAILABLE};
use super::routes::Routes;
use crate::database::Database;

/// What readiness depends on.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    pub database: Database,
    pub shutdown: CancellationToken,
}

pub(crate) fn routes(state: Health) -> Routes {
    Routes::new()
        .get("/healthz", healthz)
        .get("/readyz", readyz)
        .with_state(state)
}

/// Answers before the database is ready: the process is alive, but no work should be sent to it.
pub(crate) fn starting_router() -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .fallback(async || Error::refused(&UNAVAILABLE, "The service is starting."))
        .layer(from_fn(envelope))
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether work should be sent here: the database answers and is migrated, and the service is not stopping.
async fn readyz(State(health): State<Health>) -> Result<&'static str, Error> {
    if health.shutdown.is_cancelled() {
        return Err(Error::refused(&UNAVAILABLE, "The service is stopping."));
    }
    if !health.database.is_migrated().await? {
        return Err(Error::refused(
            &UNAVAILABLE,
            "The database is not migrated.",
        ));
    }
    Ok("ready\n")
}
