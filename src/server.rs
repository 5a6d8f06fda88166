//! The HTTP server: accepts connections, and drains them when the service stops.
//!
//! It replaces `axum::serve`, which has no time limit for the header of a request and none for draining.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::util::MapRequest;

use crate::http::peer::Peer;

/// Time limit for receiving the header of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for requests under way to finish when the service stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of open connections. Further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;
/// Pause after a failed accept, usually for lack of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Connections that are still open after the server has stopped accepting.
pub(crate) struct OpenConnections(GracefulShutdown);

impl OpenConnections {
    /// Waits until the requests under way have finished, for up to `DRAIN_LIMIT`.
    pub(crate) async fn drain(self) {
        tokio::select! {
            () = self.0.shutdown() => {}
            () = tokio::time::sleep(DRAIN_LIMIT) => tracing::warn!("some requests were cut off by the stop"),
        }
    }
}

/// Serves until `shutdown` completes.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> OpenConnections {
    let ((), connections) = accept_until(&listener, router, shutdown).await;
    connections
}

/// Serves this router until `work` completes.
pub(crate) async fn serve_while<T>(
    listener: &TcpListener,
    router: Router,
    work: impl Future<Output = T>,
) -> T {
    let (done, connections) = accept_until(listener, router, work).await;
    connections.drain().await;
    done
}

async fn accept_until<T>(
    listener: &TcpListener,
    router: Router,
    until: impl Future<Output = T>,
) -> (T, OpenConnections) {
    let connections = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut until = std::pin::pin!(until);
    loop {
        let accepted = tokio::select! {
            accepted = accept(listener, &slots) => accepted,
            done = &mut until => return (done, OpenConnections(connections)),
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let name_peer = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(MapRequest::new(router.clone(), name_peer)),
            );
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // An error here is caused by the client, so it is not logged.
            let _ = connection.await;
            drop(slot);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, Peer(Some(address.ip())), slot))
}
