//! The clients of the trial.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Given, Item, Progress, Seen, Shop, contact_text, key_text};
use crate::faults::cluster::REPLICAS;
use crate::faults::http::{Addresses, Caller, Reply, Request};
use crate::faults::random::Random;
use crate::faults::trial::NUMBER_BITS;
use crate::faults::workload::{TIMEOUTS, parse};

/// Contacts of a tenant. Clients share them, so new ones arrive at several sets at once.
const CONTACTS: u64 = 20_000;
/// Maximum number of items per batch. PostgreSQL returns the rows of the largest batches in several pieces, the first
/// before the commit.
const MAX_ITEMS: u64 = 100;
/// Number of keys that are sent once more in one request.
const REPLAYED_AT_ONCE: usize = 200;
/// Time limit of a request after the faults.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// A client of one tenant.
pub(super) struct Client {
    ids: Vec<Uuid>,
    first_set: usize,
    /// The second caller sends requests that race with those of the first.
    callers: [Caller; 2],
    random: Random,
    progress: Arc<Progress>,
    next_key: u64,
    /// Items whose outcome was unknown at the end of the load.
    open: Vec<Item>,
    seen: Seen,
}

impl Client {
    pub(super) fn new(
        number: u64,
        shop: &Shop,
        addresses: &Addresses,
        progress: &Arc<Progress>,
        random: &Random,
    ) -> Self {
        let caller = || Caller::new(addresses, &shop.bearer);
        Self {
            ids: shop.sets.clone(),
            first_set: shop.first_set,
            callers: [caller(), caller()],
            random: random.fork(number),
            progress: Arc::clone(progress),
            next_key: number << 40,
            open: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Requests codes until the load is over.
    pub(super) async fn run(mut self, pause: (u64, u64)) -> Self {
        while !self.progress.is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(self.random.millis(pause)).await;
            let set = self.first_set + self.random.index(self.ids.len());
            match self.random.below(20) {
                0..13 => {
                    let items = vec![self.new_item(set)];
                    self.request(items).await;
                }
                13 => {
                    let size = 2 + self.random.below(MAX_ITEMS - 1);
                    let items = (0..size).map(|_| self.new_item(set)).collect();
                    self.request(items).await;
                }
                14..17 => {
                    let first = self.next_key >> 40 << 40;
                    let key = first + self.random.below(self.next_key - first + 1);
                    if let Some((item, _)) = self.seen.given.get(&key) {
                        let items = vec![*item];
                        self.request(items).await;
                    }
                }
                _ => self.twins(set).await,
            }
        }
        self
    }

    fn new_item(&mut self, set: usize) -> Item {
        self.next_key += 1;
        let contact = self.random.below(CONTACTS);
        Item {
            set,
            key: self.next_key,
            contact,
        }
    }

    /// Sends items, with retries, until each has an answer or the load is over.
    async fn request(&mut self, items: Vec<Item>) {
        let mut open = items;
        loop {
            let limit = self.time_limit();
            let replica = self.random.index(REPLICAS);
            let path = self.path(open[0].set);
            let answers = send(
                &mut self.callers[0],
                &self.progress,
                replica,
                &path,
                &open,
                limit,
            )
            .await;
            open = self.store(&open, answers);
            if open.is_empty() {
                return;
            }
            if self.progress.is_over.load(Ordering::Relaxed) {
                return self.open.extend(open);
            }
            tokio::time::sleep(self.random.millis((1, 60))).await;
        }
    }

    /// Sends one new key to two replicas at the same time.
    async fn twins(&mut self, set: usize) {
        let items = [self.new_item(set)];
        let limit = self.time_limit();
        let first = self.random.index(REPLICAS);
        let second = (first + 1) % REPLICAS;
        let path = self.path(set);
        let [one, other] = &mut self.callers;
        let (one, other) = tokio::join!(
            send(one, &self.progress, first, &path, &items, limit),
            send(other, &self.progress, second, &path, &items, limit),
        );
        let open = [self.store(&items, one), self.store(&items, other)];
        if open.iter().all(|open| !open.is_empty()) {
            self.request(items.to_vec()).await;
        }
    }

    /// Sends the open items until they have an answer, and then every key once more.
    pub(super) async fn settle(mut self) -> Seen {
        let open = mem::take(&mut self.open);
        let all = self.seen.given.values().map(|(item, _)| *item);
        let all: Vec<Item> = all.chain(open.iter().copied()).collect();
        for items in [open, all] {
            let mut by_set: HashMap<usize, Vec<Item>> = HashMap::new();
            for item in items {
                by_set.entry(item.set).or_default().push(item);
            }
            for (set, items) in by_set {
                for items in items.chunks(REPLAYED_AT_ONCE) {
                    self.replay(set, items).await;
                }
            }
        }
        self.seen
    }

    async fn replay(&mut self, set: usize, items: &[Item]) {
        let path = self.path(set);
        let mut open = items.to_vec();
        let deadline = Instant::now() + 4 * REQUEST_LIMIT;
        while !open.is_empty() {
            if Instant::now() > deadline {
                let missing = format!("{} keys of set {set} get no answer", open.len());
                return self.seen.objections.push(missing);
            }
            let replica = self.random.index(REPLICAS);
            let caller = &mut self.callers[0];
            let answers = send(caller, &self.progress, replica, &path, &open, REQUEST_LIMIT).await;
            open = self.store(&open, answers);
        }
    }

    fn path(&self, set: usize) -> String {
        format!("/v1/coupon-sets/{}", self.ids[set - self.first_set])
    }

    fn time_limit(&mut self) -> Duration {
        let range = TIMEOUTS[self.random.index(TIMEOUTS.len())];
        self.random.millis(range)
    }

    /// Stores what was given, and returns the items of unknown outcome.
    fn store(&mut self, items: &[Item], answers: Vec<Answer>) -> Vec<Item> {
        let mut open = Vec::new();
        for (item, answer) in items.iter().zip(answers) {
            match answer {
                Answer::Unknown => {
                    self.progress.unknown.fetch_add(1, Ordering::Relaxed);
                    open.push(*item);
                }
                Answer::Given(given) => match self.seen.given.get(&item.key) {
                    None => {
                        self.progress.assigned.fetch_add(1, Ordering::Relaxed);
                        self.seen.given.insert(item.key, (*item, given));
                    }
                    Some((_, before)) if *before == given => {}
                    Some((_, before)) => {
                        let changed = format!("{item:?} was given {before:?}, later {given:?}");
                        self.seen.objections.push(changed);
                    }
                },
                Answer::Exhausted => drop(self.seen.exhausted.insert(item.set)),
                Answer::Wrong(what) => self.seen.objections.push(format!("{item:?}: {what}")),
            }
        }
        open
    }
}

#[derive(Debug)]
enum Answer {
    Given(Given),
    Exhausted,
    Unknown,
    Wrong(String),
}

/// Sends items of one set once, to one replica.
async fn send(
    caller: &mut Caller,
    progress: &Progress,
    replica: usize,
    path: &str,
    items: &[Item],
    limit: Duration,
) -> Vec<Answer> {
    progress.requests.fetch_add(1, Ordering::Relaxed);
    let reply = if let [item] = items {
        let body = json!({"contactId": contact_text(item.contact)}).to_string();
        let (path, key) = (format!("{path}/assignments"), key_text(item.key));
        let post = Request::post(&path, &body);
        let request = Request {
            key: Some(&key),
            ..post
        };
        caller.send(replica, request, limit).await
    } else {
        let item = |item: &Item| json!({"contactId": contact_text(item.contact), "idempotencyKey": key_text(item.key)});
        let body = json!({"items": items.iter().map(item).collect::<Vec<_>>()}).to_string();
        let path = format!("{path}/assignments/batch");
        caller
            .send(replica, Request::post(&path, &body), limit)
            .await
    };
    let Some(Reply { status, body }) = reply else {
        return items.iter().map(|_| Answer::Unknown).collect();
    };
    match body["results"].as_array() {
        Some(results) if results.len() == items.len() => {
            let answer = |(item, result): (&Item, &Value)| match &result["assignment"] {
                Value::Null => read(item, result["status"].as_u64(), &result["error"]),
                assignment => read(item, result["status"].as_u64(), assignment),
            };
            items.iter().zip(results).map(answer).collect()
        }
        _ => items
            .iter()
            .map(|item| read(item, Some(u64::from(status)), &body))
            .collect(),
    }
}

fn read(item: &Item, status: Option<u64>, body: &Value) -> Answer {
    let given = || {
        let is_ours = body["contactId"] == contact_text(item.contact)
            && body["idempotencyKey"] == key_text(item.key);
        let number = u64::try_from(parse(&body["id"])?.as_u128() & NUMBER_BITS).ok()?;
        let code = body["couponCode"].as_str()?.to_owned();
        is_ours.then_some(Answer::Given(Given { number, code }))
    };
    let answer = match status {
        Some(200 | 201) => given(),
        Some(408 | 429 | 503) => Some(Answer::Unknown),
        Some(409) if body["code"] == "coupon-set-exhausted" => Some(Answer::Exhausted),
        _ => None,
    };
    answer.unwrap_or_else(|| Answer::Wrong(format!("{status:?} {body}")))
}
