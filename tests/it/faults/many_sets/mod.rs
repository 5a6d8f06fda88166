//! The same faults while clients request codes of many sets of many tenants, so that most requests share database calls.

mod client;
mod forged;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Row;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::cluster::Cluster;
use super::nemesis::{self, FAULTS, FaultCounts, Pace};
use super::random::Random;
use super::{CLIENTS, Goal, LONG_PACE, SHORT_PACE, TURN, check_faults, history, reach_goal};
use crate::support::{ledger, sql};
use client::Client;

/// Every so many sets, a set repeats the code of a contact. Such items need the complete function.
const REPEATING: usize = 5;
struct Trial {
    seed: u64,
    goal: Goal,
    pace: Pace,
    tenants: u64,
    sets_per_tenant: usize,
    codes_per_set: u64,
    /// Milliseconds that a client pauses between two operations.
    pause: (u64, u64),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_code_of_many_sets_goes_to_one_contact_whatever_fails() {
    let trial = Trial {
        seed: 20_261_129,
        goal: Goal::Time(Duration::from_secs(15)),
        pace: SHORT_PACE,
        tenants: 6,
        sets_per_tenant: 10,
        codes_per_set: 1_500,
        pause: (0, 300),
    };
    trial.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn each_of_a_million_codes_of_a_thousand_sets_goes_to_one_contact_whatever_fails() {
    let trial = Trial {
        seed: u64::try_from(history::now()).expect("it is after 1970"),
        // Some keys share an assignment.
        goal: Goal::Assignments(1_020_000),
        pace: LONG_PACE,
        tenants: 20,
        sets_per_tenant: 50,
        codes_per_set: 2_000,
        pause: (0, 0),
    };
    trial.run().await;
}

/// A tenant with its sets, which are numbered over all tenants from `first_set` on.
#[derive(Debug)]
struct Shop {
    bearer: Arc<str>,
    first_set: usize,
    sets: Vec<Uuid>,
}

/// A request for a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    set: usize,
    key: u64,
    contact: u64,
}

/// The assignment in a response: its number in the log of the set, and the code.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    number: u64,
    code: String,
}

/// The code and the contact of each assignment in the log of the service, by set and number.
type Log = HashMap<(usize, u64), (String, String)>;

/// The assignment of each key.
type AssignedKeys = HashMap<u64, (Item, Given)>;

/// Observations of clients.
#[derive(Debug, Default)]
struct Seen {
    given: AssignedKeys,
    /// Sets that were said to have no code left. None gets codes back.
    exhausted: HashSet<usize>,
    objections: Vec<String>,
}

#[derive(Debug, Default)]
struct Progress {
    is_over: AtomicBool,
    assigned: AtomicU64,
    requests: AtomicU64,
    unknown: AtomicU64,
}

fn repeats(set: usize) -> bool {
    set.is_multiple_of(REPEATING)
}

fn contact_text(contact: u64) -> String {
    format!("contact-{contact}")
}

fn key_text(key: u64) -> String {
    format!("key-{key}")
}

impl Trial {
    async fn run(self) {
        let _turn = TURN.lock().await;
        eprintln!("seed {}", self.seed);
        let began = Instant::now();
        let random = Random::new(self.seed);
        let cluster = Cluster::start().await;
        let shops = self.open_shops(&cluster).await;
        let progress = Arc::new(Progress::default());
        let counts = FaultCounts::default();

        let (end_faults, ended) = watch::channel(false);
        let faults = nemesis::run(
            Arc::clone(&cluster),
            random.fork(1),
            self.pace,
            Arc::clone(&counts),
            ended,
        );
        let faults = tokio::spawn(faults);
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let shop = &shops[usize::try_from(number).expect("few") % shops.len()];
            let client = Client::new(number, shop, &cluster.addresses, &progress, &random.fork(2));
            clients.spawn(client.run(self.pause));
        }
        let loaded = Instant::now();
        reach_goal(self.goal, &progress.assigned, &counts).await;
        let load = loaded.elapsed();
        end_faults.send(true).expect("the faults go on");
        faults.await.expect("the faults end");
        progress.is_over.store(true, Ordering::Relaxed);
        cluster.heal().await;

        let mut settling = JoinSet::new();
        for client in clients.join_all().await {
            settling.spawn(client.settle());
        }
        let mut seen = Seen::default();
        for of_client in settling.join_all().await {
            seen.given.extend(of_client.given);
            seen.exhausted.extend(of_client.exhausted);
            seen.objections.extend(of_client.objections);
        }
        let log = read_log(&cluster, &shops).await;
        seen.objections.extend(objections(&seen.given, &log));
        for set in &seen.exhausted {
            let assigned = log.keys().filter(|(of, _)| of == set).count() as u64;
            if assigned < self.codes_per_set {
                let early = format!("set {set} was exhausted with {assigned} assignments");
                seen.objections.push(early);
            }
        }
        for (rule, query) in ledger::rules() {
            let rows = format!("select count(*) from ({query}) r");
            let count: i64 = sql::value(&mut cluster.sql().await, rows).await;
            if count > 0 {
                seen.objections.push(format!("{count} times: {rule}"));
            }
        }

