//! Faults and their schedule.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Executor, Row};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::{Cluster, REPLICAS};
use super::proxy::Cut;
use super::random::Random;
use crate::support::{eventually, sql};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillReplica,
    FreezeReplica,
    KillBackend,
    TerminateBackends,
    KillPostmaster,
    CutReply,
    CutAfterRows,
    CutBeforeReady,
    KillAfterRows,
    CutRequest,
    CutBeforeSync,
}

pub const FAULTS: [Fault; 11] = [
    Fault::KillReplica,
    Fault::FreezeReplica,
    Fault::KillBackend,
    Fault::TerminateBackends,
    Fault::KillPostmaster,
    Fault::CutReply,
    Fault::CutAfterRows,
    Fault::CutBeforeReady,
    Fault::KillAfterRows,
    Fault::CutRequest,
    Fault::CutBeforeSync,
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillReplica => "replica killed",
            Self::FreezeReplica => "replica frozen",
            Self::KillBackend => "backend killed",
            Self::TerminateBackends => "backends terminated",
            Self::KillPostmaster => "postmaster killed",
            Self::CutReply => "reply cut anywhere",
            Self::CutAfterRows => "reply cut after its rows",
            Self::CutBeforeReady => "reply cut before its end",
            Self::KillAfterRows => "backend killed after rows, before the commit",
            Self::CutRequest => "request cut anywhere",
            Self::CutBeforeSync => "request cut before its commit",
        })
    }
}

/// Schedule of the faults.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Milliseconds between two faults.
    pub gap: (u64, u64),
    /// Milliseconds for which a replica is frozen.
    pub freeze: (u64, u64),
}

/// Number of occurrences of each fault, in the order of `FAULTS`.
pub type FaultCounts = Arc<[AtomicU64; FAULTS.len()]>;

/// Longest wait for a connection to reach the point where it is to be cut.
const CUT_LIMIT: Duration = Duration::from_secs(2);
const CUT_ATTEMPTS: u32 = 8;

/// Causes faults until it is stopped, then waits until all of them are over. Faults come in shuffled rounds, each once
/// per round. They do not wait for each other.
pub async fn run(
    cluster: Arc<Cluster>,
    mut random: Random,
    pace: Pace,
    counts: FaultCounts,
    mut stop: watch::Receiver<bool>,
) {
    let began = Instant::now();
    let mut running = JoinSet::new();
    let mut stack = Vec::new();
    let mut number = 0;
    loop {
        let gap = random.millis(pace.gap);
        if timeout(gap, stop.wait_for(|stop| *stop)).await.is_ok() {
            break;
        }
        if stack.is_empty() {
            stack = FAULTS.to_vec();
            random.shuffle(&mut stack);
        }
        let fault = stack.pop().expect("it was filled");
        number += 1;
        let random = random.fork(number);
        let (cluster, counts) = (Arc::clone(&cluster), Arc::clone(&counts));
        running.spawn(async move {
            eprintln!("{} ms: {fault}", began.elapsed().as_millis());
            if cause(&cluster, fault, random, pace).await {
                counts[fault as usize].fetch_add(1, Ordering::Relaxed);
            }
        });
        while let Some(ended) = running.try_join_next() {
            ended.expect("a fault can be made");
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("a fault can be made");
    }
}

/// Causes a fault. Returns true if it took effect.
async fn cause(cluster: &Arc<Cluster>, fault: Fault, mut random: Random, pace: Pace) -> bool {
    let replica = random.index(REPLICAS);
    match fault {
        Fault::KillReplica => {
            let pause = random.millis((0, 1000));
            cluster.restart(replica, async || sleep(pause).await).await;
            true
        }
        Fault::FreezeReplica => {
            let pause = random.millis(pace.freeze);
            cluster.freeze(replica, async || sleep(pause).await).await;
            true
        }
        Fault::KillPostmaster => {
            cluster.kill_postmaster().await;
            true
        }
        Fault::KillBackend => {
            let backends = cluster.backends(&mut random).await;
            let mut pids = backends.into_iter().filter_map(Pid::from_raw);
            // Some backends may be gone already.
            pids.any(|pid| kill_process(pid, Signal::KILL).is_ok())
        }
        Fault::TerminateBackends => cluster.terminate_backends(&mut random).await,
        Fault::CutReply => {
            let length = random.index(3000);
            cut(cluster, &mut random, Cut::Reply(length)).await
        }
        Fault::CutAfterRows => cut(cluster, &mut random, Cut::AfterRows).await,
        Fault::CutBeforeReady => cut(cluster, &mut random, Cut::BeforeReady).await,
        Fault::CutRequest => {
            let length = random.index(3000);
            cut(cluster, &mut random, Cut::Request(length)).await
        }
        Fault::CutBeforeSync => cut(cluster, &mut random, Cut::BeforeSync).await,
        Fault::KillAfterRows => {
            // A slow disk delays the commit while the rows are in transit.
            cluster.delay_commits(20_000).await;
            let happened = cut(cluster, &mut random, Cut::KillAfterRows).await;
            cluster.delay_commits(0).await;
            happened
        }
    }
}

/// Cuts a connection at one of the proxies, or at another if none reaches that point, as with a frozen replica.
async fn cut(cluster: &Cluster, random: &mut Random, cut: Cut) -> bool {
    for _ in 0..CUT_ATTEMPTS {
        let proxy = &cluster.proxies[random.index(cluster.proxies.len())];
        if let Ok(done) = timeout(CUT_LIMIT, proxy.arm(cut)).await {
            return done.is_ok();
        }
    }
    false
}

impl Cluster {
    /// The server's backends that work for replicas, those that are assigning codes first.
    async fn backends(&self, random: &mut Random) -> Vec<i32> {
        let query = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
             order by state = 'active' desc, pid";
        // The server may go away at any time.
        let rows = eventually("the backends are known", async || {
            self.sql().await.fetch_all(query).await.ok()
        });
        let mut pids: Vec<i32> = rows.await.iter().map(|row| row.get(0)).collect();
        let some = pids.len().min(4);
        random.shuffle(&mut pids[..some]);
        pids
    }

    async fn terminate_backends(&self, random: &mut Random) -> bool {
        let some = 1 + random.index(40);
        let pids = self.backends(random).await;
        let pids: Vec<String> = pids.iter().take(some).map(i32::to_string).collect();
        let statement = format!(
            "select pg_terminate_backend(pid) from unnest('{{{}}}'::integer[]) as pid",
            pids.join(",")
        );
        let mut connection = self.sql().await;
        sql::run(&mut connection, statement).await.is_ok() && !pids.is_empty()
    }

    /// Sets the number of microseconds that PostgreSQL waits before it makes a commit durable.
    async fn delay_commits(&self, by: u32) {
        let statements = [
            "alter system set commit_siblings = 0".to_owned(),
            format!("alter system set commit_delay = {by}"),
            "select pg_reload_conf()".to_owned(),
        ];
        for statement in statements {
            eventually("PostgreSQL accepts a setting", async || {
                sql::run(&mut self.sql().await, &*statement).await.ok()
            })
            .await;
        }
    }
}
