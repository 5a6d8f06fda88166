//! The sender: every replica runs one, and each endpoint is served by one sender at a time.
//!
//! A sender claims an endpoint with a lease and makes attempts for up to `TIME_SLICE`. First attempts of one coupon set
//! are made one after another in their order; up to `PARALLEL_SETS` sets and the due retries run in parallel. All results
//! are stored together at the end of the lease. A sender that crashes before has stored nothing, so another one sends the
//! same messages again: delivery is at least once, always with the same id.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};

use super::client::{Attempt, Endpoint, TIMEOUT, WebhookClient};
use super::deliveries::DeliveryState;
use super::queue::{self, AttemptResults, DueDelivery, Lease, LeaseEnd};
use super::{Webhooks, message};
use crate::background::{Tasks, log_failure};
use crate::database::Database;
use crate::ids::TenantId;

/// Endpoints that one replica serves at the same time.
const SLOTS: usize = 64;
/// Slots of one tenant, so that its slow endpoints do not delay those of others.
const SLOTS_OF_TENANT: usize = 4;
/// Slots of failing endpoints, which may take a whole time slice, so that they do not delay the healthy ones.
const SLOTS_OF_FAILING: usize = SLOTS / 2;
/// Time between two searches for endpoints that have become due.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum number of first attempts of a lease, and likewise of retries.
const BATCH_SIZE: i32 = 100;
/// Coupon sets whose first attempts run in parallel. Order is promised only within a set.
const PARALLEL_SETS: usize = 4;
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
        connections: Arc::new(Semaphore::new(CONNECTIONS)),
        tasks: tasks.clone(),
    };
    sender.work()
}

#[derive(Clone)]
struct Sender {
    database: Database,
    client: WebhookClient,
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
        let (endpoint, due) = match self.find(&lease).await {
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
            for (due, message) in due {
                match message {
                    Some(message) if due.attempts == 0 => first.push((due, message)),
                    Some(message) => retries.push((due, message)),
                    // Not counted in `succeeded`: this is not a failure of the endpoint.
                    None => results.push(&due, &Attempt::without_message()),
                }
            }
            let begun = Instant::now();
            let first = stream::iter(group_by_set(first))
                .map(|of_set| self.attempt_all(&endpoint, of_set, begun))
                .buffer_unordered(PARALLEL_SETS)
                .concat();
            let retries = self.attempt_all(&endpoint, retries, begun);
            let (first, retries) = tokio::join!(first, retries);
            for (due, attempt) in first.into_iter().chain(retries) {
                succeeded = Some(succeeded == Some(true) || attempt.is_success());
                results.push(&due, &attempt);
            }
        }
        self.store(&lease, &results, succeeded, until).await;
    }

    /// Finds the endpoint, if it is still enabled, and its due deliveries with their messages.
    async fn find(
        &self,
        lease: &Lease,
    ) -> sqlx::Result<(Option<Endpoint>, Vec<(DueDelivery, Option<Vec<u8>>)>)> {
        let _permit = self.connections.acquire().await;
        let mut transaction = self.database.tenant(lease.tenant).await?;
        let endpoint = queue::find_endpoint(&mut transaction, lease).await?;
        let due = queue::find_due(&mut transaction, lease, BATCH_SIZE).await?;
        let messages = message::render(&mut transaction, lease.tenant, &due).await?;
        transaction.commit().await?;
        Ok((endpoint, due.into_iter().zip(messages).collect()))
    }

    /// Makes attempts one after another until the time slice that started at `begun` is over. A failed attempt does not
    /// stop the ones after it.
    async fn attempt_all(
        &self,
        endpoint: &Endpoint,
        due: Vec<(DueDelivery, Vec<u8>)>,
        begun: Instant,
    ) -> Vec<(DueDelivery, Attempt)> {
        let mut attempts = Vec::new();
        for (due, message) in due {
            if begun.elapsed() >= TIME_SLICE || self.tasks.is_stopping() {
                break;
            }
            let attempt = self.client.attempt(endpoint, due.id, message);
            tokio::select! {
                attempt = attempt => attempts.push((due, attempt)),
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
        let pool = self.database.tasks();
        match queue::end_lease(pool, lease, results, succeeded, give_up_after).await? {
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

/// Groups deliveries by coupon set and keeps their order. Deliveries without a set are a group of their own.
fn group_by_set(due: Vec<(DueDelivery, Vec<u8>)>) -> Vec<Vec<(DueDelivery, Vec<u8>)>> {
    let mut groups: Vec<Vec<(DueDelivery, Vec<u8>)>> = Vec::new();
    let mut indexes: HashMap<Option<i32>, usize> = HashMap::new();
    for delivery in due {
        let index = *indexes.entry(delivery.0.set_no).or_insert(groups.len());
        if index == groups.len() {
            groups.push(Vec::new());
        }
        groups[index].push(delivery);
    }
    groups
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
    fn push(&mut self, due: &DueDelivery, attempt: &Attempt) {
        let delay = if attempt.is_success() {
            None
        } else {
            retry_delay(due.attempts - due.replayed_after)
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
fn retry_delay(earlier: i32) -> Option<f64> {
    let mean = RETRY_DELAYS.get(usize::try_from(earlier).ok()?)?;
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    let random = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    Some(mean * (1.0 + JITTER * (2.0 * random - 1.0)))
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
            let delays: Vec<f64> = (0..100).map(|_| retry_delay(earlier).unwrap()).collect();
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
        assert_eq!(retry_delay(11), None);
    }
}
