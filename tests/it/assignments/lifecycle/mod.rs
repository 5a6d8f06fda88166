//! The states of an assignment after it was made, and the events that change them.

mod events;
mod reservations;
mod states;
