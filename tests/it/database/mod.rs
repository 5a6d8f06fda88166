//! PostgreSQL: the embedded server, and outages.

mod embedded;
mod functions;
mod outage;
mod standby;
mod upgrade;
