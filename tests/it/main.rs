//! The integration tests: one binary, a module for each feature, and what they share in `support`.
#![cfg(test)]

mod assignments;
mod contacts;
mod coupon_sets;
mod coupons;
mod dashboard;
mod database;
mod faults;
mod http;
mod imports;
mod model;
mod outbox;
mod properties;
mod start;
mod statistics;
mod support;
mod tenants;
mod webhooks;
mod workflows;
