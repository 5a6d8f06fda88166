//! The client of endpoints: makes one attempt to deliver a message.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::{Response, StatusCode, Url, header};
use serde::Serialize;
use tokio::time::timeout;
use tracing::{Instrument, field};

use super::message::Message;
use super::secret::Secret;
use super::sign::signatures;
use crate::http::trace_parent::{TRACE_PARENT, Trace};
use crate::metrics;
use crate::outbound::{Outbound, UrlRules};
use crate::telemetry::Chain;
use crate::traces::{self, exported_span};

/// Time within which an endpoint must respond.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
/// Limits, in bytes and in time, of reading a response body to its end. A connection can be reused only after that.
const MAX_DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// Maximum number of characters of a stored error.
const MAX_ERROR_CHARS: usize = 300;

/// Sends messages to endpoints. A clone counts one reference.
#[derive(Debug, Clone)]
pub(super) struct WebhookClient {
    outbound: Outbound,
    /// Endpoints may have private addresses and use plain HTTP. For development.
    private_allowed: bool,
}

/// The URL of an endpoint, the secrets that sign its messages, latest first, and the maximum number of events of a message.
pub(super) struct Endpoint {
    url: String,
    secrets: Vec<Secret>,
    pub max_batch: usize,
}

impl Endpoint {
    pub(super) fn new(
        url: String,
        secret: Vec<u8>,
        previous: Option<Vec<u8>>,
        max_batch: i32,
    ) -> Self {
        let secrets = [Some(secret), previous].into_iter().flatten();
        Self {
            url,
            secrets: secrets.map(Secret::from_bytes).collect(),
            max_batch: usize::try_from(max_batch).unwrap_or(1),
        }
    }
}

/// The result of an attempt: a status, or the reason why there is none. Stored and returned by the API in this form.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    pub started_at: DateTime<Utc>,
    pub millis: u64,
    pub status: Option<u16>,
    pub error: Option<String>,
}

impl Attempt {
    /// An attempt that failed because the subject of its event no longer exists.
    pub(super) fn without_message() -> Self {
        Self {
            started_at: Utc::now(),
            millis: 0,
            status: None,
            error: Some("the subject of the event no longer exists".to_owned()),
        }
    }

    pub(super) fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

impl WebhookClient {
    pub(super) fn new(outbound: Outbound, private_allowed: bool) -> Self {
        Self {
            outbound,
            private_allowed,
        }
    }

    /// Checks the form of a URL, without resolving its host. The error is a sentence for the caller.
    pub(super) fn check(&self, text: &str) -> Result<Url, String> {
        let rules = UrlRules {
            http_allowed: self.private_allowed,
            verbatim: true,
            example: "https://hooks.example.com/couponry",
        };
        let url = rules.check(text)?;
        match self.outbound.client(&url) {
            Ok(_) => Ok(url),
            Err(error) => Err(format!("This URL is not allowed: {error}.")),
        }
    }

    /// Sends a message, as a part of this trace.
    pub(super) async fn attempt(
        &self,
        endpoint: &Endpoint,
        message: Message,
        trace: Trace,
    ) -> Attempt {
        let (started_at, started) = (Utc::now(), Instant::now());
        let span = exported_span!("delivery", otel.kind = field::Empty);
        let trace = trace.join(&span, "client");
        let sent = self.send(endpoint, started_at, message, trace);
        let result = timeout(TIMEOUT, sent.instrument(span.clone())).await;
        let (status, error) = match result {
            Ok(Ok(response)) => {
                let status = response.status();
                // The body is discarded, and its failure does not matter: the status is known.
                let _ = timeout(DRAIN_LIMIT, drain(response)).await;
                (Some(status), None)
            }
            Ok(Err(error)) => (None, Some(error)),
            Err(_) => (
                None,
                Some(format!("no response within {} seconds", TIMEOUT.as_secs())),
            ),
        };
        let attempt = Attempt {
            started_at,
            millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            status: status.as_ref().map(StatusCode::as_u16),
            error: error.map(|error| printable(&error)),
        };
        traces::set_status(&span, attempt.status);
        metrics::webhook_attempt(attempt.is_success());
        attempt
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        at: DateTime<Utc>,
        Message { id, body }: Message,
        Trace(trace): Trace,
    ) -> Result<Response, String> {
        // The rules may have become stricter since the endpoint was created.
        let url = self.check(&endpoint.url)?;
        let client = self
            .outbound
            .client(&url)
            .map_err(|error| error.to_string())?;
        let (id, timestamp) = (id.to_string(), at.timestamp());
        let signatures = signatures(&endpoint.secrets, &id, timestamp, &body);
        let mut request = client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures)
            .body(body);
        if let Some(trace) = trace {
            request = request.header(TRACE_PARENT, trace.header());
        }
        request
            .send()
            .await
            .map_err(|error| Chain(&error.without_url()).to_string())
    }
}

/// Removes control characters. An error may quote the endpoint, such as the names in its certificate, and PostgreSQL
/// stores no NUL in text.
fn printable(error: &str) -> String {
    error
        .chars()
        .filter(|char| !char.is_control())
        .take(MAX_ERROR_CHARS)
        .collect()
}

/// Reads a response body to its end, up to `MAX_DRAIN_BYTES`.
async fn drain(mut response: Response) {
    let mut left = MAX_DRAIN_BYTES;
    while let Ok(Some(chunk)) = response.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else {
            return;
        };
        left = rest;
    }
}
