//! Health checks: liveness at `/healthz`, readiness at `/readyz`.

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::envelope::envelope;
use super::error::{Error, UNAVAILABLE};
use super::routes::Routes;
use crate::database::Database;
use crate::telemetry::AccessLog;

/// The state that readiness depends on.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    pub database: Database,
    /// Cancelled when the service is told to stop.
    pub stopping: CancellationToken,
}

pub(crate) fn routes(state: Health) -> Routes {
    Routes::new()
        .get("/healthz", healthz)
        .get("/readyz", readyz)
        .with_state(state)
}

/// The router during the start: the process is alive, and all other requests are rejected as unavailable.
pub(crate) fn starting_router(access_log: AccessLog) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .fallback(async || Error::refused(&UNAVAILABLE, "The service is starting."))
        .layer(from_fn_with_state(access_log, envelope))
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// Succeeds if this replica can take requests: the database responds, is migrated and can be written, and the service is not
/// stopping.
async fn readyz(State(health): State<Health>) -> Result<&'static str, Error> {
    if health.stopping.is_cancelled() {
        return Err(Error::refused(&UNAVAILABLE, "The service is stopping."));
    }
    let readiness = health.database.readiness().await?;
    if !readiness.is_migrated {
        return Err(Error::refused(
            &UNAVAILABLE,
            "The database is not migrated.",
        ));
    }
    if !readiness.is_writable {
        return Err(Error::refused(&UNAVAILABLE, "The database is read-only."));
    }
    Ok("ready\n")
}
