//! HTTP code that all features share: the layers around a request, extractors, failures, pages, and routes.

pub(crate) mod compression;
pub(crate) mod csv_export;
pub(crate) mod envelope;
pub mod error;
pub(crate) mod extract;
pub(crate) mod fields;
pub(crate) mod health;
mod host;
pub(crate) mod idempotency_key;
pub(crate) mod list_body;
pub(crate) mod memory;
pub(crate) mod page;
pub(crate) mod peer;
pub(crate) mod rate_status;
pub(crate) mod request_id;
pub mod routes;
pub(crate) mod state;
pub(crate) mod trace_parent;
