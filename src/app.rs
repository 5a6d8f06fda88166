//! The composition root: builds the state of each feature, merges the routes, and starts and stops the tasks.
//!
//! No feature imports this module.

use std::time::Duration;

use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;

use crate::assignments::{self, Assignments};
use crate::background::Tasks;
use crate::config::Config;
use crate::contacts::{self, Contacts};
use crate::coupon_sets::{self, CouponSets};
use crate::coupons::{self, Coupons};
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::http::compression;
use crate::http::envelope::{envelope, limit_time, unknown_path};
use crate::http::health::{self, Health};
use crate::http::memory::MemoryBudget;
use crate::http::routes::{Route, Routes};
use crate::imports::{self, Imports};
use crate::load::{AdmissionControl, LoadSignal};
use crate::server::Server;
use crate::statistics::{self, Statistics};
use crate::tenants::{self, Tenants, auth::Auth, rate_limit::RateLimit};
use crate::webhooks::{self, Webhooks};
use crate::witness::Witness;
use crate::workflows::{self, Workflows};
use crate::{dashboard, docs, monitoring, outbox};

/// Time limit for the tasks to finish when the service stops.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Time limit for the last sync of the witness, and for closing the database connections.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The service.
pub struct App {
    router: Router,
    routes: Vec<Route>,
    database: Database,
    auth: Auth,
    assignments: Assignments,
    witness: Witness,
    tasks: Tasks,
    server: Server,
    shutdown_delay: Duration,
}

impl App {
    /// Builds the service and starts its tasks. The database must be migrated.
    #[must_use]
    pub fn start(config: &Config, options: &PgConnectOptions) -> Self {
        let tasks = Tasks::default();
        let database = Database::new(options, config.request_connections, config.pooler);
        let load = LoadSignal::default();
        let dirty_sets = DirtySets::default();
        let rate_limit = RateLimit::new(config.rate_limit, config.rate_burst);
        let auth = Auth::new(&database, config.operator_token.clone(), rate_limit);

        let tenants = Tenants::new(&auth, &database);
        let workflows = Workflows::new(&auth, &database);
        let statistics = Statistics::new(&auth, &database, assignments::export);
        let coupon_sets = CouponSets::new(&auth, &database, &dirty_sets);
        let admission = AdmissionControl::new(load.clone());
        let witness = Witness::start(config.witness_dir.as_deref(), &tasks);
        let assignments =
            Assignments::new(&auth, &database, &dirty_sets, &admission, &witness, &tasks);
        let imports = Imports::new(&auth, &database, &dirty_sets, &load, config);
        let coupons = Coupons::new(&auth, &database, &dirty_sets);
        let contacts = Contacts::new(&auth, &database, &load);
        let webhooks = Webhooks::new(&auth, &database, config);

        tenants::spawn(&database, &load, &tasks);
        statistics::spawn(&statistics, &tasks);
        coupon_sets::spawn(&database, &load, config.retention_deleted_sets_days, &tasks);
        outbox::spawn(&database, &dirty_sets, &tasks);
        assignments::spawn(&assignments, &tasks);
        imports::spawn(&imports, &tasks);
        contacts::spawn(&contacts, &tasks);
        webhooks::spawn(&webhooks, &tasks);

        let server = Server::new(config);
        let health = Health {
            database: database.clone(),
            stopping: server.stopping.clone(),
        };
        let (router, operations) = Routes::new()
            .merge(health::routes(health))
            .merge(docs::routes())
            .merge(dashboard::routes())
            .merge(tenants::routes(tenants))
            .merge(workflows::routes(workflows))
            .merge(statistics::routes(statistics))
            .merge(coupon_sets::routes(coupon_sets))
            .merge(assignments::routes(assignments.clone()))
            .merge(coupons::routes(coupons))
            .merge(contacts::routes(contacts))
            .merge(webhooks::routes(webhooks))
            .wrap(|router| router.layer(from_fn(limit_time)))
            // Outside the time limit: uploads have separate limits.
            .merge(imports::routes(imports))
            .finish();
        Self {
            router: router
                .fallback(unknown_path)
                .layer(Extension(MemoryBudget::new(config.memory_budget)))
                .layer(from_fn_with_state(config.access_log, envelope))
                .layer(compression::layer()),
            routes: operations,
            database,
            auth,
            assignments,
            witness,
            tasks,
            server,
            shutdown_delay: Duration::from_secs(config.shutdown_delay.into()),
        }
    }

    /// The router with all paths of the service.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The operations of the router.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The database pools of the service.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Serves the metrics on a listener of their own until the service stops.
    pub fn serve_metrics(&self, listener: TcpListener) {
        let router = monitoring::start(&self.database, &self.tasks);
        let (server, shutdown) = (self.server.clone(), self.tasks.shutdown.clone());
        self.tasks.spawn(async move {
            let shutdown = shutdown.cancelled_owned();
            let connections = server.serve(listener, router, shutdown).await;
            connections.drain().await;
        });
    }

    /// Issues the one-time link that signs in to the demo tenant, and returns its token. Returns `None` if the demo's key
    /// was revoked.
    pub async fn make_demo_link(&self) -> sqlx::Result<Option<String>> {
        self.auth.make_demo_link().await
    }

    /// Serves until `shutdown` completes, and then for the shutdown delay: readiness fails, so that load balancers send no more
    /// requests, and those that still come are served. After that, drains the connections and stops.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let shutdown = async {
            shutdown.await;
            self.server.stopping.cancel();
            tokio::time::sleep(self.shutdown_delay).await;
        };
        let connections = self.server.serve(listener, self.router(), shutdown).await;
        self.begin_stop();
        connections.drain().await;
        self.stop().await;
    }

    /// Makes readiness fail, and signals the tasks to end.
    fn begin_stop(&self) {
        self.server.stopping.cancel();
        self.tasks.shutdown.cancel();
    }

    /// Waits for the tasks to end, within a time limit, and closes the pools.
    pub async fn stop(&self) {
        self.begin_stop();
        self.assignments.close();
        self.tasks.tracker.close();
        if tokio::time::timeout(STOP_LIMIT, self.tasks.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "some background tasks did not stop in time; their work will be resumed or retried"
            );
        }
        // The lanes were the last to record.
        if tokio::time::timeout(CLOSE_LIMIT, self.witness.finish())
            .await
            .is_err()
        {
            tracing::warn!("the witness was not synced in time");
        }
        // A task that did not stop in time still holds a connection, and closing waits for all connections.
        if tokio::time::timeout(CLOSE_LIMIT, self.database.close())
            .await
            .is_err()
        {
            tracing::warn!("some database connections were closed while in use");
        }
    }
}
