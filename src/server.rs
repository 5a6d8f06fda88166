//! The HTTP server: accepts connections, and drains them when the service stops.
//!
//! Our own loop, because `axum::serve` neither ends a connection that never finishes its header nor gives up on draining.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::app::{App, router};

/// How long a client may take to send the header of a request.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// How long requests that are under way get when the service stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;
/// Pause after the system could not accept, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` comes, then drains and stops the app.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) {
    let service: Router = router(app.clone());
    let draining = GracefulShutdown::new();
    let slots = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut shutdown => break,
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
                TowerToHyperService::new(service.clone()),
            );
        let connection = draining.watch(connection);
        tokio::spawn(async move {
            // What a client does to its connection is no failure of ours.
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    app.begin_shutdown();
    tokio::select! {
        () = draining.shutdown() => {}
        () = tokio::time::sleep(DRAIN_LIMIT) => tracing::warn!("some requests were cut off by the stop"),
    }
    app.stop().await;
}

async fn accept(
    listener: &TcpListener,
    slots: &std::sync::Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = std::sync::Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}
