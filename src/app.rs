//! The service as a whole: its state, its router, and the layer around every request.
//!
//! The outermost layer gives each request its id, catches panics, and renders whatever failed as a problem, also what
//! axum refused on its own.

use std::convert::Infallible;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::assignments::dealer::Dealer;
use crate::assignments::queue::Waiting;
use crate::assignments::recorder::Recorder;
use crate::assignments::sweeper;
use crate::config::Config;
use crate::contacts::eraser;
use crate::database::Database;
use crate::error::{
    Error, METHOD_NOT_ALLOWED, REQUEST_TIMEOUT, TOO_LARGE, UNAVAILABLE, UNKNOWN_PATH,
    UNSUPPORTED_MEDIA_TYPE,
};
use crate::imports::upload::Uploads;
use crate::imports::worker::{self, Bell};
use crate::outbound::Outbound;
use crate::outbox::Written;
use crate::statistics::roll_up;
use crate::tenants::auth::Keys;
use crate::tenants::link::OneTimeLink;
use crate::tenants::session::Sessions;
use crate::webhooks::courier::Courier;
use crate::webhooks::sender;
use crate::{
    assignments, contacts, coupon_sets, coupons, dashboard, docs, imports, outbox, statistics,
    tenants, webhooks, workflows,
};

/// How long a request may take, uploads aside. What it waits for has shorter limits; this is the last of them.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// How long the tasks get to finish when the service stops.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long the connections to the database get to say goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the handlers work with. It is cloned several times in each request, which counts one reference.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// What an `App` consists of.
pub struct Shared {
    pub(crate) config: Config,
    pub(crate) database: Database,
    pub(crate) keys: Keys,
    pub(crate) sessions: Sessions,
    pub(crate) link: OneTimeLink,
    pub(crate) dealer: Dealer,
    pub(crate) recorder: Recorder,
    pub(crate) bell: Bell,
    pub(crate) uploads: Uploads,
    pub(crate) outbound: Outbound,
    pub(crate) waiting: Waiting,
    pub(crate) written: Written,
    pub(crate) courier: Courier,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Starts the tasks of the service on a database that is migrated.
    #[must_use]
    pub fn start(config: Config, options: &PgConnectOptions) -> Self {
        let database = Database::new(options);
        let tracker = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let bell = Bell::default();
        let waiting = Waiting::default();
        worker::spawn(&database, &bell, &tracker, &shutdown, &waiting);
        sweeper::spawn(&database, &tracker, &shutdown);
        eraser::spawn(&database, &tracker, &shutdown, &waiting);
        roll_up::spawn(&database, &tracker, &shutdown);
        let written = Written::default();
        outbox::spawn(&database, &written, &tracker, &shutdown);
        let dealer = Dealer::new(
            database.clone(),
            tracker.clone(),
            waiting.clone(),
            written.clone(),
        );
        let recorder = Recorder::new(
            database.clone(),
            tracker.clone(),
            waiting.clone(),
            written.clone(),
        );
        let authorities = config.ca_file.clone().unwrap_or_default();
        let outbound = Outbound::new(&authorities, config.pull_private, false);
        let private = config.webhook_private;
        let courier = Courier::new(Outbound::new(&authorities, private, private), private);
        sender::spawn(&database, &courier, &tracker, &shutdown);
        Self(Arc::new(Shared {
            uploads: Uploads::new(&config),
            config,
            database,
            keys: Keys::default(),
            sessions: Sessions::default(),
            link: OneTimeLink::default(),
            dealer,
            recorder,
            bell,
            outbound,
            waiting,
            written,
            courier,
            tracker,
            shutdown,
        }))
    }

