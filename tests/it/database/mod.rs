//! PostgreSQL: the embedded server, and outages.

mod embedded;
mod outage;
