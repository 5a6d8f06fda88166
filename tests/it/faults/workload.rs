//! The clients: each requests codes under its own keys, and retries at other replicas until it knows the results.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::history::{
    AssignedCode, Call, CodeAnswer, EVENTS, EventCall, Moment, Outcome, SETS, State, contact_text,
    key_text, now, reserve_seconds,
};
use super::http::{Addresses, Caller, Reply, Request};
use super::random::Random;

/// Operations of a client, each with its percentage.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    /// One code under a new key.
    Assign,
    /// Many items at once, among them keys that already have a result.
    Batch,
    /// A key that already has a result.
    Replay,
    /// One new key at two replicas at the same time.
    Twins,
    /// One event.
    Record,
    /// Many events.
    RecordMany,
    /// Two different events for one assignment at two replicas at the same time.
    Rivals,
}

pub const OPERATIONS: [(Operation, u64); 7] = [
    (Operation::Assign, 42),
    (Operation::Batch, 9),
    (Operation::Replay, 13),
    (Operation::Twins, 8),
    (Operation::Record, 17),
    (Operation::RecordMany, 6),
    (Operation::Rivals, 5),
];

/// Maximum number of items per batch. PostgreSQL returns the rows of the largest batches in several pieces, the first
/// before the commit.
const MAX_ITEMS: u64 = 100;
/// Milliseconds that a client waits for a response. Most give up while a slow service still works on the request, so
/// that not all clients hang at a frozen replica.
pub const TIMEOUTS: [(u64, u64); 5] = [
    (100, 500),
    (100, 500),
    (300, 1500),
    (300, 1500),
    (4000, 8000),
];
/// Items with a result that a client remembers for a replay.
const REMEMBERED: usize = 500;
/// Approximate number of consecutive keys that share a contact.
const KEYS_OF_A_CONTACT: u64 = 4;

/// Ids of the sets of the trial, and the API key.
#[derive(Debug)]
pub struct Shop {
    pub bearer: Arc<str>,
    pub ids: [Uuid; SETS.len()],
}

impl Shop {
    pub fn path(&self, set: usize) -> String {
        format!("/v1/coupon-sets/{}", self.ids[set])
    }

    pub fn set_of(&self, id: &Value) -> Option<usize> {
        let id = parse(id)?;
        self.ids.iter().position(|known| *known == id)
    }
}

/// State shared by all clients, with counters of their progress.
#[derive(Debug)]
pub struct Shared {
    pub shop: Shop,
    pub addresses: Addresses,
    pub stop: AtomicBool,
    next_key: AtomicU64,
    /// Keys known to have a code.
    pub assigned: AtomicU64,
    pub requests: AtomicU64,
    pub unknown: AtomicU64,
    pub retries: AtomicU64,
    pub replays: AtomicU64,
    pub refused: AtomicU64,
    pub exhausted: AtomicU64,
    pub ended: AtomicU64,
    pub wrong_states: AtomicU64,
    /// Number of times each operation was done, in the order of `OPERATIONS`.
    pub operations: [AtomicU64; OPERATIONS.len()],
    /// Number of times each event was recorded, in the order of `EVENTS`.
    pub events: [AtomicU64; EVENTS.len()],
}

