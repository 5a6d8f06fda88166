//! Cost of metrics and spans: the rate of assignments with both, compared with neither. Source of a row in
//! docs/benchmarks.md.
//!
//! `cargo bench --bench observe`, or with `-- --quick`. Two replicas of the service, each a process, use one PostgreSQL.
//! One of them records metrics, which are scraped each second, and has a span for each request, as by default. The other
//! has no metrics, and its log level disables the spans. Clients assign codes of the same sets in a closed loop. Pairs of
//! short runs alternate the replicas, and so does their order in a pair.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::http::{Client, Head};
use support::load::{self, TimeRange, Work};
use support::process::{Process, free_address};
use support::table::{Table, whole};
use support::{Result, machine, median};

const CLIENTS: usize = 64;
const SETS: u64 = 100;
/// More often than Prometheus scrapes by default.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
const SPAN: TimeRange = TimeRange {
    warm_up: Duration::from_millis(500),
    measured: Duration::from_millis(2500),
};

#[derive(Debug)]
struct Plan {
    pairs: usize,
    /// Codes of each set.
    codes: u64,
}

const FULL: Plan = Plan {
    pairs: 60,
    codes: 50_000,
};

const QUICK: Plan = Plan {
    pairs: 6,
    codes: 5000,
};

/// Outcome of a run.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Assignments per second.
    rate: f64,
    /// Processor time of the service per assignment, in seconds.
    cpu: f64,
}

fn main() -> Result<()> {
    let plan = if support::is_quick() { QUICK } else { FULL };
    let folder = tempfile::Builder::new()
        .prefix("bench-observe-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let host = Process::start(&folder.path().join("data"), &[])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pairs = runtime.block_on(run(&host, &plan))?;
    println!(
        "\n`cargo bench --bench observe` on {}; fsync on.\n\n{}",
        machine::describe(folder.path()),
        render(&pairs)
    );
    Ok(())
}

/// Runs pairs of an observed replica and one that is not.
async fn run(host: &Process, plan: &Plan) -> Result<Vec<[Run; 2]>> {
    let metrics = free_address()?;
    let observed = ["--metrics-listen", &metrics.to_string()];
    let observed = host.replica(&observed).await?;
    let silent = host.replica(&["--log", "off"]).await?;
    let sets = host.service().create_sets(SETS, plan.codes).await?;
    let work = Work::assign(&host.service().key, &sets);
    let mut pairs = Vec::new();
    for number in 1..=plan.pairs {
        let with = assign(&observed, &work, Some(metrics));
        let without = assign(&silent, &work, None);
        let pair = if number % 2 == 0 {
            let with = with.await?;
            [with, without.await?]
        } else {
            let without = without.await?;
            [with.await?, without]
        };
        eprintln!("pair {number} of {}: {pair:.6?}", plan.pairs);
        pairs.push(pair);
    }
    Ok(pairs)
}

/// Assigns codes at a replica while its metrics are scraped.
async fn assign(replica: &Process, work: &Work, metrics: Option<SocketAddr>) -> Result<Run> {
    let before = replica.cpu();
    let load = load::closed(replica.service().address, 0, work, CLIENTS, SPAN);
    let outcome = match metrics {
        None => load.await?,
        Some(metrics) => tokio::select! {
            outcome = load => outcome?,
            failed = scrape(metrics) => return Err(failed),
        },
    };
    // The warm-up is in it, at the same rate.
    let seconds = (SPAN.warm_up + SPAN.measured).as_secs_f64();
    let cpu = replica.cpu().saturating_sub(before).as_secs_f64();
    Ok(Run {
        rate: outcome.rate,
        cpu: cpu / (outcome.rate * seconds),
    })
}

/// Reads the metrics at an interval. Returns only if that fails.
async fn scrape(metrics: SocketAddr) -> Box<dyn std::error::Error + Send + Sync> {
    let read = async || -> Result<()> {
        let mut client = Client::connect(metrics).await?;
        let head = Head::get("/metrics", "none");
        client.send(&head, b"").await?.expect(200)?;
        Ok(())
    };
    loop {
        if let Err(error) = read().await {
            return error;
        }
        tokio::time::sleep(SCRAPE_INTERVAL).await;
    }
}

fn render(pairs: &[[Run; 2]]) -> String {
    let of = |place: usize, figure: &dyn Fn(Run) -> f64| {
        median(pairs.iter().map(|pair| figure(pair[place])))
    };
    let mut table = Table::new(&[
        "",
        "assignments a second",
        "CPU of the service, µs per code",
    ]);
    for (place, name) in ["with metrics and spans", "without"]
        .into_iter()
        .enumerate()
    {
        table.row(&[
            name.to_owned(),
            whole(of(place, &|run| run.rate)),
            format!("{:.1}", of(place, &|run| run.cpu * 1e6)),
        ]);
    }
    let spread = |figure: &dyn Fn(Run) -> f64| {
        let ratios = || {
            pairs
                .iter()
                .map(|[with, without]| figure(*with) / figure(*without))
        };
        let middle = median(ratios());
        let lower = median(ratios().filter(|ratio| *ratio <= middle));
        let upper = median(ratios().filter(|ratio| *ratio >= middle));
        format!("{middle:.3} (quartiles {lower:.3} and {upper:.3})")
    };
    format!(
        "{table}\nWith to without, medians of the ratios of {} pairs: rate {}, processor time of the service {}. {CLIENTS} clients, \
         {SETS} sets.",
        pairs.len(),
        spread(&|run| run.rate),
        spread(&|run| run.cpu),
    )
}
