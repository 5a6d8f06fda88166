//! The lanes of a batcher: each takes a batch, has it served, and returns the replies.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, Span};

use super::fair_queue::{NextShared, Portion};
use super::{BatchConnection, BatchHandler, Inner, KeyRequests, QueuedRequest};
use crate::database::Database;
use crate::traces::exported_span;

/// Maximum number of items per batch, unless a single request has more.
const MAX_ITEMS: usize = 512;
/// Minimum number of keys of a batch beside one that is in progress. The fixed cost of a call is that of 10 to 20 items, for
/// which the keys stand in. Compared with no minimum, 24 keys gave 5 to 14 % more codes to 64 clients of 1,000 sets, and 4 to
/// 14 % to 256 (`cargo bench --bench assign`). Events were not measured.
const MIN_KEYS: usize = 24;
/// Time after which fewer keys are taken too, counted from the lane's first look at them.
const MAX_GATHER_TIME: Duration = Duration::from_millis(1);
/// Maximum number of keys per batch.
const MAX_KEYS: usize = 128;
/// Maximum number of lanes that wait for locks of one tenant.
const MAX_SINGLES_PER_TENANT: usize = 3;
/// Time that an idle lane keeps its connection. Returning one costs the pool a round trip.
const CONNECTION_LINGER: Duration = Duration::from_secs(1);

type Taken<H> = Portion<<H as BatchHandler>::Key, QueuedRequest<H>>;

/// Serves batches of many keys, or batches of one key.
pub(super) struct Lane<H: BatchHandler> {
    inner: Arc<Inner<H>>,
    connection: BatchConnection,
}

impl<H: BatchHandler> Lane<H> {
    pub(super) fn new(inner: &Arc<Inner<H>>, database: &Database) -> Self {
        Self {
            inner: Arc::clone(inner),
            connection: BatchConnection::new(database),
        }
    }

    /// Serves batches of many keys.
    pub(super) async fn run_shared(mut self) {
        let inner = Arc::clone(&self.inner);
        let mut gather_until = None;
        loop {
            let batch = {
                // Enabled before the queue is read, so that a wake-up in between is not missed.
                let mut waits = pin!(inner.shared_waits.notified());
                waits.as_mut().enable();
                let gathers = gather_until.is_none_or(|until| Instant::now() < until);
                let min_keys = if gathers { MIN_KEYS } else { 1 };
                let next = inner.queue().take_shared(min_keys, MAX_KEYS, MAX_ITEMS);
                match next {
                    NextShared::Batch(batch) => batch,
                    NextShared::TooFew => {
                        let until =
                            *gather_until.get_or_insert_with(|| Instant::now() + MAX_GATHER_TIME);
                        let _ = timeout_at(until, waits).await;
                        continue;
                    }
                    NextShared::Nothing => {
                        gather_until = None;
                        if inner.is_done() {
                            return;
                        }
                        wait(waits, &mut self.connection).await;
                        continue;
                    }
                }
                // Dropping `waits` passes its wake-up on to another lane.
            };
            gather_until = None;
            self.serve_shared(batch).await;
        }
    }

    async fn serve_shared(&mut self, mut batch: Vec<Taken<H>>) {
        // Requests whose callers have timed out are dropped: nothing was done, and a retry brings the same keys.
        let now = Instant::now();
        for portion in &mut batch {
            portion.requests.retain(|request| request.deadline > now);
        }
        let deadlines = batch.iter().flat_map(|portion| &portion.requests);
        // The latest deadline applies to the batch; the other callers have left by then.
        let replies = match deadlines.map(|request| request.deadline).max() {
            None => Some(batch.iter().map(|_| Vec::new()).collect()),
            Some(deadline) => {
                let requests: Vec<_> = batch
                    .iter()
                    .map(|portion| {
                        let items = portion.requests.iter().map(|request| &*request.items);
                        KeyRequests {
                            key: portion.key,
                            requests: items.collect(),
                        }
                    })
                    .collect();
                let handler = &self.inner.handler;
                let span = batch_span(batch.iter().flat_map(|portion| &portion.requests));
                let served = handler.serve_many(&mut self.connection, &requests, deadline);
                let served = AssertUnwindSafe(served.instrument(span))
                    .catch_unwind()
                    .await;
                served.unwrap_or_else(|_| {
                    self.connection.discard();
                    None
                })
            }
        };
        let rests: Vec<Vec<QueuedRequest<H>>> = if let Some(replies) = replies {
            let portions = batch.iter_mut().zip(replies);
            portions
                .map(|(portion, replies)| distribute(&mut portion.requests, replies))
                .collect()
        } else {
            let alone = |request| QueuedRequest {
                is_plain: false,
                ..request
            };
            let requests = batch
                .iter_mut()
                .map(|portion| mem::take(&mut portion.requests));
            requests
                .map(|requests| requests.into_iter().map(alone).collect())
                .collect()
        };
        let mut queue = self.inner.queue();
        for (portion, rest) in batch.iter().zip(rests) {
            self.inner.wake(queue.finish_part(portion.key, rest));
        }
        queue.finish_shared();
        drop(queue);
        self.inner.wake_if_done();
    }

