//! The integration tests: one binary, a module for each feature, and what they share in `support`.
#![cfg(test)]

mod assignments;
mod batches;
mod bodies;
mod child_sets;
mod contract;
mod coupon_set_lists;
mod coupon_sets;
mod dealing;
mod embedded;
mod embedded_process;
mod events;
mod gates;
mod imports;
mod imports_expiry;
mod imports_failing;
mod imports_life;
mod imports_process;
mod imports_refused;
mod isolation;
mod life;
mod lookups;
mod model;
mod outage;
mod plans;
mod readme;
mod repeats;
mod reservations;
mod service;
mod set_policies;
mod start;
mod statistics;
mod support;
mod tenancy;
mod tenancy_catalog;
mod tenants;
