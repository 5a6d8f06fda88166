//! Contacts: their activity, merging and erasing.

pub mod activity;
mod erase;
mod merge;
