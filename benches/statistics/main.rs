//! Latency of statistics for a set with a long history, and for a tenant with 1,000 sets: totals, and a series over one year.
//!
//! `cargo bench --bench statistics`, or with `-- --quick` for smaller sets. The service runs in this process with its
//! own PostgreSQL, fsync on. The client shares the processors with both. The history is written directly into the
//! ledger, spread over a year: half of the codes are assigned, and one entry in ten is a `sent` event. Cards are
//! omitted, because no response reads the cards of codes that never expire. Then the service rolls it up.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
mod support;

use std::time::{Duration, Instant};

use clap::Parser;
use couponry::app::App;
use couponry::cli::CommandLine;
use couponry::{database, telemetry, tenants};
use embedded_postgres::PostgresServer;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use support::http::{Client, Head};
use support::service::Service;
use support::table::{Table, whole};
use support::{Result, float, machine, median};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[derive(Debug)]
struct Plan {
    /// Number of ledger entries of each set.
    ledgers: [u64; 2],
    /// Repetitions of each request.
    times: usize,
}

const FULL: Plan = Plan {
    ledgers: [1_000_000, 10_000_000],
    times: 200,
};

const QUICK: Plan = Plan {
    ledgers: [50_000, 200_000],
    times: 50,
};

/// Sets of a tenant, the codes that each gave, and the repetitions of each request.
const MANY_SETS: i32 = 1_000;
const CAMPAIGN_CODES: i32 = 300;
const MANY_TIMES: usize = 20;

/// Interval between checks of the roll-up.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Requests: the label in the report, and the query string.
const QUESTIONS: [(&str, &str); 4] = [
    ("totals and the last hour", "interval=hour&from=now"),
    ("30 days by day", "interval=day"),
    ("a year by day", "interval=day&from=year"),
    ("a year by hour", "interval=hour&from=year"),
];

fn main() -> Result<()> {
    telemetry::start("warn")?;
    let folder = tempfile::Builder::new()
        .prefix("bench-statistics-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let postgresql = embedded_postgres::start(&embedded_postgres::Options {
        dir: folder.path().join("pg"),
        bin_dir: None,
        path: path(),
        durable: true,
        wait: Duration::from_secs(5),
    })?;
    let plan = if support::is_quick() { QUICK } else { FULL };
    let options = postgresql
        .connect_options("postgres")
        .disable_statement_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run(&options, &plan))?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    PostgresServer::stop(postgresql);
    println!(
        "\n`cargo bench --bench statistics` on {}, fsync on. Milliseconds, over HTTP: the median, and the slowest of {}.\n\n{}\n\n\
         A tenant with 1,000 sets, the slowest of {MANY_TIMES}; in the second row each set gave {CAMPAIGN_CODES} codes in a week.\n\n{}",
        machine::describe(folder.path()),
        plan.times,
        outcome.0,
        outcome.1
    );
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "PATH, for PostgreSQL's programs")]
fn path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

/// Returns the tables of a set and of a tenant.
async fn run(options: &PgConnectOptions, plan: &Plan) -> Result<(Table, Table)> {
    let mut admin = PgConnection::connect_with(options).await?;
    let (service, stop) = start(options).await?;
    let of_tenant = run_many(&service, &mut admin).await?;
    let mut titles = vec!["ledger".to_owned(), "roll-up".to_owned()];
    titles.extend(QUESTIONS.map(|(name, _)| name.to_owned()));
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = Table::new(&titles);
    for (number, ledger) in (MANY_SETS + 1..).zip(plan.ledgers) {
        eprintln!("a ledger of {}", whole(float(ledger)));
        let fields = format!(r#""name":"set {number}","type":"multiple""#);
        let set = service.create_set(&fields).await?;
        live(&mut admin, number, ledger).await?;
        let rolled_up = wait_for_roll_up(&mut admin).await?;
        let mut cells = vec![
            whole(float(ledger)),
            format!("{:.0} s", rolled_up.as_secs_f64()),
        ];
        for (_, query) in QUESTIONS {
            let path = format!("/v1/coupon-sets/{set}/statistics?{query}");
            cells.push(measure(&service, &mut admin, &path, plan.times).await?);
        }
        table.row(&cells);
    }
    drop(stop);
    Ok((table, of_tenant))
}

/// Measures a tenant with many sets: without any assignment, and when each had a campaign of a week in the past year.
async fn run_many(service: &Service, admin: &mut PgConnection) -> Result<Table> {
    let mut titles = vec!["1,000 sets"];
    titles.extend(QUESTIONS.map(|(name, _)| name));
    let mut table = Table::new(&titles);
    let create = format!(
        "insert into coupon_sets (tenant_id, set_no, id, name, name_key, type, created_at)
         select 1, n, gen_random_uuid(), 'set ' || n, 'set ' || n, 'multiple', now() - interval '366 days'
           from generate_series(1, {MANY_SETS}) n;
         update coupon_set_terms set since = now() - interval '366 days';
         insert into lots (tenant_id, set_no, lot_no, import_id, size, state, published_at)
         select 1, n, 1, gen_random_uuid(), 1000, 'open', now() - interval '366 days'
           from generate_series(1, {MANY_SETS}) n;
         vacuum analyze"
    );
    execute(admin, &create).await?;
    table.row(&ask_all(service, admin, "without assignments").await?);
    // The campaigns begin on different days.
    let assign = format!(
        "insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at,
           workflow_id)
         select 1, s, n, s, 1, n, n, 1, gen_random_uuid(),
                now() - make_interval(days => 8 + s % 350) + n * (interval '7 days' / {CAMPAIGN_CODES}), 'workflow ' || s
           from generate_series(1, {MANY_SETS}) s, generate_series(1, {CAMPAIGN_CODES}) n;
         vacuum analyze assignments"
    );
    execute(admin, &assign).await?;
    wait_for_roll_up(admin).await?;
    table.row(&ask_all(service, admin, "a campaign of each").await?);
    Ok(table)
}

