//! Couponry hands coupon codes to contacts: each single-use code to exactly one, whatever fails in between.
//!
//! The way of a request: `server` accepts it, `http::envelope` names it and limits its time, and the router of a feature
//! takes it. The extractors of `http::extract` and `tenants::auth` check the caller and the input; a handler in a feature's
//! `http` calls the operation in its `mod`, and that its statements in `db`. Failures become an `http::error::Error`, which
//! the envelope renders.
//!
//! In reading order, from the lowest floor up. A module imports only modules below it, which a test holds.
//!
//! * `ids`, `text`, `text_enum`, `time_zone`, `telemetry`: small things that everything shares
//! * `database`: pools, roles, transactions, locks, migrations and functions; crate `embedded-postgres`: the PostgreSQL that
//!   the service starts for itself
//! * `background`: tasks beside the requests, `load`: limits per tenant and yielding to requests, `batching`: many requests
//!   in one call of the database, `dirty_sets`: the sets that were written to, `outbound`: requests that the service makes
//! * `config`: the settings
//! * `http`: what all requests share
//! * `tenants`: authentication, scopes, keys and sessions
//! * `workflows`: the users of a set, `statistics`: counters over time
//! * `coupon_sets`: the sources of codes, `outbox`: events on their way to webhooks
//! * `imports`: how codes come in, crate `delivery-reader`: files of codes as rows, `assignments`: how codes go out
//! * `coupons`: the codes of a set one by one, `contacts`: what each was given, merging two, erasing one, `webhooks`: sending
//!   events
//! * `docs`: the API document and its reference page, `dashboard`: the files of the web dashboard
//! * `server`: accepting and draining connections, `app`: the composition root, which builds all of the above
//! * `start`: the start of the service, `import_command`: sending a file from a terminal, `cli`: the command line

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
mod dirty_sets;
mod docs;
pub mod http;
mod ids;
pub mod import_command;
mod imports;
mod load;
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
mod webhooks;
mod workflows;

/// Requests make and drop many small things on all threads, which this one does in less time than that of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
