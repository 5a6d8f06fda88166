//! Tenants, API keys and sessions.

mod keys;
mod session_end;
mod sessions;
