//! Receiving a body into a temporary file, in constant memory.
//!
//! The file has no name, so nothing is left of it when the client goes away or the service is killed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use delivery_reader::{ContentTypeHint, TextFormat};
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::limits::Limits;
use crate::config::Config;
use crate::error::{Error, OVERLOADED, REQUEST_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE};
use crate::extract::content_type;
use crate::tenants::TenantId;

/// How long a client may pause within an upload.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How many bytes a second an upload brings at least, on average: one that drips would keep its place for ever.
const MIN_RATE: u64 = 1024;
/// When that is looked at for the first time.
const SLOW_START: Duration = Duration::from_mins(1);
/// What is gathered before it is written.
const BLOCK: usize = 1024 * 1024;

/// Uploads that one replica receives or stores at the same time.
const MAX_UPLOADS: usize = 16;
/// How many of them may be one tenant's.
const MAX_OF_TENANT: usize = 4;

/// How long an upload waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// The uploads that are under way: each takes disk, memory and later a connection, so there is an end to them.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    all: Arc<Semaphore>,
    of_tenants: Arc<Mutex<HashMap<TenantId, Arc<Semaphore>>>>,
    pub(super) limits: Limits,
}

/// The right to one upload, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Uploads {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_UPLOADS)),
            of_tenants: Arc::default(),
            limits: Limits::new(config),
        }
    }

    pub(super) async fn take(&self, tenant: TenantId) -> Result<Slot, Error> {
        let of_tenant = {
            let mut of_tenants = self
                .of_tenants
                .lock()
                .expect("no holder of this lock panics");
            let new = || Arc::new(Semaphore::new(MAX_OF_TENANT));
            Arc::clone(of_tenants.entry(tenant).or_insert_with(new))
        };
        let turn = async {
            Some(Slot {
                _of_tenant: of_tenant.acquire_owned().await.ok()?,
                _of_all: Arc::clone(&self.all).acquire_owned().await.ok()?,
            })
        };
        timeout(TURN_LIMIT, turn).await.ok().flatten().ok_or_else(|| {
            let detail = "Too many uploads are under way. Nothing was stored; send the file again in a moment.";
            Error::refused(&OVERLOADED, detail)
        })
    }
}

/// Reads the format from the headers of an upload. Workbooks and packing are detected by the reader.
pub(super) fn content_type_hint(headers: &HeaderMap) -> Result<ContentTypeHint, Error> {
    let format = match content_type(headers).as_deref() {
        Some(
            "text/csv"
            | "text/tab-separated-values"
            | "application/gzip"
            | "application/x-gzip"
            | "application/zip"
            | "application/x-zip-compressed"
            | "application/octet-stream"
            | "application/vnd.ms-excel"
            | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ) => TextFormat::Csv,
        Some("text/plain") => TextFormat::List,
        Some("application/json") => TextFormat::Json,
        _ => {
            let detail = "Send the codes as text/csv, text/plain, application/json, application/gzip, \
                application/zip, application/octet-stream or \
                application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.";
            return Err(Error::refused(&UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let gzip = is_gzip(headers)?;
    Ok(ContentTypeHint { format, gzip })
}

/// Whether `Content-Encoding` says gzip.
pub(super) fn is_gzip(headers: &HeaderMap) -> Result<bool, Error> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    match encoding.as_deref() {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(_) => Err(Error::refused(
            &UNSUPPORTED_MEDIA_TYPE,
            "The only Content-Encoding that is taken here is gzip.",
        )),
    }
}

/// Receives a body of at most so many bytes; the file that comes back stands at its beginning.
pub(super) async fn receive(body: Body, limit: u64) -> Result<File, Error> {
    // The announced length, so that nobody sends 2 GiB to learn that it is too much.
    if HttpBody::size_hint(&body).lower() > limit {
        return Err(too_large(limit));
    }
    let frames = body
        .into_data_stream()
        .map(|frame| frame.map_err(|_| broken_off()));
    receive_stream(frames, limit).await
}

pub(super) async fn receive_stream(
    frames: impl Stream<Item = Result<Bytes, Error>>,
    limit: u64,
) -> Result<File, Error> {
    let mut frames = std::pin::pin!(frames);
    let mut file = blocking(tempfile::tempfile).await?;
    let mut block = Vec::with_capacity(BLOCK);
    let mut received = 0_u64;
    let started = Instant::now();
    while let Some(frame) = timeout(PATIENCE, frames.next())
        .await
        .map_err(|_| too_slow())?
    {
        let frame = frame?;
        received += frame.len() as u64;
        if received > limit {
            return Err(too_large(limit));
        }
        if drips(started.elapsed(), received) {
            return Err(too_slow());
        }
        block.extend_from_slice(&frame);
        if block.len() >= BLOCK {
            (file, block) = write(file, block).await?;
        }
    }
    let (mut file, _) = write(file, block).await?;
    blocking(move || file.seek(SeekFrom::Start(0)).map(|_| file)).await
}

async fn write(mut file: File, mut block: Vec<u8>) -> Result<(File, Vec<u8>), Error> {
    blocking(move || {
        file.write_all(&block)?;
        block.clear();
        Ok((file, block))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(format!("a task of an upload failed: {error}")))?
        .map_err(|error| {
            Error::Internal(format!(
                "the temporary file of an upload cannot be written: {error}"
            ))
        })
}

fn drips(elapsed: Duration, received: u64) -> bool {
    elapsed > SLOW_START && received < elapsed.as_secs().saturating_mul(MIN_RATE)
}

fn too_large(limit: u64) -> Error {
    Error::refused(
        &TOO_LARGE,
        format!("A body may have at most {limit} bytes here."),
    )
}

pub(super) fn too_slow() -> Error {
    Error::refused(
        &REQUEST_TIMEOUT,
        "No byte of the upload arrived for 30 seconds, or less than 1 KiB a second. Nothing was stored.",
    )
}

pub(super) fn broken_off() -> Error {
    Error::malformed("The upload broke off. Nothing was stored.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_may_be_slow_but_not_drip() {
        let at = Duration::from_secs;
        assert!(!drips(at(59), 1));
        assert!(drips(at(120), 100 * 1024));
        assert!(!drips(at(120), 121 * 1024));
    }
}
