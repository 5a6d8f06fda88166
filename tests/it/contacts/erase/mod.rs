//! Erasing contacts.

mod everywhere;
mod together;
mod while_assigning;