        let row = |name: &str, value: u64| eprintln!("| {name:<46} | {value:>9} |");
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        row(
            "sets",
            shops.iter().map(|shop| shop.sets.len() as u64).sum(),
        );
        row("tenants", shops.len() as u64);
        row("assignments in the log", log.len() as u64);
        row("keys with an assignment", seen.given.len() as u64);
        row("exhausted sets", seen.exhausted.len() as u64);
        row("requests under load", read(&progress.requests));
        row("items of unknown outcome", read(&progress.unknown));
        for (fault, count) in FAULTS.iter().zip(counts.iter()) {
            row(&fault.to_string(), read(count));
        }
        row("seconds under load", load.as_secs());
        row("seconds in all", began.elapsed().as_secs());
        row("violations", seen.objections.len() as u64);

        seen.objections.truncate(20);
        assert!(seen.objections.is_empty(), "{:#?}", seen.objections);
        check_faults(self.seed, &cluster, &counts);
    }

    /// Creates the tenants and their sets, and imports the codes.
    async fn open_shops(&self, cluster: &Cluster) -> Vec<Shop> {
        let mut opening = JoinSet::new();
        for tenant in 0..self.tenants {
            let operator = cluster.operator().await;
            let (count, codes) = (self.sets_per_tenant, self.codes_per_set);
            let first_set = usize::try_from(tenant).expect("few") * count;
            opening.spawn_blocking(move || {
                let shop = operator.new_shop();
                let new_set = |set: usize| {
                    let on_repeat = if repeats(set) { "sameCode" } else { "newCode" };
                    let fields = json!({"name": format!("Set {set}"), "type": "multiple", "onRepeat": on_repeat});
                    let path = shop.new_set(&fields);
                    let codes: Vec<String> = (0..codes).map(|n| format!("{set:04}-{n}")).collect();
                    shop.fill(&path, &codes);
                    let id = path.rsplit('/').next().expect("a path ends");
                    id.parse().expect("an id")
                };
                let sets = (first_set..first_set + count).map(new_set).collect();
                let bearer = shop.bearer().into();
                Shop { bearer, first_set, sets }
            });
        }
        let mut shops = opening.join_all().await;
        shops.sort_by_key(|shop| shop.first_set);
        shops
    }
}

/// Reads the log of all sets.
async fn read_log(cluster: &Cluster, shops: &[Shop]) -> Log {
    let numbered = shops
        .iter()
        .flat_map(|shop| shop.sets.iter().zip(shop.first_set..))
        .map(|(id, set)| (*id, set));
    let sets: HashMap<Uuid, usize> = numbered.collect();
    let query = "select s.id, a.number, c.code, k.contact_id
           from assignments a
           join coupon_sets s on s.tenant_id = a.tenant_id and s.set_no = a.set_no
           join cards c on c.tenant_id = a.tenant_id and c.set_no = a.set_no and c.lot_no = a.lot_no and c.ordinal = a.ordinal
           join contacts k on k.tenant_id = a.tenant_id and k.contact_no = a.contact_no";
    let rows = sql::rows(&mut cluster.sql().await, query).await;
    let entry = |row: &sqlx::postgres::PgRow| {
        let number = u64::try_from(row.get::<i64, _>(1)).expect("it counts from 1");
        ((sets[&row.get(0)], number), (row.get(2), row.get(3)))
    };
    rows.iter().map(entry).collect()
}

/// Compares the assignments that clients were given with the log.
fn objections(given: &AssignedKeys, log: &Log) -> Vec<String> {
    let mut objections = Vec::new();
    let mut object = |objection: String| objections.push(objection);
    let mut of_keys: HashMap<(usize, u64), u64> = HashMap::new();
    for (key, (item, given)) in given {
        let place = (item.set, given.number);
        match log.get(&place) {
            None => object(format!(
                "{item:?} was given {given:?}, which is not in the log"
            )),
            Some((code, contact))
                if *code == given.code && *contact == contact_text(item.contact) => {}
            Some(entry) => object(format!(
                "{item:?} was given {given:?}, and the log has {entry:?}"
            )),
        }
        if let Some(other) = of_keys.insert(place, *key)
            && !repeats(item.set)
        {
            object(format!("{item:?} and key {other} were given {given:?}"));
        }
    }
    let mut codes = HashSet::new();
    for (place, (code, contact)) in log {
        if !codes.insert((place.0, code)) {
            object(format!("{code} of set {} was assigned twice", place.0));
        }
        if !of_keys.contains_key(place) {
            object(format!(
                "no key was given {code} of set {}, which {contact} has",
                place.0
            ));
        }
    }
    objections
}
