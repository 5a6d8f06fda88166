//! What signs the messages to an endpoint.

use base64::{Engine, engine::general_purpose::STANDARD};

/// 32 random bytes. It has no `Debug`, so that no log can show it.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new() -> Self {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random numbers");
        Self(bytes)
    }

    pub(super) fn stored(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As its owner is shown it, and as the libraries of the receivers take it.
    pub(super) fn shown(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }
}
