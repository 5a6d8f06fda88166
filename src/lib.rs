//! Couponry hands coupon codes to contacts: each single-use code to exactly one, whatever fails in between.
//!
//! The way of a request: `server` accepts it, `app` gives it an id and routes it, the extractors of `extract` and
//! `tenants::auth` say who calls and what is asked, a handler in a feature's `http` calls the operation in its `mod`,
//! and that its statements in `db`. What fails becomes an `error::Error`, which `app` renders.
//!
//! In reading order:
//!
//! * `config`, `start`, `server`, `app`: how the service comes to life
//! * `error`, `extract`, `page`, `time_zone`, `telemetry`: what all requests share
//! * `database`: pools, roles, migrations
//! * crate `embedded-postgres`: the PostgreSQL that the service starts for itself
//! * `tenants`: who calls, and what they may do
//! * `coupon_sets`: the sources of codes
//! * crate `delivery-reader`: files of codes, read into rows
//! * `imports`: how codes come in, `outbound`: how the service itself makes requests, `import_command`: how they are sent from a terminal
//! * `assignments`: how codes go out
//! * `coupons`: the codes of a set one by one: where each is, and which go to nobody
//! * `contacts`: what each was given, merging two, erasing one
//! * `statistics`: what became of them
//! * `workflows`: who uses a set
//! * `outbox`: what happens, written down for those who want to know
//! * `webhooks`: who is told of it
//! * `docs`: the API document and its reference page, `dashboard`: the files of the web dashboard

pub mod app;
mod assignments;
pub mod config;
mod contacts;
mod coupon_sets;
mod coupons;
mod dashboard;
pub mod database;
mod docs;
pub mod error;
mod extract;
pub mod import_command;
mod imports;
mod outbound;
mod outbox;
mod page;
pub mod server;
pub mod start;
mod statistics;
pub mod telemetry;
pub mod tenants;
mod time_zone;
mod webhooks;
mod workflows;

/// Requests make and drop many small things on all threads, which this one does in less time than that of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
