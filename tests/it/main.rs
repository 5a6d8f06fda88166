//! The integration tests: one binary, a module for each feature, and what they share in `support`.
#![cfg(test)]

mod assignments;
mod batches;
mod dealing;
mod imports;
mod imports_life;
mod imports_process;
mod imports_refused;
mod lookups;
mod support;
mod tenancy;
mod tenants;
