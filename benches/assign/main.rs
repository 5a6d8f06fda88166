//! Throughput and latency of assignment, compared with a textbook SQL statement and with an endpoint that does nothing.
//! Source of the table in docs/benchmarks.md.
//!
//! `cargo bench --bench assign`, or with `-- --quick` for a run of one minute. All runs use one PostgreSQL that the
//! service manages, with fsync on. The service runs in this process on its own runtime. The clients are one thread,
//! which shares the processors with the service and with PostgreSQL. Rounds alternate the variants, each with fresh
//! tables. The report shows the median of the rounds.
//!
//! `cargo bench --bench assign -- --witness` compares a replica that has a witness with one that has none, and measures nothing
//! else.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod many_sets;
mod plan;
mod redis;
mod report;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
mod support;
mod textbook;
mod witness;

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

use plan::{
    BATCHES, CLIENTS, COLD_CLIENTS, COLD_CODES, COLD_RATE, COLD_SETS, FEW_CODES, FULL,
    MANY_CLIENTS, OPEN_SHARE, Plan, QUICK, REFERENCE_CLIENTS, TEXTBOOK_CONNECTIONS,
};
use support::cpu::{DRIVER, SERVICE};
use support::load::{self, Items, Outcome, TimeRange, Work};

/// Token that creates the tenants of many sets.
const OPERATOR_TOKEN: &str = "operator-token-of-the-benchmark-0";

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
    /// One outcome per number of clients of many sets.
    pub many: Vec<Outcome>,
    /// The textbook statement on as many sets.
    pub many_textbook: Option<Outcome>,
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
    if std::env::args().any(|argument| argument == "--witness") {
        let compared = runtime.block_on(witness::compare(&postgresql, folder.path()));
        runtime.shutdown_timeout(Duration::from_secs(5));
        PostgresServer::stop(postgresql);
        println!("{}", compared?);
        return Ok(());
    }
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
                    many_sets: None,
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
    let arguments = ["couponry", "serve", "--operator-token", OPERATOR_TOKEN];
    let config = CommandLine::try_parse_from(arguments)?.config;
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
    /// Requests to many sets of many tenants, from the first round on.
    many_sets: Option<Work>,
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

        self.many_sets(&mut round).await?;

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

    /// Many sets of many tenants, and the textbook statement on as many sets.
    async fn many_sets(&mut self, round: &mut Round) -> Result<()> {
        many_sets::create_textbook(&mut self.admin, self.plan.many_codes).await?;
        self.settle("vacuum analyze coupons").await?;
        round.many_textbook = many_sets::run_textbook(
            &self.options,
            &self.scratch,
            TEXTBOOK_CONNECTIONS,
            self.plan.many,
        )?;
        if let Some(textbook) = &round.many_textbook {
            print_progress("textbook, many", TEXTBOOK_CONNECTIONS, textbook);
        }
        textbook::drop_table(&mut self.admin).await?;

        let work = match self.many_sets.take() {
            Some(work) => work,
            None => many_sets::create(&self.service, OPERATOR_TOKEN, self.plan.many_codes).await?,
        };
        self.settle("vacuum analyze").await?;
        for clients in MANY_CLIENTS {
            let outcome = self.closed(&work, clients, self.plan.many).await?;
            print_progress("assign, many sets", clients, &outcome);
            round.many.push(outcome);
        }
        self.many_sets = Some(work);
        Ok(())
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