    /// Serves batches of one key.
    pub(super) async fn run_single(mut self) {
        let inner = Arc::clone(&self.inner);
        loop {
            let portion = {
                let mut waits = pin!(inner.single_waits.notified());
                waits.as_mut().enable();
                let portion = inner.queue().take_single(MAX_ITEMS, MAX_SINGLES_PER_TENANT);
                let Some(portion) = portion else {
                    if inner.is_done() {
                        return;
                    }
                    wait(waits, &mut self.connection).await;
                    continue;
                };
                portion
            };
            let (tenant, key) = (portion.tenant, portion.key);
            let served = AssertUnwindSafe(self.serve_single(portion)).catch_unwind();
            if served.await.is_err() {
                self.connection.discard();
            }
            let next = inner.queue().finish_single(tenant, key);
            inner.wake(next);
            inner.wake_if_done();
        }
    }

    async fn serve_single(&mut self, portion: Taken<H>) {
        let now = Instant::now();
        let mut requests = portion.requests;
        requests.retain(|request| request.deadline > now);
        let Some(deadline) = requests.iter().map(|request| request.deadline).max() else {
            return;
        };
        let (group, atomicity) = (requests[0].group, requests[0].atomicity);
        let items: Vec<&H::Item> = requests.iter().flat_map(QueuedRequest::unserved).collect();
        let handler = &self.inner.handler;
        let replies = handler.serve(
            &mut self.connection,
            portion.key,
            group,
            &items,
            atomicity,
            deadline,
        );
        let span = batch_span(requests.iter());
        let mut replies = replies.instrument(span).await.into_iter();
        for mut request in requests {
            let served = mem::take(&mut request.replies);
            let replies = if served.is_empty() {
                replies.by_ref().take(request.items.len()).collect()
            } else {
                served
                    .into_iter()
                    .filter_map(|reply| reply.or_else(|| replies.next()))
                    .collect()
            };
            request.reply(replies);
        }
    }
}

/// Returns the replies to the callers. Requests with items that were not processed are returned.
fn distribute<H: BatchHandler>(
    requests: &mut Vec<QueuedRequest<H>>,
    replies: Vec<Option<H::Reply>>,
) -> Vec<QueuedRequest<H>> {
    let mut replies = replies.into_iter();
    let mut rest = Vec::new();
    for mut request in requests.drain(..) {
        let of_request: Vec<Option<H::Reply>> =
            replies.by_ref().take(request.items.len()).collect();
        if of_request.iter().all(Option::is_some) {
            request.reply(of_request.into_iter().flatten().collect());
        } else {
            request.replies = of_request;
            request.is_plain = false;
            rest.push(request);
        }
    }
    rest
}

/// Makes the span of a batch, linked to those of its requests.
fn batch_span<'a, H: BatchHandler>(requests: impl Iterator<Item = &'a QueuedRequest<H>>) -> Span {
    let span = exported_span!(parent: None, "batch");
    if !span.is_none() {
        requests.for_each(|request| {
            span.follows_from(&request.span);
        });
    }
    span
}

impl<H: BatchHandler> QueuedRequest<H> {
    /// The items that no batch has processed.
    fn unserved(&self) -> impl Iterator<Item = &H::Item> {
        let is_served = |place: usize| self.replies.get(place).is_some_and(Option::is_some);
        let items = self.items.iter().enumerate();
        items
            .filter(move |(place, _)| !is_served(*place))
            .map(|(_, item)| item)
    }
}

/// Waits for work, at first with the connection.
async fn wait(mut work: Pin<&mut Notified<'_>>, connection: &mut BatchConnection) {
    if timeout(CONNECTION_LINGER, work.as_mut()).await.is_err() {
        connection.release();
        work.await;
    }
}

impl<H: BatchHandler> Inner<H> {
    /// Returns true if the queue was closed and all requests have their replies.
    fn is_done(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst) && self.queue().is_empty()
    }

    /// Lets the lanes end that wait.
    fn wake_if_done(&self) {
        if self.is_done() {
            self.shared_waits.notify_waiters();
            self.single_waits.notify_waiters();
        }
    }
}
