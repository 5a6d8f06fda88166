//! The sender: every replica runs one, and each endpoint is served by one sender at a time.
//!
//! A sender claims an endpoint with a lease and makes attempts for up to `TIME_SLICE`, several at a time. An assignment is
//! announced once, so its message needs no order; the other messages of a coupon set are sent one after another, in their
//! order. All results are stored together at the end of the lease. A sender that crashes before has stored nothing, so
//! another one sends the same events again: delivery is at least once, always with the same id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use sqlx::PgConnection;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};

use super::client::{Attempt, Endpoint, TIMEOUT, WebhookClient};
use super::deliveries::DeliveryState;
use super::message::{self, Event, Message};
use super::queue::{self, AttemptResults, DueDelivery, Lease, LeaseEnd};
use super::{MAX_WEBHOOKS, Webhooks};
use crate::background::{Tasks, log_failure};
use crate::database::Database;
use crate::http::trace_parent::Trace;
use crate::ids::TenantId;

/// Endpoints that one replica serves at the same time.
const SLOTS: usize = 128;
/// Slots of one tenant: one for each of its endpoints, so that a slow one delays no other.
const SLOTS_OF_TENANT: usize = MAX_WEBHOOKS;
/// Slots of failing endpoints, which may take a whole time slice, so that they do not delay the healthy ones.
const SLOTS_OF_FAILING: usize = SLOTS / 2;
/// Time between two searches for endpoints that have become due.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum number of new deliveries of a lease, and likewise of retries.
const BATCH_SIZE: i32 = 500;
/// Maximum size of the new events of a lease, and likewise of its retries, in bytes. The rest stays due. One event may have
/// more: a code has up to 50 attributes of 1,000 characters.
const BATCH_BYTES: usize = 256 * 1024;
/// Time after which a lease begins no more attempts.
const TIME_SLICE: Duration = Duration::from_secs(10);
/// Duration of a lease: the time slice, its last attempt, and time to store the results.
const LEASE: Duration = Duration::from_mins(1);
/// Database connections that all leases of a replica share, so that enough remain for requests.
const CONNECTIONS: usize = 2;
/// Time that an attempt under way has to finish when the service stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Pause before storing the results is retried.
const STORE_BACKOFF: Duration = Duration::from_secs(1);
/// Time without a success after which an endpoint is disabled.
const GIVE_UP_AFTER: Duration = Duration::from_hours(5 * 24);
/// Mean delays from one attempt to the next, in seconds: about three days in total.
const RETRY_DELAYS: [f64; 11] = [
    5.0, 30.0, 120.0, 600.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
];
/// Maximum relative deviation from the mean, so that deliveries that failed together are not retried together.
const JITTER: f64 = 0.2;

/// Runs the sender of this replica.
pub(super) fn work(state: &Webhooks, tasks: &Tasks) -> impl Future<Output = ()> + use<> {
    let sender = Sender {
        database: state.database.clone(),
        client: state.client.clone(),
        concurrency: state.concurrency,
        connections: Arc::new(Semaphore::new(CONNECTIONS)),
        tasks: tasks.clone(),
    };
    sender.work()
}

/// The deliveries of one message, with their events.
type Batch = Vec<(DueDelivery, Event)>;

#[derive(Clone)]
struct Sender {
    database: Database,
    client: WebhookClient,
    /// Maximum number of attempts under way at one endpoint.
    concurrency: usize,
    connections: Arc<Semaphore>,
    tasks: Tasks,
}

