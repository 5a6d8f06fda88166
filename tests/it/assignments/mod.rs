//! Assignments: handing codes out, the events that follow, and finding assignments again.

pub mod assign;
mod lifecycle;
mod list;
