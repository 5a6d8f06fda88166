//! Final phase after all faults are over: every key and every event is sent once more, and short reservations run out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::cluster::Cluster;
use super::events::{EventItem, send_events};
use super::history::{Call, CodeAnswer, EventAnswer, EventCall};
use super::http::Caller;
use super::random::Random;
use super::workload::{Item, Shared, send};
use crate::support::sql;

/// Items per request of the final replay.
const REPLAYED_AT_ONCE: usize = 200;
/// Concurrent requests of the final replay.
const REPLAYING: usize = 16;
/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time during which a request is retried until it has a complete response. After that the checker reports the gap.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// Sends every event once more, until it has a result.
pub async fn resend_events(
    shared: &Arc<Shared>,
    random: &Random,
    event_calls: &mut Vec<EventCall>,
) {
    let mut seen = HashSet::new();
    let all = event_calls.iter().map(|call| (call.id, call.event));
    let all: Vec<EventItem> = all.filter(|item| seen.insert(*item)).collect();
    let mut running = JoinSet::new();
    let portion = all.len().div_ceil(REPLAYING).max(1);
    for (number, items) in all.chunks(portion).enumerate() {
        let mut random = random.fork(number as u64);
        let (shared, items) = (Arc::clone(shared), items.to_vec());
        running.spawn(async move {
            let mut caller = Caller::new(&shared.addresses, &shared.shop.bearer);
            let mut calls = Vec::new();
            for portion in items.chunks(REPLAYED_AT_ONCE) {
                let mut open = portion.to_vec();
                let deadline = Instant::now() + RETRY_LIMIT;
                while !open.is_empty() {
                    if Instant::now() > deadline {
                        return calls;
                    }
                    let replica = random.index(shared.addresses.count());
                    let again =
                        send_events(&shared, &mut caller, replica, &open, true, REQUEST_TIMEOUT)
                            .await;
                    let unknown = again
                        .iter()
                        .filter(|call| call.answer == EventAnswer::Unknown);
                    open = unknown.map(|call| (call.id, call.event)).collect();
                    calls.extend(again);
                }
            }
            calls
        });
    }
    while let Some(again) = running.join_next().await {
        event_calls.extend(again.expect("a sender ends"));
    }
}

/// Waits until the sweeper has ended every reservation that runs out soon, or for a limited time.
pub async fn sweep(cluster: &Cluster) {
    let due = "select count(*) from reservations where expires_at < now() + interval '1 hour'";
    let swept = async {
        while sql::value::<i64>(&mut cluster.sql().await, due).await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // The checker objects to any that are left.
    timeout(RETRY_LIMIT, swept).await.ok();
}

/// Sends every key once more. A key without any result so far is sent twice, to see its result again.
pub async fn replay_all(shared: &Arc<Shared>, random: &Random, calls: &mut Vec<Call>) {
    let item = |call: &Call| Item {
        set: call.set,
        key: call.key,
        contact: call.contact,
    };
    let mut all: HashMap<u64, Item> = HashMap::new();
    let mut open: HashSet<u64> = HashSet::new();
    for call in calls.iter() {
        if all.insert(call.key, item(call)).is_none() {
            open.insert(call.key);
        }
    }
    for call in calls.iter() {
        if call.answer != CodeAnswer::Unknown {
            open.remove(&call.key);
        }
    }
    let again: Vec<Item> = open.iter().map(|key| all[key]).collect();
    for (round, items) in [again, all.into_values().collect()].into_iter().enumerate() {
        let portion = items.len().div_ceil(REPLAYING).max(1);
        let mut running = JoinSet::new();
        for (number, items) in items.chunks(portion).enumerate() {
            let random = random.fork((round * REPLAYING + number) as u64);
            let (shared, items) = (Arc::clone(shared), items.to_vec());
            running.spawn(async move { replay(&shared, random, items, REPLAYED_AT_ONCE).await });
        }
        while let Some(replayed) = running.join_next().await {
            calls.extend(replayed.expect("a replay ends"));
        }
    }
}

/// Sends every item once more, until it has a result.
async fn replay(
    shared: &Arc<Shared>,
    mut random: Random,
    items: Vec<Item>,
    size: usize,
) -> Vec<Call> {
    let mut by_set: HashMap<usize, Vec<Item>> = HashMap::new();
    for item in items {
        by_set.entry(item.set).or_default().push(item);
    }
    let mut caller = Caller::new(&shared.addresses, &shared.shop.bearer);
    let mut calls = Vec::new();
    for (_, items) in by_set {
        for portion in items.chunks(size) {
            let mut open = portion.to_vec();
            let deadline = Instant::now() + RETRY_LIMIT;
            while !open.is_empty() {
                if Instant::now() > deadline {
                    return calls;
                }
                let replica = random.index(shared.addresses.count());
                let sent = send(
                    shared,
                    &mut caller,
                    replica,
                    &open,
                    size > 1,
                    REQUEST_TIMEOUT,
                )
                .await;
                let unknown = |call: &&Call| call.answer == CodeAnswer::Unknown;
                let keys: Vec<u64> = sent.iter().filter(unknown).map(|call| call.key).collect();
                open.retain(|item| keys.contains(&item.key));
                calls.extend(sent);
            }
        }
    }
    calls
}
