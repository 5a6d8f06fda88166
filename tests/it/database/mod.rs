//! PostgreSQL: the embedded server, and outages.

mod embedded;
mod functions;
mod migrations;
mod outage;
mod standby;
mod upgrade;
