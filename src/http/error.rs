//! Failures of requests. Each is returned as an RFC 9457 `application/problem+json`.
//!
//! Handlers return an `Error`. The layer `http::envelope`, around all but the compression, renders it, because the request id is known only
//! there. A test compares the kinds with `openapi.yaml`.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::database::{is_disk_full, is_share_in_use, is_unavailable};
use crate::metrics;
use crate::telemetry::Chain;

/// A kind of problem: a stable code with its status and its title.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub status: StatusCode,
    pub code: &'static str,
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        $(pub(crate) const $name: Kind = Kind { status: StatusCode::$status, code: $code, title: $title };)*

        /// Every kind of problem that the service returns.
        pub const KINDS: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    MALFORMED = BAD_REQUEST, "malformed-request", "Malformed request";
    E0401 = BAD_REQUEST, "E0401", "Too many queued imports";
    UNAUTHORIZED = UNAUTHORIZED, "unauthorized", "Missing or invalid credentials";
    MISSING_SCOPE = FORBIDDEN, "missing-scope", "Missing scope";
    CROSS_SITE_REQUEST = FORBIDDEN, "cross-site-request", "Possible cross-site request";
    TENANT_SUSPENDED = FORBIDDEN, "tenant-suspended", "Tenant suspended";
    NOT_FOUND = NOT_FOUND, "not-found", "Resource not found";
    UNKNOWN_PATH = NOT_FOUND, "unknown-path", "Unknown path";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "request-timeout", "Request timeout";
    NAME_TAKEN = CONFLICT, "name-taken", "Name already in use";
    QUANTITY_BELOW_ASSIGNED = CONFLICT, "quantity-below-assigned", "Quantity below the assigned uses";
    COUPON_SET_REFERENCED = CONFLICT, "coupon-set-referenced", "Coupon set is a child of another set";
    COUPON_SET_IN_USE = CONFLICT, "coupon-set-in-use", "Coupon set is used by a workflow";
    COUPON_SET_EXHAUSTED = CONFLICT, "coupon-set-exhausted", "Coupon set exhausted";
    COUPON_SET_EXPIRED = CONFLICT, "coupon-set-expired", "Coupon set expired";
    CONTACT_LIMIT_REACHED = CONFLICT, "contact-limit-reached", "Limit per contact reached";
    ALREADY_ASSIGNED = CONFLICT, "already-assigned", "Contact already holds a code";
    ASSIGNMENT_RELEASED = CONFLICT, "assignment-released", "Assignment released";
    ASSIGNMENT_VOID = CONFLICT, "assignment-void", "Assignment void";
    ASSIGNMENT_EXPIRED = CONFLICT, "assignment-expired", "Reservation expired";
    TOO_MANY_WEBHOOKS = CONFLICT, "too-many-webhooks", "Webhook limit reached";
    WRONG_STATE = CONFLICT, "wrong-state", "Not allowed in the current state";
    BATCH_WITHHELD = CONFLICT, "batch-withheld", "Not every item can be assigned a code";
    CONTACT_MERGED = CONFLICT, "contact-merged", "Contact merged";
    CONTACT_ERASED = CONFLICT, "contact-erased", "Contact erased";
    TOO_LARGE = PAYLOAD_TOO_LARGE, "payload-too-large", "Body too large";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type";
    INVALID = UNPROCESSABLE_ENTITY, "validation-failed", "Validation failed";
    UNREADABLE_FILE = UNPROCESSABLE_ENTITY, "unreadable-file", "File cannot be imported";
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key already used";
    CODE_NOT_ASSIGNED = UNPROCESSABLE_ENTITY, "code-not-assigned", "Code has no assignment";
    SINGLE_SET = UNPROCESSABLE_ENTITY, "single-set", "Not supported for a single-code set";
    CHILD_SET_CYCLE = UNPROCESSABLE_ENTITY, "child-set-cycle", "Child sets form a cycle";
    CHILD_SET_CHAIN_TOO_LONG = UNPROCESSABLE_ENTITY, "child-set-chain-too-long", "Chain of child sets too long";
    FETCH_FAILED = BAD_GATEWAY, "fetch-failed", "File could not be fetched";
    TOO_MANY_REQUESTS = TOO_MANY_REQUESTS, "too-many-requests", "Too many requests";
    TOO_MANY_IMPORTS = TOO_MANY_REQUESTS, "too-many-imports", "Too many queued imports";
    INTERNAL = INTERNAL_SERVER_ERROR, "internal-error", "Internal error";
    UNAVAILABLE = SERVICE_UNAVAILABLE, "unavailable", "Service unavailable";
    OVERLOADED = SERVICE_UNAVAILABLE, "overloaded", "Too many waiting requests";
    STORAGE_FULL = INSUFFICIENT_STORAGE, "storage-full", "No space for files";
    STATISTICS_BEHIND = SERVICE_UNAVAILABLE, "statistics-behind", "Statistics not up to date";
}

/// A fault of one field. The pointer is a JSON pointer into the body or the name of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub pointer: String,
    pub detail: String,
}

