//! Couponry assigns coupon codes to contacts: each single-use code to exactly one contact, even if a component fails.
//!
//! The path of a request: `server` accepts it, `http::envelope` assigns its id and limits its time, and the router passes
//! it to a feature. The extractors of `http::extract` and `tenants::auth` check the caller and the input. A handler in
//! the feature's `http` calls an operation in its `mod`, which calls statements in its `db`. A failure becomes an
//! `http::error::Error`, which the envelope renders.
//!
//! The modules in reading order, lowest layer first. A module imports only modules of lower layers, which a test checks.
//!
//! * `declared`, `ids`, `text`, `text_enum`, `time_zone`, `telemetry`, `traces`: small types and functions that all modules
//!   share
//! * `database`: pools, roles, transactions, locks, migrations and functions; crate `embedded-postgres`: a PostgreSQL
//!   server as a child process of the service
//! * `background`: background tasks; `load`: limits per tenant and yielding to requests; `batching`: many requests in one
//!   call of the database; `dirty_sets`: the sets that were written to; `outbound`: HTTP requests of the service; `metrics`:
//!   their names and the recorder
//! * `config`: the settings
//! * `http`: layers, extractors, errors and pages that all requests share
//! * `tenants`: authentication, scopes, keys and sessions
//! * `workflows`: the users of a set; `statistics`: counters over time
//! * `coupon_sets`: the sets that codes belong to; `outbox`: ledger entries as webhook deliveries
//! * `imports`: adding codes to sets; crate `delivery-reader`: files of codes as rows; `assignments`: assigning codes to
//!   contacts
//! * `coupons`: the single codes of a set; `contacts`: the codes of a contact, merging and erasing contacts; `webhooks`:
//!   sending events to endpoints
//! * `docs`: the API document and its reference page; `dashboard`: the files of the web dashboard; `monitoring`: the metrics
//!   of this replica, on a listener of their own
//! * `server`: accepting and draining connections; `app`: the composition root, which builds all of the above
//! * `start`: the start of the service; `import_command`: uploading a file from a terminal; `admin`: commands on the
//!   database; `doctor`: finding faults; `cli`: the command line

pub mod admin;
pub mod app;
mod assignments;
mod background;
mod batching;
pub mod cli;
pub mod config;
mod contacts;
mod coupon_sets;
mod coupons;
mod dashboard;
pub mod database;
mod declared;
mod dirty_sets;
mod docs;
pub mod doctor;
pub mod http;
mod ids;
pub mod import_command;
mod imports;
mod load;
mod metrics;
mod monitoring;
mod outbound;
mod outbox;
mod server;
pub mod start;
mod statistics;
pub mod telemetry;
pub mod tenants;
mod text;
mod text_enum;
mod time_zone;
mod traces;
mod webhooks;
mod witness;
mod workflows;

/// Requests allocate and free many small blocks on all threads, which mimalloc does faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
