//! The outbox: ledger entries become deliveries of webhooks.

mod end_to_end;
mod ledger_to_deliveries;
mod plans;
mod stock_alerts;
mod sweep;
