//! What the same file is recognised by: its bytes and how they are read, as a SHA-256.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use delivery_reader::ContentTypeHint;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Options;
use crate::error::Error;

/// What is read at a time.
const BLOCK: usize = 1024 * 1024;

/// Reads the file from its beginning, to which it goes back.
pub(super) async fn take(
    file: File,
    hint: ContentTypeHint,
    options: Options,
) -> Result<(File, Vec<u8>), Error> {
    tokio::task::spawn_blocking(move || digest(file, hint, &options))
        .await
        .map_err(|error| Error::Internal(format!("a task of an upload failed: {error}")))?
        .map_err(|error| {
            Error::Internal(format!(
                "the temporary file of an upload cannot be read: {error}"
            ))
        })
}

fn digest(mut file: File, hint: ContentTypeHint, options: &Options) -> io::Result<(File, Vec<u8>)> {
    // Those without effect are no difference.
    let told = Options {
        override_existing: None,
        update_only_empty_fields: None,
        ..options.clone()
    };
    let mode = options.mode.unwrap_or_default();
    let how = json!({"format": hint.format, "gzip": hint.gzip, "mode": mode, "options": told})
        .to_string();
    let mut sha = Sha256::new();
    sha.update(how);
    let mut block = vec![0; BLOCK];
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
