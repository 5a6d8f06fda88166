//! Properties that hold for every feature: contract, isolation and tenancy, query costs, and the README.

pub mod contract;
mod floors;
mod gates;
pub mod isolation;
mod links;
mod plans;
pub mod readme;
mod schema_limits;
pub mod tenancy;
