//! The integration tests: one binary, one module per feature, and shared helpers in `support`.
#![cfg(test)]

mod assignments;
mod cli;
mod contacts;
mod coupon_sets;
mod coupons;
mod dashboard;
mod database;
mod doctor;
mod faults;
mod http;
mod imports;
mod model;
mod monitoring;
mod outbox;
mod properties;
mod proxies;
mod start;
mod statistics;
mod support;
mod tenants;
mod webhooks;
mod workflows;
