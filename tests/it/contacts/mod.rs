//! Contacts: their activity, merging and erasing.

mod activity;
mod erase;
mod merge;
