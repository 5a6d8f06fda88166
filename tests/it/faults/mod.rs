//! The fault-injection trial of the main promise: each code goes to exactly one contact at a time, and once for each
//! key, whatever is killed, frozen or cut off.
//!
//! Many clients send requests to replicas of the program, each a separate process. They request codes and record events
//! while faults of all kinds hit replicas, connections and PostgreSQL. All observations of the clients are kept. At the
//! end every key and every event is sent once more, and the whole history is compared with the service's records.
//!
//! `cargo test --release --test it faults -- --ignored --nocapture` runs the long trial.

mod aftermath;
mod checker;
mod cluster;
mod events;
mod forged;
mod forged_lifecycles;
mod history;
mod http;
mod lifecycles;
mod many_sets;
mod nemesis;
mod proxy;
pub mod random;
mod trial;
pub(crate) mod wire;
mod workload;

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use cluster::Cluster;
use history::{EVENTS, Evidence, SETS, State};
use nemesis::{FAULTS, FaultCounts, Pace};
use random::Random;
use workload::{Client, OPERATIONS, Shared};

const CLIENTS: u64 = 64;

/// Faults of a trial of seconds, and of one of minutes.
const SHORT_PACE: Pace = Pace {
    gap: (300, 1300),
    freeze: (1000, 4000),
};
const LONG_PACE: Pace = Pace {
    gap: (1000, 5000),
    freeze: (1000, 8000),
};

/// Held by a trial: beside another one, its server would take long to recover from a kill.
static TURN: Mutex<()> = Mutex::const_new(());

/// End condition of a trial.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// At least this time, and up to three times as long until each fault has taken effect.
    Time(Duration),
    Assignments(u64),
}