impl Shared {
    pub fn new(shop: Shop, addresses: Addresses) -> Self {
        Self {
            shop,
            addresses,
            stop: AtomicBool::new(false),
            next_key: AtomicU64::new(0),
            assigned: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            replays: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            wrong_states: AtomicU64::new(0),
            operations: Default::default(),
            events: Default::default(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

pub fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// A request for a code under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    pub set: usize,
    pub key: u64,
    pub contact: u64,
}

pub struct Client {
    pub shared: Arc<Shared>,
    pub random: Random,
    /// The second caller sends requests that race with those of the first.
    pub callers: [Caller; 2],
    /// Items with a result, by set.
    remembered: [Vec<Item>; SETS.len()],
    /// Assignments of this client's keys, with their last known state.
    pub held: Vec<(Uuid, State)>,
    pub seen: ClientLog,
}

/// Observations of a client.
#[derive(Debug, Default)]
pub struct ClientLog {
    pub calls: Vec<Call>,
    pub event_calls: Vec<EventCall>,
}

impl Client {
    pub fn new(shared: &Arc<Shared>, random: Random) -> Self {
        let caller = || Caller::new(&shared.addresses, &shared.shop.bearer);
        Self {
            shared: Arc::clone(shared),
            random,
            callers: [caller(), caller()],
            remembered: Default::default(),
            held: Vec::new(),
            seen: ClientLog::default(),
        }
    }

    /// Runs operations until the load is over, and returns the observations.
    pub async fn run(mut self, pause: (u64, u64)) -> ClientLog {
        while !self.shared.is_over() {
            tokio::time::sleep(self.random.millis(pause)).await;
            let mut lot = self.random.below(100);
            let chosen = OPERATIONS.iter().position(|(_, share)| {
                let found = lot < *share;
                lot = lot.saturating_sub(*share);
                found
            });
            let set = self.choose_set();
            let chosen = chosen.expect("the shares add up to 100");
            count(&self.shared.operations[chosen], 1);
            match OPERATIONS[chosen].0 {
                Operation::Assign => {
                    let item = self.new_item(set);
                    self.request_codes(set, vec![item], false).await;
                }
                Operation::Batch => self.batch(set).await,
                Operation::Replay => {
                    if let Some(item) = self.known_item(set) {
                        count(&self.shared.replays, 1);
                        self.request_codes(set, vec![item], false).await;
                    }
                }
                Operation::Twins => self.twins(set).await,
                Operation::Record => self.record_one().await,
                Operation::RecordMany => self.record_many().await,
                Operation::Rivals => self.record_rivals().await,
            }
        }
        self.seen
    }

    fn choose_set(&mut self) -> usize {
        let mut lot = self.random.below(100);
        let found = SETS.iter().position(|plan| {
            let found = lot < plan.share;
            lot = lot.saturating_sub(plan.share);
            found
        });
        found.expect("the shares add up to 100")
    }

    fn new_item(&mut self, set: usize) -> Item {
        let key = self.shared.next_key.fetch_add(1, Ordering::Relaxed);
        // Concurrent clients share contacts.
        let contact = (key + self.random.below(64)) / KEYS_OF_A_CONTACT;
        Item { set, key, contact }
    }

    fn known_item(&mut self, set: usize) -> Option<Item> {
        let known = &self.remembered[set];
        (!known.is_empty()).then(|| known[self.random.index(known.len())])
    }

    async fn batch(&mut self, set: usize) {
        let size = 2 + self.random.below(MAX_ITEMS - 1);
        let mut items: Vec<Item> = Vec::new();
        for _ in 0..size {
            let known = self.random.percent(10).then(|| self.known_item(set));
            match known.flatten().filter(|item| !items.contains(item)) {
                Some(item) => {
                    count(&self.shared.replays, 1);
                    items.push(item);
                }
                None => items.push(self.new_item(set)),
            }
        }
        self.request_codes(set, items, true).await;
    }

    async fn twins(&mut self, set: usize) {
        let item = self.new_item(set);
        let time_limit = self.time_limit();
        let replicas = self.shared.addresses.count();
        let first = self.random.index(replicas);
        let second = (first + 1) % replicas;
        let [one, other] = &mut self.callers;
        let items = [item];
        let (one, other) = tokio::join!(
            send(&self.shared, one, first, &items, false, time_limit),
            send(&self.shared, other, second, &items, false, time_limit),
        );
        let open = [self.store_calls(one), self.store_calls(other)];
        if open.iter().all(|open| !open.is_empty()) {
            self.request_codes(set, items.to_vec(), false).await;
        }
    }

    /// Sends items, with retries, until each has a result or the load is over.
    async fn request_codes(&mut self, set: usize, items: Vec<Item>, as_batch: bool) {
        debug_assert!(items.iter().all(|item| item.set == set));
        let replicas = self.shared.addresses.count();
        let mut replica = self.random.index(replicas);
        let mut open = items;
        loop {
            let time_limit = self.time_limit();
            let caller = &mut self.callers[0];
            let calls = send(&self.shared, caller, replica, &open, as_batch, time_limit).await;
            open = self.store_calls(calls);
            if open.is_empty() || self.shared.is_over() {
                return;
            }
            count(&self.shared.retries, open.len());
            replica = (replica + 1 + self.random.index(replicas - 1)) % replicas;
            tokio::time::sleep(self.random.millis((1, 60))).await;
        }
    }

    pub fn time_limit(&mut self) -> Duration {
        let range = TIMEOUTS[self.random.index(TIMEOUTS.len())];
        self.random.millis(range)
    }

    /// Stores results, and returns the items with an unknown result.
    fn store_calls(&mut self, calls: Vec<Call>) -> Vec<Item> {
        let mut open = Vec::new();
        for call in calls {
            let item = Item {
                set: call.set,
                key: call.key,
                contact: call.contact,
            };
            match &call.answer {
                CodeAnswer::Assigned(given) => self.remember(item, given),
                CodeAnswer::Unknown => {
                    count(&self.shared.unknown, 1);
                    open.push(item);
                }
                CodeAnswer::Exhausted => count(&self.shared.exhausted, 1),
                CodeAnswer::Refused(_) => count(&self.shared.refused, 1),
                CodeAnswer::Ended(..) => count(&self.shared.ended, 1),
                CodeAnswer::Wrong(_) => {}
            }
            self.seen.calls.push(call);
        }
        open
    }

    fn remember(&mut self, item: Item, given: &AssignedCode) {
        if given.outcome != Outcome::AlreadyAssigned {
            self.hold(given.id, given.state);
        }
        let remembered = &mut self.remembered[item.set];
        if remembered.contains(&item) {
            return;
        }
        if given.outcome != Outcome::AlreadyAssigned {
            count(&self.shared.assigned, 1);
        }
        if remembered.len() < REMEMBERED {
            remembered.push(item);
        } else {
            let place = self.random.index(REMEMBERED);
            remembered[place] = item;
        }
    }
}

/// Sends items once, to one replica.
pub async fn send(
    shared: &Shared,
    caller: &mut Caller,
    replica: usize,
    items: &[Item],
    as_batch: bool,
    time_limit: Duration,
) -> Vec<Call> {
    count(&shared.requests, 1);
    let set = items[0].set;
    let path = shared.shop.path(set);
    let begun = now();
    let answers = if as_batch {
        let body: Vec<Value> = items
            .iter()
            .map(|item| {
                let mut body = body(*item);
                body["idempotencyKey"] = json!(key_text(item.key));
                body
            })
            .collect();
        let body = json!({"items": body}).to_string();
        let path = format!("{path}/assignments/batch");
        let request = Request::post(&path, &body);
        let reply = caller.send(replica, request, time_limit).await;
        read_batch(&shared.shop, items, reply.as_ref())
    } else {
        let [item] = items else {
            panic!("{} items in one request", items.len())
        };
        let body = body(*item).to_string();
        let path = format!("{path}/assignments");
        let key = key_text(item.key);
        let request = Request {
            key: Some(&key),
            ..Request::post(&path, &body)
        };
        let reply = caller.send(replica, request, time_limit).await;
        let answer = reply.map_or(CodeAnswer::Unknown, |Reply { status, body }| {
            read(&shared.shop, *item, status, &body)
        });
        vec![answer]
    };
    let ended = now();
    let call = |(item, answer): (&Item, CodeAnswer)| call(*item, begun, ended, answer);
    items.iter().zip(answers).map(call).collect()
}

fn body(item: Item) -> Value {
    let mut body = json!({"contactId": contact_text(item.contact)});
    if let Some(seconds) = reserve_seconds(item.key) {
        body["reserveForSeconds"] = json!(seconds);
    }
    body
}

fn call(item: Item, sent: Moment, ended: Moment, answer: CodeAnswer) -> Call {
    Call {
        set: item.set,
        key: item.key,
        contact: item.contact,
        sent,
        ended,
        answer,
    }
}

fn read_batch(shop: &Shop, items: &[Item], reply: Option<&Reply>) -> Vec<CodeAnswer> {
    let all = |answer: CodeAnswer| vec![answer; items.len()];
    let Some(Reply { status, body }) = reply else {
        return all(CodeAnswer::Unknown);
    };
    if *status != 200 {
        return all(read(shop, items[0], *status, body));
    }
    let results = body["results"].as_array().map_or(&[][..], Vec::as_slice);
    if results.len() != items.len() {
        return all(CodeAnswer::Wrong("a batch of another length".into()));
    }
    let answer = |(item, result): (&Item, &Value)| {
        let status = result["status"].as_u64().and_then(|n| n.try_into().ok());
        let body = match &result["assignment"] {
            Value::Null => &result["error"],
            assignment => assignment,
        };
        read(shop, *item, status.unwrap_or(0), body)
    };
    items.iter().zip(results).map(answer).collect()
}

/// Converts a response into the result of this item.
fn read(shop: &Shop, item: Item, status: u16, body: &Value) -> CodeAnswer {
    let answer = match (status, body["code"].as_str()) {
        (200 | 201, _) => read_assigned(shop, item, status, body),
        (409, Some("coupon-set-exhausted")) => Some(CodeAnswer::Exhausted),
        (409, Some("already-assigned")) => parse(&body["assignmentId"]).map(CodeAnswer::Refused),
        (409, Some(ended)) if ended.starts_with("assignment-") => {
            let state = ended.strip_prefix("assignment-").and_then(State::parse);
            let ended = parse(&body["assignmentId"]).zip(state);
            ended.map(|(id, state)| CodeAnswer::Ended(id, state))
        }
        // A replica that was frozen may report that the request took too long to arrive.
        (408 | 429 | 503, _) => Some(CodeAnswer::Unknown),
        _ => None,
    };
    answer.unwrap_or_else(|| CodeAnswer::Wrong(format!("{status} {body}").into()))
}

fn read_assigned(shop: &Shop, item: Item, status: u16, body: &Value) -> Option<CodeAnswer> {
    let outcome = match (status, body["outcome"].as_str()?) {
        (201, "assigned") => Outcome::Assigned,
        (200, "replayed") => Outcome::Replayed,
        (200, "alreadyAssigned") => Outcome::AlreadyAssigned,
        _ => return None,
    };
    let is_ours = body["contactId"] == contact_text(item.contact)
        && body["idempotencyKey"] == key_text(item.key)
        && shop.set_of(&body["requestedCouponSetId"]) == Some(item.set);
    let given = AssignedCode {
        id: parse(&body["id"])?,
        code: body["couponCode"].as_str()?.into(),
        served: shop.set_of(&body["couponSetId"])?,
        outcome,
        state: State::parse(body["state"].as_str()?)?,
    };
    is_ours.then_some(CodeAnswer::Assigned(given))
}

pub fn parse(id: &Value) -> Option<Uuid> {
    id.as_str()?.parse().ok()
}
