//! Assignments: assigning codes, recording events, and finding assignments.

pub mod assign;
mod lifecycle;
mod list;
