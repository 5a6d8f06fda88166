//! Effect of webhooks on assignment latency, and the delay from an assignment to its delivery.
//!
//! `cargo bench --bench webhooks`, or with `-- --quick`. One service in this process with its own PostgreSQL, fsync on,
//! has two tenants that receive requests at the same rate in an open loop. One tenant has no webhook; the webhook of
//! the other receives every assignment. The endpoint is a thread of this process, so it shares the processors with
//! everything else, and so do the clients. Rounds alternate the two tenants. At the end every assignment must have been
//! delivered exactly once.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod receiver;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use couponry::app::App;
use couponry::cli::CommandLine;
use couponry::{database, telemetry};
use embedded_postgres::PostgresServer;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use support::cpu::{DRIVER, SERVICE};
use support::http::{Client, Head};
use support::load::{self, Items, Outcome, TimeRange, Work};
use support::service::{Service, csv};
use support::table::{Table, times, whole};
use support::{Result, machine, median};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use receiver::Receiver;

/// Assignments per second, and the number of clients that request them.
const RATE: f64 = 1000.0;
const CLIENTS: usize = 64;
/// Time limit for the delivery of the last assignment.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(2);
/// Operator token for `/admin` of this service.
const TOKEN: &str = "operator-token-of-the-benchmark";

#[derive(Debug)]
struct Plan {
    rounds: u32,
    /// Codes of each set, more than are requested.
    codes: u64,
    span: TimeRange,
}

const FULL: Plan = Plan {
    rounds: 5,
    codes: 40_000,
    span: TimeRange {
        warm_up: Duration::from_secs(3),
        measured: Duration::from_secs(20),
    },
};

const QUICK: Plan = Plan {
    rounds: 1,
    codes: 10_000,
    span: TimeRange {
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(5),
    },
};

/// Outcome of one round.
#[derive(Debug)]
struct Round {
    silent: Outcome,
    with_webhook: Outcome,
    /// Time from the last response to the last message.
    last: Duration,
    /// Times from an assignment to its message.
    delays: Vec<Duration>,
}

fn main() -> Result<()> {
    telemetry::start("warn")?;
    let plan = if support::is_quick() { QUICK } else { FULL };
    let folder = tempfile::Builder::new()
        .prefix("bench-webhooks-")
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
    let (address, stop) = runtime.block_on(start(&options))?;
    let receiver = Receiver::start()?;
    let postmaster = postgresql.pid();
    let driver = std::thread::Builder::new()
        .name(DRIVER.to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(run(address, postmaster, &receiver, &plan))
        })?;
    let rounds = driver.join().map_err(|_| "the driver panicked")?;
    drop(stop);
    runtime.shutdown_timeout(Duration::from_secs(5));
    PostgresServer::stop(postgresql);
    println!("{}", render(folder.path(), &rounds?));
    Ok(())
}

/// Starts the service on a free port. It stops when the sender is dropped.
async fn start(options: &PgConnectOptions) -> Result<(SocketAddr, oneshot::Sender<()>)> {
    database::migrate(options).await?;
    let settings = ["couponry", "--operator-token", TOKEN, "--webhook-private"];
    let config = CommandLine::try_parse_from(settings)?.config;
    let app = App::start(&config, options);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(app.serve(listener, async {
        let _ = stopped.await;
    }));
    Ok((address, stop))
}

async fn run(
    address: SocketAddr,
    postmaster: u32,
    receiver: &Receiver,
    plan: &Plan,
) -> Result<Vec<Round>> {
    let silent = Service::open(address, TOKEN).await?;
    let with_webhook = Service::open(address, TOKEN).await?;
    let webhook = serde_json::json!({"url": receiver.url(), "eventTypes": ["coupon.assigned"]});
    post(address, "/v1/webhooks", &with_webhook.key, &webhook).await?;
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        eprintln!("round {number} of {}", plan.rounds);
        let (outcome, _) = assign(&silent, postmaster, number, plan).await?;
        print_progress("silent", &outcome);
        let silent = outcome;
        let (outcome, assigned) = assign(&with_webhook, postmaster, number, plan).await?;
        print_progress("with a webhook", &outcome);
        let ended = Instant::now();
        let delays = receiver.take(assigned, DELIVERY_TIMEOUT).await?;
        let last = ended.elapsed();
        eprintln!("  {assigned} delivered, the last {last:.2?} after the end");
        rounds.push(Round {
            silent,
            with_webhook: outcome,
            last,
            delays,
        });
    }
    Ok(rounds)
}

