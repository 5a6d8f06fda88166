//! PostgreSQL: the embedded server, and outages.

mod backup;
mod disk_full;
mod embedded;
mod functions;
mod migrations;
mod outage;
mod standby;
mod upgrade;
