//! Tenants, API keys and sessions.

mod keys;
mod rate_limits;
mod session_end;
mod sessions;
