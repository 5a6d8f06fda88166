//! The HTTP server: accepts connections, and drains them when the service stops.
//!
//! It replaces `axum::serve`, which has no time limits for idle connections, for the header of a request and for draining.

mod header_limit;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::util::{MapRequest, MapResponse};

use crate::config::Config;
use crate::http::peer::Peer;
use header_limit::{HeaderLimit, RequestCount};

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

/// How connections are served.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Time limit for an idle connection, from the end of a response to the end of the next header.
    idle_limit: Duration,
    /// Once cancelled, each response closes its connection.
    pub stopping: CancellationToken,
}

impl Server {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            idle_limit: Duration::from_secs(config.idle_seconds.into()),
            stopping: CancellationToken::new(),
        }
    }

    /// Serves until `shutdown` completes.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        router: Router,
        shutdown: impl Future<Output = ()>,
    ) -> OpenConnections {
        let ((), connections) = self.accept_until(&listener, router, shutdown).await;
        connections
    }

    /// Serves this router until `work` completes.
    pub(crate) async fn serve_while<T>(
        &self,
        listener: &TcpListener,
        router: Router,
        work: impl Future<Output = T>,
    ) -> T {
        let (done, connections) = self.accept_until(listener, router, work).await;
        connections.drain().await;
        done
    }

    async fn accept_until<T>(
        &self,
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
            match accepted {
                Ok((stream, peer, slot)) => {
                    let connection = connections.watch(self.connection(stream, peer, &router));
                    tokio::spawn(async move {
                        // An error here is caused by the client, so it is not logged.
                        let _ = connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: Peer,
        router: &Router,
    ) -> impl GracefulConnection<Error = hyper::Error> + use<> {
        let requests = RequestCount::default();
        let stream = HeaderLimit::new(stream, requests.clone());
        let begin = {
            let requests = requests.clone();
            move |mut request: Request<Incoming>| {
                requests.begin();
                request.extensions_mut().insert(peer);
                request
            }
        };
        let stopping = self.stopping.clone();
        let end = move |response: Response<Body>| {
            let mut response = response.map(|body| requests.end_with(body));
            if stopping.is_cancelled() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            response
        };
        let service = MapResponse::new(MapRequest::new(router.clone(), begin), end);
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle_limit)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
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
