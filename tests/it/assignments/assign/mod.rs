//! Assigning codes.

mod all_or_nothing;
mod batch;
pub mod concurrency;
mod dry_run;
mod expiry;
mod one_caller;
mod plain;
mod repeat_policy;
mod shared_calls;
mod witness;
