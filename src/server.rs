//! The HTTP server: accepts connections, and drains them when the service stops.
//!
//! Our own loop, because `axum::serve` neither ends a connection that never finishes its header nor gives up on draining.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Time that a client has to send the header of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Time that requests under way have to finish when the service stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Open connections; more wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;
/// Pause after the system could not accept, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are still open after the server has stopped accepting.
pub(crate) struct Draining(GracefulShutdown);

impl Draining {
    /// Waits until the requests that are under way are answered, within a limit.
    pub(crate) async fn finish(self) {
        tokio::select! {
            () = self.0.shutdown() => {}
            () = tokio::time::sleep(DRAIN_LIMIT) => tracing::warn!("some requests were cut off by the stop"),
        }
    }
}

/// Serves until `shutdown` comes.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> Draining {
    let ((), draining) = accept_until(&listener, router, shutdown).await;
    draining
}

/// Answers with this router while something else is done.
pub(crate) async fn serve_while<T>(
    listener: &TcpListener,
    router: Router,
    work: impl Future<Output = T>,
) -> T {
    let (done, draining) = accept_until(listener, router, work).await;
    draining.finish().await;
    done
}

async fn accept_until<T>(
    listener: &TcpListener,
    router: Router,
    until: impl Future<Output = T>,
) -> (T, Draining) {
    let draining = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut until = std::pin::pin!(until);
    loop {
        let accepted = tokio::select! {
            accepted = accept(listener, &slots) => accepted,
            done = &mut until => return (done, Draining(draining)),
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(router.clone()),
            );
        let connection = draining.watch(connection);
        tokio::spawn(async move {
            // What a client does to its connection is no failure of ours.
            let _ = connection.await;
            drop(slot);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}
