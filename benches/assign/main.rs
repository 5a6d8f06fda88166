//! Throughput and latency of assignment, compared with a textbook SQL statement and with an endpoint that does nothing.
//! Source of the table in docs/benchmarks.md.
//!
//! `cargo bench --bench assign`, or with `-- --quick` for a run of one minute. All runs use one PostgreSQL that the
//! service manages, with fsync on. The service runs in this process on its own runtime. The clients are one thread,
//! which shares the processors with the service and with PostgreSQL. Rounds alternate the variants, each with fresh
//! tables. The report shows the median of the rounds.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod redis;
mod report;
#[path = "../support/mod.rs"]
mod support;
mod textbook;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use couponry::app::App;
use couponry::cli::CommandLine;
use couponry::{database, telemetry, tenants};
use embedded_postgres::PostgresServer;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use support::Result;
use support::http::{Client, Head};
use support::service::{Service, csv};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use support::cpu::{DRIVER, SERVICE};
use support::load::{self, Items, Outcome, TimeRange, Work};

/// Numbers of concurrent clients, each with its own connection.
pub const CLIENTS: [usize; 4] = [1, 4, 64, 256];
/// Number of clients at which the other variants are compared.
pub const REFERENCE_CLIENTS: usize = 64;
/// Connections of the textbook statement.
pub const TEXTBOOK_CONNECTIONS: usize = 32;
/// Items per batch, and the number of clients that send such batches.
pub const BATCHES: [(u32, usize); 3] = [(100, 4), (1000, 4), (1000, 1)];
/// Sets that are requested rarely while another set is under full load, and their rate all together.
pub const COLD_SETS: u64 = 200;
const COLD_RATE: f64 = 200.0;
const COLD_CLIENTS: usize = 64;
/// Codes of each cold set.
const COLD_CODES: u64 = 400;
/// Share of the top rate at which latency is measured.
pub const OPEN_SHARE: f64 = 0.5;
/// Codes of the set that is then requested when it is exhausted.
const FEW_CODES: u64 = 100;

/// Durations and repetitions of a run.
#[derive(Debug)]
pub struct Plan {
    pub rounds: usize,
    /// Rows of the textbook table, and codes per set.
    pub codes: u64,
    pub textbook: TimeRange,
    pub assign: TimeRange,
    pub nothing: TimeRange,
    pub open: TimeRange,
    pub batch: TimeRange,
    pub exhausted: TimeRange,
    pub insert: TimeRange,
    pub cold: TimeRange,
    /// Repetitions per round of the cold sets alone, and then beside a hot set.
    pub turns: usize,
    /// Codes that Redis pops.
    pub redis: u64,
}

const fn span(warm_up: u64, measured: u64) -> TimeRange {
    TimeRange {
        warm_up: Duration::from_secs(warm_up),
        measured: Duration::from_secs(measured),
    }
}

const FULL: Plan = Plan {
    rounds: 3,
    codes: 1_000_000,
    textbook: span(2, 30),
    assign: span(2, 10),
    nothing: span(1, 4),
    open: span(2, 15),
    batch: span(1, 5),
    exhausted: span(1, 5),
    insert: span(1, 5),
    cold: span(2, 15),
    turns: 3,
    redis: 100_000,
};

const QUICK: Plan = Plan {
    rounds: 1,
    codes: 300_000,
    textbook: span(1, 3),
    assign: span(1, 3),
    nothing: span(1, 2),
    open: span(1, 3),
    batch: span(1, 2),
    exhausted: span(1, 2),
    insert: span(1, 2),
    cold: span(1, 5),
    turns: 1,
    redis: 20_000,
};

/// Outcomes of one round.
#[derive(Debug, Default)]
pub struct Round {
    pub textbook: Outcome,
    /// One outcome per number of clients.
    pub nothing: Vec<Outcome>,
    pub assign: Vec<Outcome>,
    pub open: Outcome,
    /// One outcome per batch size.
    pub batches: Vec<Outcome>,
    /// The set is exhausted and has no child.
    pub exhausted: Outcome,
    /// The set is exhausted and an unlimited child serves the requests.
    pub fallback: Outcome,
    /// Single-row inserts on one connection, each with its own commit.
    pub insert: Outcome,
    /// The cold sets alone, and beside a hot set.
    pub cold: Vec<Outcome>,
    pub cold_beside_hot: Vec<Outcome>,
    /// The hot set during the same time.
    pub hot: Vec<Outcome>,
    pub redis: Option<Outcome>,
}

