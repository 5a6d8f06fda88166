//! The states of an assignment, and the events that change them.

mod events;
mod reservations;
mod states;
