//! The sender: each replica serves endpoints that are due, each by one sender at a time.
//!
//! A turn serves one endpoint for some seconds: the first attempts of each set one after another in their order, those of
//! some sets beside each other, and beside them the retries that are due. What came of them is noted at the end of the
//! turn, all at once. A sender that dies in between has noted nothing, so what it sent is sent again: at least once, always
//! with the same id.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};

use super::client::{Attempt, Endpoint, TIMEOUT, WebhookClient};
use super::deliveries::State;
use super::queue::{self, Due, End, Lease, Results};
use super::{Webhooks, message};
use crate::background::{Tasks, log_failure};
use crate::database::Database;
use crate::ids::TenantId;

/// Endpoints that one replica serves at the same time, of all tenants and of one: slow ones of one tenant leave room to
/// the others. Those that fail, and may take a turn to do so, leave it to those that do not.
const SLOTS: usize = 64;
const SLOTS_OF_TENANT: usize = 4;
const SLOTS_OF_FAILING: usize = SLOTS / 2;
/// How often a sender looks for endpoints that have become due.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Deliveries of each kind that a turn takes.
const BATCH_SIZE: i32 = 100;
/// Sets whose first attempts a turn makes at the same time: each promises an order of its own.
const LINES: usize = 4;
/// For how long a turn begins attempts.
const TIME_SLICE: Duration = Duration::from_secs(10);
/// For how long an endpoint is this sender's: a turn with its last attempt, and some time to note what came of it.
const LEASE: Duration = Duration::from_mins(1);
/// Connections to the database that all turns together take from the requests.
const CONNECTIONS: usize = 2;
/// How long an attempt that has begun may go on when the service stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Pause before results are tried to be noted again.
const NOTE_PAUSE: Duration = Duration::from_secs(1);
/// After so long without a success an endpoint is told nothing more.
const GIVE_UP: Duration = Duration::from_hours(5 * 24);
/// Seconds from one attempt to the next, in the middle: about three days in all.
const GAPS: [f64; 11] = [
    5.0, 30.0, 120.0, 600.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
];
/// How far a gap may be from the middle, so that what failed together does not come again together.
const JITTER: f64 = 0.2;

/// The sender of this replica.
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
        let mut turns = JoinSet::new();
        let mut served: HashMap<Id, Lease> = HashMap::new();
        while !self.tasks.is_stopping() {
            if let Some(lease) = self.claim(&served).await {
                let task = turns.spawn(self.clone().serve(lease));
                served.insert(task.id(), lease);
            } else {
                tokio::select! {
                    Some(ended) = turns.join_next_with_id() => free(&mut served, &ended),
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                    () = self.tasks.shutdown.cancelled() => {}
                }
            }
            while let Some(ended) = turns.try_join_next_with_id() {
                free(&mut served, &ended);
            }
        }
        while turns.join_next().await.is_some() {}
    }

    async fn claim(&self, served: &HashMap<Id, Lease>) -> Option<Lease> {
        if served.len() >= SLOTS {
            return None;
        }
        let turns = || served.values();
        let count = |tenant| turns().filter(|lease| lease.tenant == tenant).count();
        let full: Vec<TenantId> = turns()
            .map(|lease| lease.tenant)
            .filter(|tenant| count(*tenant) >= SLOTS_OF_TENANT)
            .collect();
        let only_sound = turns().filter(|lease| lease.is_failing).count() >= SLOTS_OF_FAILING;
        let seconds = LEASE.as_secs_f64();
        queue::claim(self.database.system(), &full, only_sound, seconds)
            .await
            .unwrap_or_else(|error| {
                log_failure("claiming a webhook failed", &error);
                None
            })
    }

    /// A turn that cannot even be begun leaves the endpoint to whoever comes when the lease has run out.
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
            // What was read took so long that another sender may be at it before the last attempt is over.
            return;
        }
        let mut results = Results::default();
        let mut succeeded = None;
        if let Some(endpoint) = endpoint {
            let (mut new, mut again) = (Vec::new(), Vec::new());
            for (due, message) in due {
                match message {
                    Some(message) if due.attempts == 0 => new.push((due, message)),
                    Some(message) => again.push((due, message)),
                    // That is our failure and not the endpoint's.
                    None => results.push(&due, &Attempt::without_message()),
                }
            }
            let begun = Instant::now();
            let first = stream::iter(by_set(new))
                .map(|line| self.attempt_all(&endpoint, line, begun))
                .buffer_unordered(LINES)
                .concat();
            let made = tokio::join!(first, self.attempt_all(&endpoint, again, begun));
            for (due, attempt) in made.0.into_iter().chain(made.1) {
                succeeded = Some(succeeded == Some(true) || attempt.is_success());
                results.push(&due, &attempt);
            }
        }
        self.note(&lease, &results, succeeded, until).await;
    }

    /// The endpoint, if it is still enabled, and what is due with its messages.
    async fn find(
        &self,
        lease: &Lease,
    ) -> sqlx::Result<(Option<Endpoint>, Vec<(Due, Option<Vec<u8>>)>)> {
        let _permit = self.connections.acquire().await;
        let mut transaction = self.database.tenant(lease.tenant).await?;
        let endpoint = queue::find_endpoint(&mut transaction, lease).await?;
        let due = queue::find_due(&mut transaction, lease, BATCH_SIZE).await?;
        let messages = message::render(&mut transaction, lease.tenant, &due).await?;
        transaction.commit().await?;
        Ok((endpoint, due.into_iter().zip(messages).collect()))
    }

    /// One after another, as far as the time goes that the turn has since it began. One that fails holds up none.
    async fn attempt_all(
        &self,
        endpoint: &Endpoint,
        due: Vec<(Due, Vec<u8>)>,
        begun: Instant,
    ) -> Vec<(Due, Attempt)> {
        let mut made = Vec::new();
        for (due, message) in due {
            if begun.elapsed() >= TIME_SLICE || self.tasks.is_stopping() {
                break;
            }
            let attempt = self.client.attempt(endpoint, due.id, message);
            tokio::select! {
                attempt = attempt => made.push((due, attempt)),
                // Not noted, so it is made again.
                () = self.stopped() => break,
            }
        }
        made
    }

    async fn stopped(&self) {
        self.tasks.shutdown.cancelled().await;
        tokio::time::sleep(STOP_LIMIT).await;
    }

    /// Tries for as long as the endpoint is ours: what is not noted is sent again.
    async fn note(
        &self,
        lease: &Lease,
        results: &Results,
        succeeded: Option<bool>,
        until: Instant,
    ) {
        loop {
            match self.try_note(lease, results, succeeded).await {
                Ok(()) => return,
                Err(error) => log_failure("storing the results of deliveries failed", &error),
            }
            if Instant::now() + NOTE_PAUSE >= until || self.tasks.is_stopping() {
                return;
            }
            tokio::time::sleep(NOTE_PAUSE).await;
        }
    }

    async fn try_note(
        &self,
        lease: &Lease,
        results: &Results,
        succeeded: Option<bool>,
    ) -> sqlx::Result<()> {
        let _permit = self.connections.acquire().await;
        let give_up = GIVE_UP.as_secs_f64();
        match queue::end(self.database.tasks(), lease, results, succeeded, give_up).await? {
            End::Noted => {}
            End::GivenUp => tracing::warn!(
                tenant = %lease.tenant,
                webhook = lease.webhook_no,
                "a webhook without a success for five days was disabled"
            ),
            End::Lost => tracing::warn!(
                "the lease of a webhook expired; another sender takes over its deliveries"
            ),
        }
        Ok(())
    }
}