fn main() -> Result<()> {
    // The program's default log level, without the entry for each import.
    telemetry::start("warn")?;
    let folder = tempfile::Builder::new()
        .prefix("bench-assign-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let postgresql = embedded_postgres::start(&embedded_postgres::Options {
        dir: folder.path().join("pg"),
        bin_dir: None,
        path: path(),
        durable: true,
        wait: Duration::from_secs(5),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name(SERVICE)
        .enable_all()
        .build()?;
    let options = postgresql.connect_options("postgres");
    let (service, stop) = runtime.block_on(start(&options))?;

    let plan = if support::is_quick() { QUICK } else { FULL };
    let plan = Plan {
        rounds: rounds().unwrap_or(plan.rounds),
        ..plan
    };
    let driver = std::thread::Builder::new().name(DRIVER.to_owned()).spawn({
        let postmaster = postgresql.pid();
        let scratch = folder.path().join("redis");
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            // Statements that fill a table are slow by design; do not log them.
            let options = options.disable_statement_logging();
            runtime.block_on(async {
                let bench = Bench {
                    admin: PgConnection::connect_with(&options).await?,
                    options,
                    postmaster,
                    service,
                    plan,
                    scratch,
                    cold_sets: Vec::new(),
                };
                bench.run().await
            })
        }
    })?;
    let outcome = driver.join().map_err(|_| "the driver panicked")?;
    drop(stop);
    runtime.shutdown_timeout(Duration::from_secs(5));
    PostgresServer::stop(postgresql);
    let (plan, version, rounds) = outcome?;
    println!(
        "{}",
        report::render(&plan, &version, folder.path(), &rounds)
    );
    Ok(())
}

/// Starts the service on a free port. It stops when the sender is dropped.
async fn start(options: &PgConnectOptions) -> Result<(Service, oneshot::Sender<()>)> {
    database::migrate(options).await?;
    // Default settings.
    let config = CommandLine::try_parse_from(["couponry"])?.config;
    let app = App::start(&config, options);
    let key = tenants::create_demo(app.database())
        .await?
        .ok_or("the new database has a tenant already")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(app.serve(listener, async {
        let _ = stopped.await;
    }));
    Ok((Service { address, key }, stop))
}

struct Bench {
    admin: PgConnection,
    options: PgConnectOptions,
    postmaster: u32,
    service: Service,
    plan: Plan,
    /// Folder for the files of Redis.
    scratch: PathBuf,
    cold_sets: Vec<String>,
}