    /// The pools, for what is done beside the requests.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Turns readiness off: no new work should be sent here.
    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Lets the tasks finish what they have begun, and closes the pools.
    pub async fn stop(&self) {
        self.begin_shutdown();
        self.dealer.close();
        self.recorder.close();
        self.tracker.close();
        if tokio::time::timeout(STOP_LIMIT, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "some background tasks did not stop in time; their work will be resumed or retried"
            );
        }
        // A task that was given up still holds its connection, and closing waits for all of them.
        if tokio::time::timeout(CLOSE_LIMIT, self.database.close())
            .await
            .is_err()
        {
            tracing::warn!("some database connections were closed while in use");
        }
    }
}

/// All paths of the service.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(tenants::router())
        .merge(coupon_sets::router())
        .merge(coupons::router())
        .merge(assignments::router())
        .merge(contacts::router())
        .merge(statistics::router())
        .merge(workflows::router())
        .merge(webhooks::router())
        .merge(docs::router())
        .merge(dashboard::router())
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .layer(from_fn(limit_time))
        // An upload has limits of its own.
        .merge(imports::router())
        .fallback(async || Error::refused(&UNKNOWN_PATH, "See /docs for the available paths."))
        .layer(from_fn(envelope))
        .with_state(app)
}

/// What answers before the database is ready: alive, but not to be sent work.
pub(crate) fn starting_router() -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .fallback(async || Error::refused(&UNAVAILABLE, "The service is starting."))
        .layer(from_fn(envelope))
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether work should be sent here: the database answers and is migrated, and nobody stops the service.
async fn readyz(State(app): State<App>) -> Result<&'static str, Error> {
    if app.shutdown.is_cancelled() {
        return Err(Error::refused(&UNAVAILABLE, "The service is stopping."));
    }
    if !app.database.is_migrated().await? {
        return Err(Error::refused(
            &UNAVAILABLE,
            "The database is not migrated.",
        ));
    }
    Ok("ready\n")
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::refused(
            &UNAVAILABLE,
            "The request took longer than one minute and was cancelled.",
        )
        .into_response(),
    }
}

/// Names a request in answers and logs.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's, if it is short and printable, else a new one.
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).filter(|value| {
            (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        Self(given.cloned().unwrap_or_else(|| {
            let mut buffer = Uuid::encode_buffer();
            let id = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
            HeaderValue::from_str(id).expect("a UUID is ASCII")
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().expect("it was checked to be ASCII")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .expect("the outermost layer sets it"))
    }
}

async fn envelope(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    // Only the template is logged: paths and queries hold contact ids and codes.
    let route = request.extensions().get::<MatchedPath>().cloned();

    let mut response = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .or(panic.downcast_ref::<String>().map(String::as_str));
            Error::Internal(format!(
                "a handler panicked: {}",
                message.unwrap_or("without a message")
            ))
            .into_response()
        });
    if let Some(error) = failure(&response) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = error.render(id.as_str());
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    tracing::debug!(
        request_id = id.as_str(),
        %method,
        route = route.as_ref().map_or("none", MatchedPath::as_str),
        status = response.status().as_u16(),
        micros = started.elapsed().as_micros(),
        "request"
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.0);
    // A cookie says who calls, and a cache does not know that the answer is for them alone.
    let cache = headers.entry(header::CACHE_CONTROL);
    cache.or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The error to render: a handler's, or the one that a bare status of axum's stands for.
fn failure(response: &Response) -> Option<Arc<Error>> {
    if let Some(error) = response.extensions().get::<Arc<Error>>() {
        return Some(Arc::clone(error));
    }
    let error = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => Error::refused(
            &METHOD_NOT_ALLOWED,
            "See the `Allow` header for the supported methods.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Error::refused(&TOO_LARGE, "Send a smaller body."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Error::refused(
            &UNSUPPORTED_MEDIA_TYPE,
            "See /docs for the supported content types.",
        ),
        StatusCode::REQUEST_TIMEOUT => Error::refused(&REQUEST_TIMEOUT, "Send the request again."),
        status if status.is_client_error() => Error::malformed("The request cannot be read."),
        status if status.is_server_error() => Error::Internal(format!(
            "a response with status {status} had no problem document"
        )),
        _ => return None,
    };
    Some(Arc::new(error))
}
