//! Responses and request bodies that are alike in every feature.

mod bodies;
mod compression;
mod fairness;
mod hosts;
mod memory;
mod service;