impl Fault {
    pub(crate) fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// A failure of a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A failure that the caller can resolve; `detail` says how.
    #[error("{}: {detail}", kind.code)]
    Refused {
        kind: &'static Kind,
        detail: String,
        members: Map<String, Value>,
    },
    /// Fields that are well-formed but not valid, all of them at once.
    #[error("{} fields are not valid", .0.len())]
    Invalid(Vec<Fault>),
    /// A failure of the database: 503 if it is not reachable, 429 if the tenant uses its share of the connections, otherwise
    /// 500.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// A failure that the caller cannot resolve; its cause is logged, not sent.
    #[error("{0}")]
    Internal(String),
}

/// Seconds after which a caller may retry a request that failed with this kind.
fn retry_after(kind: &Kind) -> Option<u32> {
    match kind.status {
        StatusCode::SERVICE_UNAVAILABLE if *kind == STATISTICS_BEHIND => Some(10),
        StatusCode::SERVICE_UNAVAILABLE => Some(1),
        StatusCode::TOO_MANY_REQUESTS if *kind == TOO_MANY_REQUESTS => Some(1),
        StatusCode::TOO_MANY_REQUESTS => Some(10),
        _ => None,
    }
}

impl Error {
    pub(crate) fn refused(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self::Refused {
            kind,
            detail: detail.into(),
            members: Map::new(),
        }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::refused(&MALFORMED, detail)
    }

    /// `what` names the resource, as in "coupon set".
    pub(crate) fn not_found(what: &str) -> Self {
        Self::refused(&NOT_FOUND, format!("The {what} does not exist."))
    }

    pub(crate) fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(pointer, detail)])
    }

    /// Adds a member to the problem document.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Self::Refused { members, .. } = &mut self {
            members.insert(name.to_owned(), value.into());
        }
        self
    }

    pub(crate) fn kind(&self) -> &'static Kind {
        match self {
            Self::Refused { kind, .. } => kind,
            Self::Invalid(_) => &INVALID,
            Self::Database(error) if is_share_in_use(error) => &TOO_MANY_REQUESTS,
            Self::Database(error) if is_unavailable(error) => &UNAVAILABLE,
            Self::Database(_) | Self::Internal(_) => &INTERNAL,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Refused { detail, .. } => detail.clone(),
            Self::Invalid(faults) if faults.len() == 1 => faults[0].detail.clone(),
            Self::Invalid(faults) => {
                format!("{} fields are not valid; see `errors`.", faults.len())
            }
            Self::Database(error) if is_share_in_use(error) => {
                "Too many requests of this tenant are under way. Nothing is lost; try again in a moment, and send fewer at a time.".to_owned()
            }
            Self::Database(error) if is_disk_full(error) => {
                "The database has no disk space left. Nothing was changed; try again later."
                    .to_owned()
            }
            Self::Database(error) if is_unavailable(error) => {
                "The database did not respond in time. Nothing is lost; try again in a moment."
                    .to_owned()
            }
            Self::Database(_) | Self::Internal(_) => {
                "The error was logged with the request id. Nothing was changed.".to_owned()
            }
        }
    }

    /// The detail and each invalid field, for a terminal.
    pub(crate) fn explanation(&self) -> String {
        match self {
            Self::Invalid(faults) => {
                let lines = faults.iter().map(|fault| {
                    let place = fault.pointer.trim_start_matches('/');
                    format!("{place}: {}", fault.detail)
                });
                lines.collect::<Vec<_>>().join("\n  ")
            }
            _ => self.detail(),
        }
    }

    /// The problem document, as a body or as the `error` of an item of a batch.
    pub(crate) fn problem(&self, request_id: &str) -> Value {
        let kind = self.kind();
        let mut problem = json!({
            "type": format!("urn:couponry:problem:{}", kind.code),
            "title": kind.title,
            "status": kind.status.as_u16(),
            "detail": self.detail(),
            "code": kind.code,
            "requestId": request_id,
        });
        match self {
            Self::Invalid(faults) => problem["errors"] = json!(faults),
            Self::Refused { members, .. } => {
                for (name, value) in members {
                    problem[name] = value.clone();
                }
            }
            Self::Database(_) | Self::Internal(_) => {}
        }
        problem
    }

    /// Renders the problem; an internal failure is logged here, once, with its causes. The span of the request names it.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let kind = self.kind();
        if let Self::Database(error) = self
            && !is_share_in_use(error)
        {
            metrics::database_error(error);
        }
        if kind.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %Chain(self), "a request failed");
        } else if *kind == UNAVAILABLE && matches!(self, Self::Database(_)) {
            tracing::warn!(error = %Chain(self), "the database is not reachable");
        }
        let mut response = (kind.status, self.problem(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = retry_after(kind) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if kind.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Passes the error to `http::envelope`, which renders it.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.kind().status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Turns the violation of a named constraint into a client error.
pub(crate) trait OnConstraint<T> {
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T, Error>;
}

impl<T> OnConstraint<T> for Result<T, sqlx::Error> {
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T, Error> {
        self.map_err(|cause| match &cause {
            sqlx::Error::Database(db) if db.constraint() == Some(name) => error(),
            _ => Error::Database(cause),
        })
    }
}
