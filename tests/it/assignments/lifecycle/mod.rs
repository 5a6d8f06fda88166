//! The states of an assignment after it was made, and the events that change them.

mod events;
pub mod reservations;
mod states;