#[derive(Debug, Clone, Copy)]
struct Trial {
    seed: u64,
    goal: Goal,
    pace: Pace,
    /// Milliseconds that a client pauses between two operations.
    pause: (u64, u64),
    /// Maximum number of codes per import into a busy set.
    import_size: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_code_goes_to_one_contact_whatever_fails() {
    let trial = Trial {
        seed: 20_261_122,
        goal: Goal::Time(Duration::from_secs(20)),
        pace: SHORT_PACE,
        pause: (0, 300),
        import_size: 1000,
    };
    trial.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn each_of_a_million_codes_goes_to_one_contact_whatever_fails() {
    let trial = Trial {
        seed: u64::try_from(history::now()).expect("it is after 1970"),
        goal: Goal::Assignments(1_000_000),
        pace: LONG_PACE,
        pause: (0, 0),
        import_size: 20_000,
    };
    trial.run().await;
}

impl Trial {
    async fn run(self) {
        let _turn = TURN.lock().await;
        eprintln!("seed {}", self.seed);
        let began = Instant::now();
        let random = Random::new(self.seed);
        let cluster = Cluster::start().await;
        let shop = trial::open_shop(&cluster).await;
        let shared = Arc::new(Shared::new(shop, cluster.addresses.clone()));
        let counts = FaultCounts::default();

        let mut evidence = self.load(&cluster, &shared, &random, &counts).await;
        let load = began.elapsed();
        aftermath::resend_events(&shared, &random.fork(6), &mut evidence.event_calls).await;
        aftermath::replay_all(&shared, &random.fork(3), &mut evidence.calls).await;
        aftermath::sweep(&cluster).await;
        trial::read_record(&shared, &cluster, &random.fork(4), &mut evidence).await;
        let objections = checker::check(&evidence);

        let changes = evidence.changes.iter();
        let ran_out = changes
            .filter(|change| change.state == State::Expired)
            .count() as u64;
        let in_decks = evidence
            .log
            .iter()
            .filter(|entry| SETS[entry.served].is_deck);
        let mut codes = HashSet::new();
        let again = in_decks.filter(|entry| !codes.insert(&entry.code)).count() as u64;
        let operations = OPERATIONS.iter().zip(&shared.operations);
        let operations =
            operations.map(|((what, _), count)| (format!("operation {what:?}"), count));
        let events = EVENTS.iter().zip(&shared.events);
        let events = events.map(|(what, count)| (format!("event {what:?}"), count));
        let done: Vec<(String, &AtomicU64)> = operations.chain(events).collect();

        let mut table = String::new();
        let mut row = |name: &str, value: u64| {
            writeln!(table, "| {name:<46} | {value:>9} |").expect("it is a string");
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        row("assignments in the log", evidence.log.len() as u64);
        row("requests under load", read(&shared.requests));
        row("items of unknown outcome", read(&shared.unknown));
        row("items sent again for it", read(&shared.retries));
        row("answered keys sent again", read(&shared.replays));
        row("items refused as exhausted", read(&shared.exhausted));
        row("items refused as assigned already", read(&shared.refused));
        row("keys of ended assignments", read(&shared.ended));
        row("events refused for the state", read(&shared.wrong_states));
        row("reservations that ran out", ran_out);
        row("codes assigned again", again);
        for (fault, count) in FAULTS.iter().zip(counts.iter()) {
            row(&fault.to_string(), read(count));
        }
        for (what, count) in &done {
            row(what, read(count));
        }
        row("entries in the ledgers", evidence.changes.len() as u64);
        row(
            "answers compared",
            (evidence.calls.len() + evidence.event_calls.len()) as u64,
        );
        row("seconds under load", load.as_secs());
        row("seconds in all", began.elapsed().as_secs());
        row("violations", objections.count as u64);
        eprint!("{table}");

        assert!(
            objections.count == 0,
            "seed {}: {:#?}",
            self.seed,
            objections.examples
        );
        check_faults(self.seed, &cluster, &counts);
        for (what, count) in &done {
            assert!(read(count) > 0, "seed {}: no {what}", self.seed);
        }
        assert!(ran_out > 0 && again > 0, "seed {}", self.seed);
    }

    /// Runs clients, refills and faults against the service. Returns the observations once the service has recovered.
    async fn load(
        self,
        cluster: &Arc<Cluster>,
        shared: &Arc<Shared>,
        random: &Random,
        counts: &FaultCounts,
    ) -> Evidence {
        let mut evidence = Evidence {
            began: history::now(),
            ..Evidence::default()
        };
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client::new(shared, random.fork(1).fork(number));
            clients.spawn(client.run(self.pause));
        }
        let mut refills = JoinSet::new();
        for (set, plan) in SETS.iter().enumerate().filter(|(_, plan)| plan.is_deck) {
            let import_size = self.import_size * plan.share / 35;
            let random = random.fork(2).fork(set as u64);
            refills.spawn(trial::refill(Arc::clone(shared), random, set, import_size));
        }
        let (stop, stopped) = watch::channel(false);
        let nemesis = nemesis::run(
            Arc::clone(cluster),
            random.fork(5),
            self.pace,
            Arc::clone(counts),
            stopped,
        );
        let nemesis = tokio::spawn(nemesis);

        reach_goal(self.goal, &shared.assigned, counts).await;
        stop.send(true).expect("the faults go on");
        nemesis.await.expect("the faults end");
        shared.stop.store(true, Ordering::Relaxed);
        cluster.heal().await;
        while let Some(seen) = clients.join_next().await {
            let seen = seen.expect("a client ends");
            evidence.calls.extend(seen.calls);
            evidence.event_calls.extend(seen.event_calls);
        }
        while let Some(delivery) = refills.join_next().await {
            let delivery = delivery.expect("a refiller ends");
            evidence.delivered[delivery.set] = delivery.delivered;
            evidence.refills.extend(delivery.refills);
        }
        evidence
    }
}

/// Fails unless each fault has taken effect and the replicas have logged no failure that none of them explains.
fn check_faults(seed: u64, cluster: &Cluster, counts: &FaultCounts) {
    let alarms = cluster.alarms();
    assert!(alarms.is_empty(), "seed {seed}: {alarms:#?}");
    for (fault, count) in FAULTS.iter().zip(counts.iter()) {
        let count = count.load(Ordering::Relaxed);
        assert!(count > 0, "seed {seed}: no {fault}");
    }
}

/// Waits until the goal is reached and each fault has taken effect, and reports the progress.
async fn reach_goal(goal: Goal, assigned: &AtomicU64, counts: &FaultCounts) {
    let began = Instant::now();
    let mut reported = began;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let assigned = assigned.load(Ordering::Relaxed);
        let counts: Vec<u64> = counts.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        let is_late = |time: Duration| began.elapsed() >= time;
        let is_reached = match goal {
            Goal::Time(time) => is_late(time) && (!counts.contains(&0) || is_late(3 * time)),
            Goal::Assignments(goal) => assigned >= goal,
        };
        if is_reached || reported.elapsed() > Duration::from_secs(5) {
            reported = Instant::now();
            let faults: u64 = counts.iter().sum();
            let seconds = began.elapsed().as_secs();
            eprintln!("{seconds} s: {assigned} assigned, {faults} faults");
        }
        if is_reached {
            return;
        }
    }
}