impl Bench {
    async fn run(mut self) -> Result<(Plan, String, Vec<Round>)> {
        let version: String = {
            #[expect(
                clippy::disallowed_methods,
                reason = "nothing that a macro could check"
            )]
            sqlx::query_scalar("show server_version")
                .fetch_one(&mut self.admin)
                .await?
        };
        let few = csv(0..COLD_CODES);
        for number in 0..COLD_SETS {
            let fields = format!(r#""name":"cold {number}","type":"multiple""#);
            let set = self.service.create_set(&fields).await?;
            self.service.import(&set, few.as_bytes()).await?;
            self.cold_sets.push(set);
        }
        let csv = csv(0..self.plan.codes);
        let mut rounds = Vec::new();
        for number in 1..=self.plan.rounds {
            eprintln!("round {number} of {}", self.plan.rounds);
            rounds.push(self.round(number, csv.as_bytes()).await?);
        }
        Ok((self.plan, version, rounds))
    }

    async fn round(&mut self, number: usize, csv: &[u8]) -> Result<Round> {
        let mut round = Round::default();

        textbook::create(&mut self.admin, self.plan.codes).await?;
        self.settle("vacuum analyze coupons").await?;
        round.textbook = textbook::run(
            &self.options,
            self.postmaster,
            textbook::CLAIM,
            TEXTBOOK_CONNECTIONS,
            self.plan.textbook,
        )
        .await?;
        print_progress("textbook", TEXTBOOK_CONNECTIONS, &round.textbook);
        round.insert = textbook::run(
            &self.options,
            self.postmaster,
            textbook::INSERT,
            1,
            self.plan.insert,
        )
        .await?;
        print_progress("insert", 1, &round.insert);
        textbook::drop_table(&mut self.admin).await?;

        let set = self.filled_set(&format!("singles {number}"), csv).await?;
        let one = self.assign(&set, Items::One);
        let nothing = Work {
            heads: vec![Head::get("/healthz", &self.service.key)],
            items: Items::None,
            status: 200,
            codes: false,
        };
        for clients in CLIENTS {
            let outcome = self.closed(&nothing, clients, self.plan.nothing).await?;
            print_progress("nothing", clients, &outcome);
            round.nothing.push(outcome);
            let outcome = self.closed(&one, clients, self.plan.assign).await?;
            print_progress("assign", clients, &outcome);
            round.assign.push(outcome);
        }

        let set = self.filled_set(&format!("batches {number}"), csv).await?;
        let rate = CLIENTS
            .iter()
            .zip(&round.assign)
            .find(|(clients, _)| **clients == REFERENCE_CLIENTS)
            .map_or(0.0, |(_, outcome)| outcome.rate * OPEN_SHARE);
        round.open = load::open(
            self.service.address,
            self.postmaster,
            &self.assign(&set, Items::One),
            REFERENCE_CLIENTS,
            rate,
            self.plan.open,
        )
        .await?;
        print_progress("assign, open loop", REFERENCE_CLIENTS, &round.open);
        for (items, clients) in BATCHES {
            let work = self.assign(&set, Items::Batch(items));
            let outcome = self.closed(&work, clients, self.plan.batch).await?;
            print_progress("batch", clients, &outcome);
            round.batches.push(outcome);
        }

        self.exhausted(number, &mut round).await?;
        let set = self.filled_set(&format!("hot {number}"), csv).await?;
        self.fairness(&set, &mut round).await?;
        round.redis = redis::run(&self.scratch, REFERENCE_CLIENTS, self.plan.redis)?;
        if let Some(redis) = &round.redis {
            print_progress("redis", REFERENCE_CLIENTS, redis);
        }
        Ok(round)
    }

    /// An exhausted set: the cost of its refusals, and the cost when a child serves instead.
    async fn exhausted(&mut self, number: usize, round: &mut Round) -> Result<()> {
        let few = csv(0..FEW_CODES);
        let set = self
            .filled_set(&format!("exhausted {number}"), few.as_bytes())
            .await?;
        let work = Work {
            status: 409,
            codes: false,
            ..self.assign(&set, Items::One)
        };
        self.drain(&set).await?;
        round.exhausted = self
            .closed(&work, REFERENCE_CLIENTS, self.plan.exhausted)
            .await?;
        print_progress("exhausted", REFERENCE_CLIENTS, &round.exhausted);

        let child = self
            .service
            .create_set(&format!(
                r#""name":"child {number}","type":"single","code":"WELCOME15""#
            ))
            .await?;
        let set = self
            .service
            .create_set(&format!(
                r#""name":"parent {number}","type":"multiple","childCouponSetId":"{child}""#
            ))
            .await?;
        self.service.import(&set, few.as_bytes()).await?;
        self.drain(&set).await?;
        let work = Work {
            codes: false,
            ..self.assign(&set, Items::One)
        };
        round.fallback = self
            .closed(&work, REFERENCE_CLIENTS, self.plan.exhausted)
            .await?;
        print_progress("exhausted, child", REFERENCE_CLIENTS, &round.fallback);
        Ok(())
    }

    /// Many sets that are requested rarely, alone and while one set is requested in a closed loop.
    async fn fairness(&self, hot: &str, round: &mut Round) -> Result<()> {
        let heads = self.cold_sets.iter();
        let cold = Work {
            heads: heads
                .flat_map(|set| self.assign(set, Items::One).heads)
                .collect(),
            // The sets hold the same codes.
            codes: false,
            ..self.assign(hot, Items::One)
        };
        let hot = self.assign(hot, Items::One);
        for _ in 0..self.plan.turns {
            let alone = self.cold(&cold)?.await?;
            print_progress("cold sets", COLD_CLIENTS, &alone);
            let (hot, beside) = tokio::join!(
                self.closed(&hot, REFERENCE_CLIENTS, self.plan.cold),
                self.cold(&cold)?
            );
            let (hot, beside) = (hot?, beside?);
            print_progress("hot set", REFERENCE_CLIENTS, &hot);
            print_progress("cold sets beside", COLD_CLIENTS, &beside);
            round.cold.push(alone);
            round.cold_beside_hot.push(beside);
            round.hot.push(hot);
        }
        Ok(())
    }

    /// Runs on its own thread, so that these clients wait for no other client.
    fn cold(&self, work: &Work) -> Result<impl Future<Output = Result<Outcome>>> {
        let (work, span) = (work.clone(), self.plan.cold);
        let (address, postmaster) = (self.service.address, self.postmaster);
        let (done, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name(DRIVER.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(Into::into);
                let outcome = runtime.and_then(|runtime| {
                    runtime.block_on(load::open(
                        address,
                        postmaster,
                        &work,
                        COLD_CLIENTS,
                        COLD_RATE,
                        span,
                    ))
                });
                let _ = done.send(outcome.map_err(|error| error.to_string()));
            })?;
        Ok(async move { Ok(outcome.await??) })
    }

    /// Assigns the few codes of a set.
    async fn drain(&self, set: &str) -> Result<()> {
        let work = self.assign(set, Items::One);
        let mut client = Client::connect(self.service.address).await?;
        let mut body = String::new();
        for _ in 0..FEW_CODES {
            work.items.write(&mut body);
            client
                .send(&work.heads[0], body.as_bytes())
                .await?
                .expect(201)?;
        }
        Ok(())
    }

    fn assign(&self, set: &str, items: Items) -> Work {
        let (path, status) = match items {
            Items::Batch(_) => ("/batch", 200),
            Items::None | Items::One => ("", 201),
        };
        Work {
            heads: vec![Head::post(
                &format!("/v1/coupon-sets/{set}/assignments{path}"),
                &self.service.key,
                "application/json",
            )],
            items,
            status,
            codes: true,
        }
    }

    async fn filled_set(&mut self, name: &str, csv: &[u8]) -> Result<String> {
        let set = self
            .service
            .create_set(&format!(r#""name":"{name}","type":"multiple""#))
            .await?;
        self.service.import(&set, csv).await?;
        self.settle("vacuum analyze cards").await?;
        Ok(set)
    }

    /// Finishes the writes of the preparation so that the measurement does not pay for them. Vacuums only filled
    /// tables, as autovacuum would.
    async fn settle(&mut self, vacuum: &'static str) -> Result<()> {
        self.admin.execute(vacuum).await?;
        self.admin.execute("checkpoint").await?;
        Ok(())
    }

    async fn closed(&self, work: &Work, clients: usize, span: TimeRange) -> Result<Outcome> {
        load::closed(self.service.address, self.postmaster, work, clients, span).await
    }
}

/// Requested number of rounds: `cargo bench --bench assign -- --rounds=1`.
fn rounds() -> Option<usize> {
    std::env::args().find_map(|argument| argument.strip_prefix("--rounds=")?.parse().ok())
}

/// Prints progress to standard error.
fn print_progress(what: &str, clients: usize, outcome: &Outcome) {
    let Outcome { rate, p50, p99, .. } = outcome;
    let [driver, service, postgresql] = outcome.cpu.map(|seconds| seconds * 1e6);
    eprintln!(
        "  {what:<18} {clients:>4} clients {rate:>8.0}/s  p50 {:.2} ms  p99 {:.2} ms  \
         cpu µs {driver:.1} + {service:.1} + {postgresql:.1}",
        p50 * 1000.0,
        p99 * 1000.0
    );
}

/// First folder searched for PostgreSQL's programs.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark has no part in the service's settings"
)]
fn path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}
