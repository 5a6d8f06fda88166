//! Receiving a body into a temporary file, in constant memory.
//!
//! The file has no name, so nothing is left of it when the client goes away or the service is killed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::{Error, OVERLOADED, REQUEST_TIMEOUT, TOO_LARGE};
use crate::tenants::TenantId;

/// The largest file that is taken, in bytes.
pub(super) const MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// How long a client may pause within an upload.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
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
}

/// The right to one upload, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_UPLOADS)),
            of_tenants: Arc::default(),
        }
    }
}

impl Uploads {
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

/// Receives a body; the file that comes back stands at its beginning.
pub(super) async fn receive(body: Body) -> Result<File, Error> {
    // The announced length, so that nobody sends 2 GiB to learn that it is too much.
    if HttpBody::size_hint(&body).lower() > MAX_BYTES {
        return Err(too_large());
    }
    let frames = body
        .into_data_stream()
        .map(|frame| frame.map_err(|_| broken_off()));
    receive_stream(frames).await
}

pub(super) async fn receive_stream(
    frames: impl Stream<Item = Result<Bytes, Error>>,
) -> Result<File, Error> {
    let mut frames = std::pin::pin!(frames);
    let mut file = blocking(tempfile::tempfile).await?;
    let mut block = Vec::with_capacity(BLOCK);
    let mut received = 0_u64;
    while let Some(frame) = timeout(PATIENCE, frames.next())
        .await
        .map_err(|_| too_slow())?
    {
        let frame = frame?;
        received += frame.len() as u64;
        if received > MAX_BYTES {
            return Err(too_large());
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

fn too_large() -> Error {
    Error::refused(
        &TOO_LARGE,
        format!("A file may have at most {MAX_BYTES} bytes."),
    )
}

pub(super) fn too_slow() -> Error {
    Error::refused(
        &REQUEST_TIMEOUT,
        "No byte of the upload arrived for 30 seconds. Nothing was stored.",
    )
}

pub(super) fn broken_off() -> Error {
    Error::malformed("The upload broke off. Nothing was stored.")
}
