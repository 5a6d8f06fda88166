//! The trial of the promise: each code goes to exactly one contact, once for each key, whatever is killed, frozen or cut
//! off meanwhile.
//!
//! Many clients ask replicas of the program, each a process of its own, for codes, while faults of all kinds come over
//! replicas, connections and PostgreSQL. What every client saw is kept. In the end every key is sent once more, and the
//! whole history is compared with what is on record.
//!
//! `cargo test --release --test it faults -- --ignored --nocapture` is the long trial.

mod checker;
mod cluster;
mod forged;
mod history;
mod http;
mod nemesis;
mod proxy;
mod random;
mod trial;
pub(crate) mod wire;
mod workload;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use cluster::Cluster;
use history::{Evidence, SETS};
use nemesis::{Counts, FAULTS, Pace};
use random::Random;
use workload::{Client, Shared};

const CLIENTS: u64 = 64;

/// How long a trial goes on.
#[derive(Debug, Clone, Copy)]
enum Goal {
    Time(Duration),
    Assignments(u64),
}

#[derive(Debug, Clone, Copy)]
struct Trial {
    seed: u64,
    goal: Goal,
    pace: Pace,
    /// Milliseconds that a client rests between two operations.
    rest: (u64, u64),
    /// Most codes of one import into a set that many ask for.
    portion: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_code_goes_to_one_contact_whatever_fails() {
    let trial = Trial {
        seed: 20_261_122,
        goal: Goal::Time(Duration::from_secs(20)),
        pace: Pace {
            gap: (300, 1300),
            freeze: (1000, 4000),
        },
        rest: (0, 300),
        portion: 1000,
    };
    trial.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn each_of_a_million_codes_goes_to_one_contact_whatever_fails() {
    let trial = Trial {
        seed: u64::try_from(history::now()).expect("it is after 1970"),
        goal: Goal::Assignments(1_000_000),
        pace: Pace {
            gap: (1000, 5000),
            freeze: (1000, 8000),
        },
        rest: (0, 0),
        portion: 20_000,
    };
    trial.run().await;
}

impl Trial {
    async fn run(self) {
        eprintln!("seed {}", self.seed);
        let began = Instant::now();
        let random = Random::new(self.seed);
        let cluster = Cluster::start().await;
        let shop = trial::open_shop(&cluster).await;
        let shared = Arc::new(Shared::new(shop, cluster.addresses.clone()));
        let counts = Counts::default();

        let mut evidence = self.load(&cluster, &shared, &random, &counts).await;
        let load = began.elapsed();
        trial::replay_all(&shared, &random.fork(3), &mut evidence.calls).await;
        trial::read_record(&shared, &cluster, &random.fork(4), &mut evidence).await;
        let objections = checker::check(&evidence);

        let mut table = String::new();
        let mut row = |name: &str, value: u64| {
            writeln!(table, "| {name:<46} | {value:>9} |").expect("it is a string");
        };
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        row("assignments in the log", evidence.log.len() as u64);
        row("requests under load", read(&shared.requests));
        row("items of unknown outcome", read(&shared.unknown));
        row("items sent again for it", read(&shared.retries));
        row("answered keys sent again", read(&shared.replays));
        row("items refused as exhausted", read(&shared.exhausted));
        row("items refused as assigned already", read(&shared.refused));
        for (fault, count) in FAULTS.iter().zip(counts.iter()) {
            row(&fault.to_string(), read(count));
        }
        row("answers compared", evidence.calls.len() as u64);
        row("seconds under load", load.as_secs());
        row("seconds in all", began.elapsed().as_secs());
        row("violations", objections.count as u64);
        eprint!("{table}");

        let alarms = cluster.alarms();
        assert!(
            objections.count == 0,
            "seed {}: {:#?}",
            self.seed,
            objections.examples
        );
        assert!(alarms.is_empty(), "seed {}: {alarms:#?}", self.seed);
        for (fault, count) in FAULTS.iter().zip(counts.iter()) {
            assert!(read(count) > 0, "seed {}: no {fault}", self.seed);
        }
    }

    /// Lets clients, refills and faults loose on the service, and answers what was seen when all is well again.
    async fn load(
        self,
        cluster: &Arc<Cluster>,
        shared: &Arc<Shared>,
        random: &Random,
        counts: &Counts,
    ) -> Evidence {
        let mut evidence = Evidence {
            began: history::now(),
            ..Evidence::default()
        };
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client::new(shared, random.fork(1).fork(number));
            clients.spawn(client.run(self.rest));
        }
        let mut refills = JoinSet::new();
        for (set, plan) in SETS.iter().enumerate().filter(|(_, plan)| plan.is_deck) {
            let portion = self.portion * plan.share / 35;
            let random = random.fork(2).fork(set as u64);
            refills.spawn(trial::refill(Arc::clone(shared), random, set, portion));
        }
        let (stop, stopped) = watch::channel(false);
        let nemesis = nemesis::rage(
            Arc::clone(cluster),
            random.fork(5),
            self.pace,
            Arc::clone(counts),
            stopped,
        );
        let nemesis = tokio::spawn(nemesis);

        self.reach_goal(shared, counts).await;
        stop.send(true).expect("the faults go on");
        nemesis.await.expect("the faults end");
        shared.stop.store(true, Ordering::Relaxed);
        cluster.heal().await;
        while let Some(calls) = clients.join_next().await {
            evidence.calls.extend(calls.expect("a client ends"));
        }
        while let Some(delivery) = refills.join_next().await {
            let delivery = delivery.expect("a refiller ends");
            evidence.delivered[delivery.set] = delivery.delivered;
            evidence.refills.extend(delivery.refills);
        }
        evidence
    }

    async fn reach_goal(self, shared: &Shared, counts: &Counts) {
        let began = Instant::now();
        let mut told = began;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let assigned = shared.assigned.load(Ordering::Relaxed);
            let is_reached = match self.goal {
                Goal::Time(time) => began.elapsed() >= time,
                Goal::Assignments(goal) => assigned >= goal,
            };
            if is_reached || told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                let faults: u64 = counts.iter().map(|n| n.load(Ordering::Relaxed)).sum();
                let seconds = began.elapsed().as_secs();
                eprintln!("{seconds} s: {assigned} assigned, {faults} faults");
            }
            if is_reached {
                return;
            }
        }
    }
}