async fn execute(admin: &mut PgConnection, statements: &str) -> Result<()> {
    for statement in statements.split_inclusive(';') {
        admin.execute(AssertSqlSafe(statement.to_owned())).await?;
    }
    Ok(())
}

async fn ask_all(service: &Service, admin: &mut PgConnection, name: &str) -> Result<Vec<String>> {
    let mut cells = vec![name.to_owned()];
    for (_, query) in QUESTIONS {
        let path = format!("/v1/statistics?{query}");
        cells.push(measure(service, admin, &path, MANY_TIMES).await?);
    }
    Ok(cells)
}

/// Starts the service on a free port. It stops when the sender is dropped.
async fn start(options: &PgConnectOptions) -> Result<(Service, oneshot::Sender<()>)> {
    database::migrate(options).await?;
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

/// Writes one year of history for this set, in one transaction so that it is rolled up as a whole.
async fn live(admin: &mut PgConnection, set_no: i32, ledger: u64) -> Result<()> {
    let at = format!("now() - interval '365 days' + n * (interval '365 days' / {ledger})");
    let statement = format!(
        "begin;
         update coupon_sets set created_at = now() - interval '366 days' where set_no = {set_no};
         update coupon_set_terms set since = now() - interval '366 days' where set_no = {set_no};
         insert into lots (tenant_id, set_no, lot_no, import_id, size, state, published_at)
         values (1, {set_no}, 1, gen_random_uuid(), 2 * {ledger}, 'open', now() - interval '366 days');
         insert into assignments (
           tenant_id, set_no, number, requested_set_no, lot_no, ordinal, contact_no, contact_seq, key_hash, assigned_at,
           workflow_id, node_id)
         select 1, {set_no}, n, {set_no}, 1, n - n / 10, n, 1, gen_random_uuid(), {at}, 'workflow ' || n % 5, 'node ' || n % 2
           from generate_series(1, {ledger}) n
          where n % 10 <> 0;
         insert into ledger_entries (
           tenant_id, set_no, number, assignment_number, event, recorded_at, entries, reserved, released, void, sent, used)
         select 1, {set_no}, n, n - 1, 'sent', {at}, n / 10, 0, 0, 0, n / 10, 0
           from generate_series(10, {ledger}, 10) n;
         commit;
         vacuum analyze assignments;
         vacuum analyze ledger_entries;"
    );
    execute(admin, &statement).await
}

async fn wait_for_roll_up(admin: &mut PgConnection) -> Result<Duration> {
    let started = Instant::now();
    let query = "select exists (select from statistics_tails where rolled_up < number)";
    while admin.fetch_one(query).await?.get(0) {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let took = started.elapsed();
    admin.execute("vacuum analyze").await?;
    Ok(took)
}

async fn measure(
    service: &Service,
    admin: &mut PgConnection,
    path: &str,
    times: usize,
) -> Result<String> {
    let day: String = admin
        .fetch_one("select to_char(now() at time zone 'UTC' - interval '364 days', 'YYYY-MM-DD')")
        .await?
        .get(0);
    let hour: String = admin
        .fetch_one("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:00:00\"Z\"')")
        .await?
        .get(0);
    let path = path
        .replace("=year", &format!("={day}"))
        .replace("=now", &format!("={hour}"));
    let head = Head::get(&path, &service.key);
    let mut client = Client::connect(service.address).await?;
    let mut millis = Vec::new();
    for _ in 0..times {
        let started = Instant::now();
        client.send(&head, b"").await?.expect(200)?;
        millis.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let slowest = millis.iter().copied().fold(0.0, f64::max);
    Ok(format!("{:.1}, {slowest:.1}", median(millis)))
}
