//! The secret that signs the messages to an endpoint.

use base64::{Engine, engine::general_purpose::STANDARD};

/// 32 random bytes. Has no `Debug`, so that no log can contain it.
pub(super) struct Secret(Vec<u8>);

impl Secret {
    pub(super) fn new() -> Self {
        let mut bytes = vec![0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random numbers");
        Self(bytes)
    }

    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret in the format of Standard Webhooks, which libraries for receivers accept.
    pub(super) fn shown(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }
}
