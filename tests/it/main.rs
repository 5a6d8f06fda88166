//! The integration tests: one binary, a module for each feature, and what they share in `support`.
#![cfg(test)]

mod assignments;
mod batches;
mod dealing;
mod lookups;
mod support;
