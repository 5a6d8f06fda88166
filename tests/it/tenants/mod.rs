//! Tenants, API keys and sessions.

mod keys;
mod sessions;
