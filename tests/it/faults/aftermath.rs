//! Final phase after all faults are over: every key and every event is sent once more, and short reservations run out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::cluster::Cluster;
use super::history::{Answer, Call, Told, Verdict};
use super::http::Caller;
use super::random::Random;
use super::telling::{Tale, tell};
use super::workload::{Item, Shared, send};
use crate::support::sql;

/// Items per request of the final replay.
const REPLAYED_AT_ONCE: usize = 200;
/// Concurrent requests of the final replay.
const REPLAYING: usize = 16;
/// Timeout of one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time during which a request is retried until it has a complete response. After that the checker reports the gap.
const LIMIT: Duration = Duration::from_secs(30);

/// Sends every event once more, until it has a result.
pub async fn retell_all(shared: &Arc<Shared>, random: &Random, told: &mut Vec<Told>) {
    let mut seen = HashSet::new();
    let all = told.iter().map(|told| (told.id, told.event));
    let all: Vec<Tale> = all.filter(|tale| seen.insert(*tale)).collect();
    let mut running = JoinSet::new();
    let portion = all.len().div_ceil(REPLAYING).max(1);
    for (number, tales) in all.chunks(portion).enumerate() {
        let mut random = random.fork(number as u64);
        let (shared, tales) = (Arc::clone(shared), tales.to_vec());
        running.spawn(async move {
            let mut caller = Caller::new(&shared.addresses, &shared.shop.bearer);
            let mut told = Vec::new();
            for portion in tales.chunks(REPLAYED_AT_ONCE) {
                let mut open = portion.to_vec();
                let deadline = Instant::now() + LIMIT;
                while !open.is_empty() {
                    if Instant::now() > deadline {
                        return told;
                    }
                    let replica = random.index(shared.addresses.count());
                    let again = tell(&shared, &mut caller, replica, &open, true, PATIENCE).await;
                    let unknown = again.iter().filter(|told| told.verdict == Verdict::Unknown);
                    open = unknown.map(|told| (told.id, told.event)).collect();
                    told.extend(again);
                }
            }
            told
        });
    }
    while let Some(again) = running.join_next().await {
        told.extend(again.expect("a telling ends"));
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
    timeout(LIMIT, swept).await.ok();
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
        if call.answer != Answer::Unknown {
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
            let deadline = Instant::now() + LIMIT;
            while !open.is_empty() {
                if Instant::now() > deadline {
                    return calls;
                }
                let replica = random.index(shared.addresses.count());
                let sent = send(shared, &mut caller, replica, &open, size > 1, PATIENCE).await;
                let unknown = |call: &&Call| call.answer == Answer::Unknown;
                let keys: Vec<u64> = sent.iter().filter(unknown).map(|call| call.key).collect();
                open.retain(|item| keys.contains(&item.key));
                calls.extend(sent);
            }
        }
    }
    calls
}
