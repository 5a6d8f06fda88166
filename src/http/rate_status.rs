//! The state of the rate limit of a request, which its response names in the headers `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers).

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATUS: HeaderName = HeaderName::from_static("ratelimit");

/// What is left of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateStatus {
    pub burst: u32,
    /// Seconds after which a used-up limit is whole again.
    pub window: u32,
    pub remaining: u32,
    /// Seconds until there is more.
    pub reset: u32,
}

/// The place for the status of a request. The layer around it reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RateSlot(Arc<OnceLock<RateStatus>>);

impl RateSlot {
    pub(crate) fn set(&self, status: RateStatus) {
        let _ = self.0.set(status);
    }

    /// Adds the headers if the request has a rate limit.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        let Some(status) = self.0.get() else {
            return;
        };
        let policy = format!(r#""tenant";q={};w={}"#, status.burst, status.window);
        let left = format!(r#""tenant";r={};t={}"#, status.remaining, status.reset);
        for (name, value) in [(POLICY, policy), (STATUS, left)] {
            let value = HeaderValue::try_from(value).expect("numbers are ASCII");
            headers.insert(name, value);
        }
    }
}
