//! Fingerprint of a file: the SHA-256 of its bytes and of the options that affect how they are read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use delivery_reader::ContentTypeHint;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::ImportOptions;
use crate::http::error::Error;

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Computes the fingerprint. The returned file is positioned at its start.
pub(super) async fn compute(
    file: File,
    hint: ContentTypeHint,
    options: ImportOptions,
) -> Result<(File, Vec<u8>), Error> {
    tokio::task::spawn_blocking(move || digest(file, hint, &options))
        .await
        .map_err(|error| Error::Internal(format!("an upload task failed: {error}")))?
        .map_err(|error| {
            Error::Internal(format!(
                "the temporary file of an upload cannot be read: {error}"
            ))
        })
}

fn digest(
    mut file: File,
    hint: ContentTypeHint,
    options: &ImportOptions,
) -> io::Result<(File, Vec<u8>)> {
    // Options without effect do not make two files different.
    let effective = ImportOptions {
        override_existing: None,
        update_only_empty_fields: None,
        ..options.clone()
    };
    let mode = options.mode.unwrap_or_default();
    let settings =
        json!({"format": hint.format, "gzip": hint.gzip, "mode": mode, "options": effective})
            .to_string();
    let mut sha = Sha256::new();
    sha.update(settings);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        sha.update(&block[..read]);
    }
    file.seek(SeekFrom::Start(0))?;
    Ok((file, sha.finalize().to_vec()))
}
