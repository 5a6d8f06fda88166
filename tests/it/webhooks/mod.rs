//! Webhooks: endpoints, sending, failures, replays and query costs.

mod endpoints;
mod failing;
mod plans;
mod replay;
mod sending;
