//! Tenants, API keys and sessions.

mod key_sessions;
mod keys;
mod patch;
mod rate_limits;
mod session_end;
mod sessions;
