//! Assignments: handing codes out, the events that follow, and finding assignments again.

pub mod assign;
pub mod lifecycle;
mod list;