/// The deliveries of each set in their order; of those that are of none, too.
fn by_set(due: Vec<(Due, Vec<u8>)>) -> Vec<Vec<(Due, Vec<u8>)>> {
    let mut lines: Vec<Vec<(Due, Vec<u8>)>> = Vec::new();
    let mut places: HashMap<Option<i32>, usize> = HashMap::new();
    for delivery in due {
        let place = *places.entry(delivery.0.set_no).or_insert(lines.len());
        if place == lines.len() {
            lines.push(Vec::new());
        }
        lines[place].push(delivery);
    }
    lines
}

/// The slot of a turn that has ended, or panicked, is another's.
fn free(served: &mut HashMap<Id, Lease>, ended: &Result<(Id, ()), JoinError>) {
    let id = match ended {
        Ok((id, ())) => *id,
        Err(panicked) => panicked.id(),
    };
    served.remove(&id);
}

impl Results {
    fn push(&mut self, due: &Due, attempt: &Attempt) {
        let delay = if attempt.is_success() {
            None
        } else {
            gap(due.attempts - due.replayed_after)
        };
        self.delivery_nos.push(due.delivery_no);
        self.states.push(match delay {
            Some(_) => State::Waiting,
            None if attempt.is_success() => State::Delivered,
            None => State::Failed,
        });
        self.delays.push(delay);
        let attempt = serde_json::to_value(attempt).expect("an attempt is plain data");
        self.attempts.push(attempt);
    }
}

/// Seconds to wait after an attempt failed that so many others came before; `None` if it was the last.
fn gap(before: i32) -> Option<f64> {
    let middle = GAPS.get(usize::try_from(before).ok()?)?;
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    let random = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    Some(middle * (1.0 + JITTER * (2.0 * random - 1.0)))
}

// An endpoint stays this sender's until the last attempt of a turn is over and noted.
const _: () = assert!(TIME_SLICE.as_secs() + TIMEOUT.as_secs() + 20 < LEASE.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaps_grow_over_three_days_and_end() {
        let mut total = 0.0;
        for before in 0..11 {
            let gaps: Vec<f64> = (0..100).map(|_| gap(before).unwrap()).collect();
            let middle = GAPS[usize::try_from(before).unwrap()];
            assert!(gaps.iter().all(|gap| (gap / middle - 1.0).abs() <= 0.2001));
            assert!(gaps.iter().any(|gap| (gap / middle - 1.0).abs() > 0.05));
            total += middle;
        }
        assert!(GAPS.is_sorted());
        assert!((3.0..3.5).contains(&(total / 86_400.0)));
        assert_eq!(gap(11), None);
    }
}