/// Requests codes of a new set of a tenant. Returns the outcome and the total number of assigned codes.
async fn assign(
    shop: &Service,
    postmaster: u32,
    number: u32,
    plan: &Plan,
) -> Result<(Outcome, usize)> {
    let fields = format!(r#""name":"set {number}","type":"multiple""#);
    let set = shop.create_set(&fields).await?;
    shop.import(&set, csv(0..plan.codes).as_bytes()).await?;
    let path = format!("/v1/coupon-sets/{set}");
    let work = Work {
        heads: vec![Head::post(
            &format!("{path}/assignments"),
            &shop.key,
            "application/json",
        )],
        items: Items::One,
        status: 201,
        codes: true,
    };
    let outcome = load::open(shop.address, postmaster, &work, CLIENTS, RATE, plan.span).await?;
    let mut client = Client::connect(shop.address).await?;
    let answer = client.send(&Head::get(&path, &shop.key), b"").await?;
    let set: Value = serde_json::from_slice(answer.expect(200)?.body)?;
    let assigned = set["assigned"].as_u64().ok_or("a set without counters")?;
    Ok((outcome, usize::try_from(assigned)?))
}

async fn post(address: SocketAddr, path: &str, key: &str, body: &Value) -> Result<Value> {
    let mut client = Client::connect(address).await?;
    let head = Head::post(path, key, "application/json");
    let answer = client.send(&head, body.to_string().as_bytes()).await?;
    Ok(serde_json::from_slice(answer.expect(201)?.body)?)
}

/// Prints progress to standard error.
fn print_progress(what: &str, outcome: &Outcome) {
    let Outcome { rate, p50, p99, .. } = outcome;
    let [_, service, postgresql] = outcome.cpu.map(|seconds| seconds * 1e6);
    eprintln!(
        "  {what:<8} {rate:>6.0}/s  p50 {:.2} ms  p99 {:.2} ms  cpu µs {service:.0} + {postgresql:.0}",
        p50 * 1e3,
        p99 * 1e3
    );
}

/// The figures in Markdown.
fn render(data: &Path, rounds: &[Round]) -> String {
    let mut table = Table::new(&["", "a second", "p50", "p99", "CPU µs: service + PostgreSQL"]);
    let mut row = |what: &str, of: &dyn Fn(&Round) -> &Outcome| {
        let median =
            |figure: &dyn Fn(&Outcome) -> f64| median(rounds.iter().map(|round| figure(of(round))));
        let (p50, p99) = (median(&|o| o.p50), median(&|o| o.p99));
        table.row(&[
            what.to_owned(),
            whole(median(&|o| o.rate)),
            format!("{:.2} ms", p50 * 1e3),
            format!("{:.2} ms", p99 * 1e3),
            format!(
                "{} + {}",
                whole(median(&|o| o.cpu[1]) * 1e6),
                whole(median(&|o| o.cpu[2]) * 1e6)
            ),
        ]);
        let processor = median(&|o| o.cpu[1] + o.cpu[2]);
        (p50, p99, processor)
    };
    let silent = row("without a webhook", &|round| &round.silent);
    let with_webhook = row("each delivered to a webhook", &|round| &round.with_webhook);
    let delay = |percent| {
        median(
            rounds
                .iter()
                .map(|round| load::percentile(&round.delays, percent)),
        )
    };
    format!(
        "\n`cargo bench --bench webhooks` on {}; fsync on.\n\n{table}\n\
         Each assignment is delivered once, and p50 is {} times, p99 {} times and the processor time, with what it takes to send, \
         {} times that without a webhook. From an assignment to its message it takes {:.0} ms (p50) and {:.0} ms (p99), \
         and the last message of a round comes {:.1} s after its last answer. Open loop, {CLIENTS} clients, medians of {} rounds, alternated.",
        machine::describe(data),
        times(with_webhook.0 / silent.0),
        times(with_webhook.1 / silent.1),
        times(with_webhook.2 / silent.2),
        delay(50) * 1e3,
        delay(99) * 1e3,
        median(rounds.iter().map(|round| round.last.as_secs_f64())),
        rounds.len(),
    )
}

/// First folder searched for PostgreSQL's programs.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark has no part in the service's settings"
)]
fn path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}