impl Sender {
    async fn work(self) {
        let mut tasks = JoinSet::new();
        let mut leases: HashMap<Id, Lease> = HashMap::new();
        while !self.tasks.is_stopping() {
            if let Some(lease) = self.claim(&leases).await {
                let task = tasks.spawn(self.clone().serve(lease));
                leases.insert(task.id(), lease);
            } else {
                tokio::select! {
                    Some(ended) = tasks.join_next_with_id() => free(&mut leases, &ended),
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                    () = self.tasks.shutdown.cancelled() => {}
                }
            }
            while let Some(ended) = tasks.try_join_next_with_id() {
                free(&mut leases, &ended);
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn claim(&self, leases: &HashMap<Id, Lease>) -> Option<Lease> {
        if leases.len() >= SLOTS {
            return None;
        }
        let leases = || leases.values();
        let count = |tenant| leases().filter(|lease| lease.tenant == tenant).count();
        let full: Vec<TenantId> = leases()
            .map(|lease| lease.tenant)
            .filter(|tenant| count(*tenant) >= SLOTS_OF_TENANT)
            .collect();
        let only_healthy = leases().filter(|lease| lease.is_failing).count() >= SLOTS_OF_FAILING;
        let seconds = LEASE.as_secs_f64();
        self.database
            .with_system(async |connection| {
                queue::claim(connection, &full, only_healthy, seconds).await
            })
            .await
            .unwrap_or_else(|error| {
                log_failure("claiming a webhook failed", &error);
                None
            })
    }

    /// Serves an endpoint for one lease. If its deliveries cannot be read, the endpoint waits until the lease expires.
    async fn serve(self, lease: Lease) {
        let until = Instant::now() + LEASE;
        let mut found = self.find(&lease).await;
        if found.is_err() {
            // The connection may have broken while it was idle.
            found = self.find(&lease).await;
        }
        let (endpoint, due) = match found {
            Ok(found) => found,
            Err(error) => {
                log_failure("reading the deliveries of a webhook failed", &error);
                return;
            }
        };
        if Instant::now() + TIME_SLICE + TIMEOUT >= until {
            // Reading took so long that the lease could expire before the last attempt ends.
            return;
        }
        let mut results = AttemptResults::default();
        let mut succeeded = None;
        if let Some(endpoint) = endpoint {
            let (mut first, mut retries) = (Vec::new(), Vec::new());
            for (due, event) in due {
                match event {
                    Some(event) if due.attempts == 0 => first.push((due, event)),
                    Some(event) => retries.push((due, event)),
                    // Not counted in `succeeded`: this is not a failure of the endpoint.
                    None => results.push(&due, &Attempt::without_message(), 0.0),
                }
            }
            let begun = Instant::now();
            let max_batch = endpoint.max_batch;
            let first = stream::iter(in_order(first, max_batch));
            let retries = into_batches(retries, max_batch).map(|batch| vec![batch]);
            // By turns, so that neither waits for the other.
            let attempts = stream::select(first, stream::iter(retries))
                .map(|sequence| self.attempt_all(&endpoint, sequence, begun))
                .buffer_unordered(self.concurrency)
                .concat();
            for (batch, attempt) in attempts.await {
                succeeded = Some(succeeded == Some(true) || attempt.is_success());
                // Events that failed together are retried together.
                let deviation = random_deviation();
                for (due, _) in batch {
                    results.push(&due, &attempt, deviation);
                }
            }
        }
        self.store(&lease, &results, succeeded, until).await;
    }

    /// Finds the endpoint, if it is still enabled, and its due deliveries with their events.
    async fn find(
        &self,
        lease: &Lease,
    ) -> sqlx::Result<(Option<Endpoint>, Vec<(DueDelivery, Option<Event>)>)> {
        let _permit = self.connections.acquire().await;
        let mut transaction = self.database.background(lease.tenant).await?;
        let endpoint = queue::find_endpoint(&mut transaction, lease).await?;
        let due = queue::find_due(&mut transaction, lease, BATCH_SIZE).await?;
        let is_batched = endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.max_batch > 1);
        let events = message::render(&mut transaction, lease.tenant, &due, is_batched).await?;
        transaction.commit().await?;
        let (mut new_bytes, mut retry_bytes) = (0, 0);
        let mut found: Vec<_> = due.into_iter().zip(events).collect();
        found.retain(|(due, event)| {
            let bytes = if due.attempts == 0 {
                &mut new_bytes
            } else {
                &mut retry_bytes
            };
            let is_first = *bytes == 0;
            *bytes += event.as_ref().map_or(0, Event::size);
            is_first || *bytes <= BATCH_BYTES
        });
        Ok((endpoint, found))
    }

    /// Makes attempts one after another until the time slice that started at `begun` is over. A failed attempt does not
    /// stop the ones after it.
    async fn attempt_all(
        &self,
        endpoint: &Endpoint,
        sequence: Vec<Batch>,
        begun: Instant,
    ) -> Vec<(Batch, Attempt)> {
        let mut attempts = Vec::new();
        for batch in sequence {
            if begun.elapsed() >= TIME_SLICE || self.tasks.is_stopping() {
                break;
            }
            let events: Vec<&Event> = batch.iter().map(|(_, event)| event).collect();
            let message = Message::new(&events, endpoint.max_batch);
            let attempt = self.client.attempt(endpoint, message, Trace(None));
            tokio::select! {
                attempt = attempt => attempts.push((batch, attempt)),
                // Its result is not stored, so another sender makes it again.
                () = self.stopped() => break,
            }
        }
        attempts
    }

    /// Completes `STOP_LIMIT` after the service has begun to stop.
    async fn stopped(&self) {
        self.tasks.shutdown.cancelled().await;
        tokio::time::sleep(STOP_LIMIT).await;
    }

    /// Stores the results, retrying until the lease expires: deliveries without a stored result are sent again.
    async fn store(
        &self,
        lease: &Lease,
        results: &AttemptResults,
        succeeded: Option<bool>,
        until: Instant,
    ) {
        loop {
            match self.try_store(lease, results, succeeded).await {
                Ok(()) => return,
                Err(error) => log_failure("storing the results of deliveries failed", &error),
            }
            if Instant::now() + STORE_BACKOFF >= until || self.tasks.is_stopping() {
                return;
            }
            tokio::time::sleep(STORE_BACKOFF).await;
        }
    }

    async fn try_store(
        &self,
        lease: &Lease,
        results: &AttemptResults,
        succeeded: Option<bool>,
    ) -> sqlx::Result<()> {
        let _permit = self.connections.acquire().await;
        let give_up_after = GIVE_UP_AFTER.as_secs_f64();
        let end = async |connection: &mut PgConnection| {
            queue::end_lease(connection, lease, results, succeeded, give_up_after).await
        };
        match self.database.call(end).await? {
            LeaseEnd::Stored => {}
            LeaseEnd::GivenUp => tracing::warn!(
                tenant = %lease.tenant,
                webhook = lease.webhook_no,
                "a webhook without a success for five days was disabled"
            ),
            LeaseEnd::Lost => tracing::warn!(
                "the lease of a webhook expired; another sender takes over its deliveries"
            ),
        }
        Ok(())
    }
}

/// Returns sequences of messages that can be sent side by side. An assignment is announced once. The order of the other
/// events of a set, and of those without a set, is kept.
fn in_order(due: Vec<(DueDelivery, Event)>, max_batch: usize) -> Vec<Vec<Batch>> {
    let mut announced = Vec::new();
    let mut of_sets: BTreeMap<Option<i32>, Vec<(DueDelivery, Event)>> = BTreeMap::new();
    for delivery in due {
        if delivery.0.assignment().is_some() {
            announced.push(delivery);
        } else {
            of_sets.entry(delivery.0.set_no).or_default().push(delivery);
        }
    }
    let of_sets = of_sets.into_values();
    let of_sets = of_sets.map(|of_set| into_batches(of_set, max_batch).collect());
    let announced = into_batches(announced, max_batch).map(|batch| vec![batch]);
    of_sets.chain(announced).collect()
}

/// Splits deliveries into messages of at most `size` events.
fn into_batches(due: Vec<(DueDelivery, Event)>, size: usize) -> impl Iterator<Item = Batch> {
    let mut due = due.into_iter();
    std::iter::from_fn(move || {
        let batch: Batch = due.by_ref().take(size).collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// Frees the slot of a task that has ended or panicked.
fn free(leases: &mut HashMap<Id, Lease>, ended: &Result<(Id, ()), JoinError>) {
    let id = match ended {
        Ok((id, ())) => *id,
        Err(panicked) => panicked.id(),
    };
    leases.remove(&id);
}

impl AttemptResults {
    /// `deviation` is that of the delay until the next attempt from its mean, if there is one.
    fn push(&mut self, due: &DueDelivery, attempt: &Attempt, deviation: f64) {
        let delay = if attempt.is_success() {
            None
        } else {
            retry_delay(due.attempts - due.replayed_after, deviation)
        };
        self.delivery_nos.push(due.delivery_no);
        self.states.push(match delay {
            Some(_) => DeliveryState::Waiting,
            None if attempt.is_success() => DeliveryState::Delivered,
            None => DeliveryState::Failed,
        });
        self.delays.push(delay);
        let attempt = serde_json::to_value(attempt).expect("an attempt is plain data");
        self.attempts.push(attempt);
    }
}

/// Seconds to wait after a failed attempt that `earlier` others preceded; `None` if it was the last.
fn retry_delay(earlier: i32, deviation: f64) -> Option<f64> {
    let mean = RETRY_DELAYS.get(usize::try_from(earlier).ok()?)?;
    Some(mean * (1.0 + deviation))
}

/// A random deviation from a mean delay, relative to it.
fn random_deviation() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    let random = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    JITTER * (2.0 * random - 1.0)
}

// A lease must outlast its last attempt and the storing of the results.
const _: () = assert!(TIME_SLICE.as_secs() + TIMEOUT.as_secs() + 20 < LEASE.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_delays_grow_over_three_days_and_end() {
        let mut total = 0.0;
        for earlier in 0..11 {
            let delays: Vec<f64> = (0..100)
                .map(|_| retry_delay(earlier, random_deviation()).unwrap())
                .collect();
            let mean = RETRY_DELAYS[usize::try_from(earlier).unwrap()];
            assert!(
                delays
                    .iter()
                    .all(|delay| (delay / mean - 1.0).abs() <= 0.2001)
            );
            assert!(delays.iter().any(|delay| (delay / mean - 1.0).abs() > 0.05));
            total += mean;
        }
        assert!(RETRY_DELAYS.is_sorted());
        assert!((3.0..3.5).contains(&(total / 86_400.0)));
        assert_eq!(retry_delay(11, 0.0), None);
    }
}
