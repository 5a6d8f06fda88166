//! The time limit for a header that has begun.
//!
//! hyper has one timer for the header of a request and for the idle time before it. Proxies keep idle connections for a
//! minute, and a header that has begun must end much earlier, so the connection itself measures the second.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Time limit for receiving the header of a request, from its first byte.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// The beginnings and ends of the requests of a connection, counted together: odd while a request is served. (A client that
/// sends the next request meanwhile is served one at a time.)
#[derive(Debug, Clone, Default)]
pub(super) struct RequestCount(Arc<AtomicU64>);

impl RequestCount {
    /// Counts the beginning of a request. Its header has ended.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the body of the response, which counts the end of the request when it was sent or given up.
    pub(super) fn end_with(&self, body: Body) -> Body {
        Body::new(CountedBody {
            body,
            _end: RequestEnd(self.clone()),
        })
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct RequestEnd(RequestCount);

impl Drop for RequestEnd {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct CountedBody {
    body: Body,
    _end: RequestEnd,
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose reads fail when a header that has begun does not end in time.
pub(super) struct HeaderLimit<S> {
    stream: S,
    requests: RequestCount,
    /// The count when `begun` was last valid.
    seen: u64,
    /// When the first byte of the header that is being received came.
    begun: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> HeaderLimit<S> {
    pub(super) fn new(stream: S, requests: RequestCount) -> Self {
        Self {
            stream,
            requests,
            seen: 0,
            begun: None,
            timer: None,
        }
    }

    /// Waits for the deadline of the header that has begun.
    fn poll_deadline(&mut self, begun: Instant, context: &mut Context<'_>) -> Poll<()> {
        let deadline = begun + HEADER_LIMIT;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeaderLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.requests.get();
        if count != self.seen {
            self.seen = count;
            self.begun = None;
        }
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        // While a request is served, what comes is its body.
        if !count.is_multiple_of(2) {
            return read;
        }
        if read.is_pending() {
            if let Some(begun) = self.begun {
                ready!(self.poll_deadline(begun, context));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        } else if buffer.filled().len() > filled {
            self.begun.get_or_insert_with(Instant::now);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeaderLimit<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
