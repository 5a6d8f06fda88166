//! Contacts: their activity, merging and erasing them.

mod activity;
mod erase;
mod merge;
