//! The codes of a set: lists, attributes, withdrawals, and locating a code in all sets.

mod attributes;
mod list;
mod locate;
pub mod withdraw;
