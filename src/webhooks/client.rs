//! One attempt to hand a message to an endpoint.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::{Response, StatusCode, Url, header};
use serde::Serialize;
use tokio::time::timeout;
use uuid::Uuid;

use super::secret::Secret;
use super::sign::signatures;
use crate::outbound::{Outbound, UrlRules};
use crate::telemetry::Chain;

/// Time that an endpoint has to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of an answer, in bytes and in time, so that its connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// Characters of an error that are kept.
const MAX_ERROR: usize = 300;

/// Sends messages to endpoints. A clone counts one reference.
#[derive(Debug, Clone)]
pub(super) struct WebhookClient {
    outbound: Outbound,
    /// Endpoints may be in this network and do without TLS, as those of a developer.
    private_allowed: bool,
}

/// Where messages go, and what signs them: the latest secret first.
pub(super) struct Endpoint {
    url: String,
    secrets: Vec<Secret>,
}

impl Endpoint {
    pub(super) fn stored(url: String, secret: Vec<u8>, previous: Option<Vec<u8>>) -> Self {
        let secrets = [Some(secret), previous].into_iter().flatten();
        Self {
            url,
            secrets: secrets.map(Secret::stored).collect(),
        }
    }
}

/// What came of an attempt: a status, or why there is none. So it is stored, and so it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    pub started_at: DateTime<Utc>,
    pub millis: u64,
    pub status: Option<u16>,
    pub error: Option<String>,
}

impl Attempt {
    /// What it would tell is not there.
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

    /// Whether messages may go to a URL, as far as it can be told by its looks. The error says why not.
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

    pub(super) async fn attempt(&self, endpoint: &Endpoint, id: Uuid, body: Vec<u8>) -> Attempt {
        let (started_at, started) = (Utc::now(), Instant::now());
        let sent = timeout(TIMEOUT, self.send(endpoint, id, started_at, body)).await;
        let (status, error) = match sent {
            Ok(Ok(response)) => {
                let status = response.status();
                // What it says is of no interest, nor whether all of it comes.
                let _ = timeout(DRAIN_LIMIT, drain(response)).await;
                (Some(status), None)
            }
            Ok(Err(error)) => (None, Some(error)),
            Err(_) => (
                None,
                Some(format!("no response within {} seconds", TIMEOUT.as_secs())),
            ),
        };
        Attempt {
            started_at,
            millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            status: status.as_ref().map(StatusCode::as_u16),
            error: error.map(|error| printable(&error)),
        }
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        id: Uuid,
        at: DateTime<Utc>,
        body: Vec<u8>,
    ) -> Result<Response, String> {
        // What was allowed when the endpoint was created may not be any more.
        let url = self.check(&endpoint.url)?;
        let client = self
            .outbound
            .client(&url)
            .map_err(|error| error.to_string())?;
        let (id, timestamp) = (id.to_string(), at.timestamp());
        let signatures = signatures(&endpoint.secrets, &id, timestamp, &body);
        client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures)
            .body(body)
            .send()
            .await
            .map_err(|error| Chain(&error.without_url()).to_string())
    }
}

/// An error may quote what the endpoint presented, as the names of its certificate; the database takes no NUL.
fn printable(error: &str) -> String {
    error
        .chars()
        .filter(|char| !char.is_control())
        .take(MAX_ERROR)
        .collect()
}

/// Reads an answer to its end, if that is near.
async fn drain(mut response: Response) {
    let mut left = MAX_ANSWER;
    while let Ok(Some(chunk)) = response.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else {
            return;
        };
        left = rest;
    }
}
