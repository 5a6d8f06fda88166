//! Latency of one tenant while another floods the service. Source of rows in docs/benchmarks.md.
//!
//! `cargo bench --bench flood`, or with `-- --quick`. The service runs as a separate process with the default settings
//! and its own PostgreSQL, fsync on. The victim requests codes of many sets and reads lists at a steady rate, in an open
//! loop. Its p99 is measured alone, and during each kind of flood by another tenant. Clients, service and PostgreSQL
//! share the processors, so a flood costs the victim something even if the service is fair. To tell the two apart, the
//! same flood is also sent to a second service with a PostgreSQL of its own on the same machine, which shares only the
//! processors and the disk with the victim. Rounds alternate the three.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod flooder;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benchmarks use the rest of it")]
mod support;

use std::time::{Duration, Instant};

use support::cpu::{Cpu, DRIVER};
use support::http::Head;
use support::load::{self, Items, Outcome, TimeRange, Work};
use support::process::Process;
use support::service::Service;
use support::table::{Table, times, whole};
use support::{Result, machine, median};

use flooder::{CLIENTS, Flood, Kind, Rates, Tenant};

/// Requests of the victim per second: for a code, and for a list.
const ASSIGN_RATE: f64 = 100.0;
const READ_RATE: f64 = 25.0;
/// Clients of the victim, of either kind. More than are ever under way.
const VICTIM_CLIENTS: usize = 32;
/// Sets of either tenant.
const SETS: u64 = 100;
/// Operator token for `/admin` of the services.
const TOKEN: &str = "operator-token-of-the-benchmark";
/// Requests per second and at once of a tenant, in the runs with a rate limit. The victim stays below it.
const RATE_LIMIT: (u32, u32) = (250, 1000);
/// Time limit for the service to end what a flood has left to it.
const SETTLE_TIMEOUT: Duration = Duration::from_mins(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

const KINDS: [Kind; 6] = [
    Kind::Assign,
    Kind::AssignBatches,
    Kind::List,
    Kind::Export,
    Kind::Import,
    Kind::All,
];

#[derive(Debug)]
struct Plan {
    rounds: usize,
    /// Codes of each set of the victim, of each set of the flooding tenant, and of its large set.
    victim_codes: u64,
    codes: u64,
    large: u64,
    span: TimeRange,
}

const FULL: Plan = Plan {
    rounds: 5,
    victim_codes: 3000,
    codes: 20_000,
    large: 500_000,
    span: TimeRange {
        warm_up: Duration::from_secs(2),
        measured: Duration::from_secs(15),
    },
};

const QUICK: Plan = Plan {
    rounds: 1,
    victim_codes: 500,
    codes: 10_000,
    large: 100_000,
    span: TimeRange {
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(6),
    },
};

/// Where the flood goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Nowhere,
    /// The other service on the same machine.
    Elsewhere,
    Victim,
}

/// What the victim saw, and the flood meanwhile.
#[derive(Debug)]
struct Measured {
    assign: Outcome,
    read: Outcome,
    flood: Option<Rates>,
    /// Processors used by the clients, by the victim's service, and by its PostgreSQL.
    cpu: [f64; 3],
}

/// One round of a kind: alone, beside a flood elsewhere, and under the flood.
type Round = [Measured; 3];

fn main() -> Result<()> {
    let plan = if support::is_quick() { QUICK } else { FULL };
    let folder = tempfile::Builder::new()
        .prefix("bench-flood-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let start = |name| Process::start(&folder.path().join(name), &["--operator-token", TOKEN]);
    let (process, elsewhere) = (start("data")?, start("elsewhere")?);
    let driver = std::thread::Builder::new()
        .name(DRIVER.to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { Bench::create(process, elsewhere, plan).await?.run().await })
        })?;
    let table = driver.join().map_err(|_| "the driver panicked")??;
    println!(
        "\n`cargo bench --bench flood` on {}; fsync on.\n\n{table}\n\
         The victim assigns {ASSIGN_RATE} codes and reads {READ_RATE} lists a second; the flood comes from {CLIENTS} clients.",
        machine::describe(folder.path())
    );
    Ok(())
}

struct Bench {
    process: Process,
    elsewhere: Process,
    victim: Victim,
    tenant: Tenant,
    tenant_elsewhere: Tenant,
    plan: Plan,
}

/// The requests of the victim, apart from their address.
struct Victim {
    assign: Work,
    read: Work,
}

impl Bench {
    async fn create(process: Process, elsewhere: Process, plan: Plan) -> Result<Self> {
        let address = process.service().address;
        let victim = Victim::create(&Service::open(address, TOKEN).await?, &plan).await?;
        let fill = async |process: &Process| {
            let service = Service::open(process.service().address, TOKEN).await?;
            Tenant::fill(service, SETS, plan.codes, plan.large).await
        };
        Ok(Self {
            victim,
            tenant: fill(&process).await?,
            tenant_elsewhere: fill(&elsewhere).await?,
            process,
            elsewhere,
            plan,
        })
    }

    async fn run(&self) -> Result<String> {
        let mut table = Table::new(&[
            "flood",
            "p99 alone",
            "flood elsewhere",
            "under the flood",
            "to alone",
            "to elsewhere",
            "read p99 alone",
            "elsewhere",
            "under",
            "to alone",
            "flood/s",
            "429/s",
            "503/s",
            "CPU",
        ]);
        let mut rounds: Vec<Vec<Round>> = KINDS.iter().map(|_| Vec::new()).collect();
        let mut limited = Vec::new();
        for number in 1..=self.plan.rounds {
            eprintln!("round {number} of {}", self.plan.rounds);
            for (kind, rounds) in KINDS.iter().zip(&mut rounds) {
                rounds.push(self.round(*kind).await?);
            }
            self.limit_rates(Some(RATE_LIMIT))?;
            limited.push(self.round(Kind::All).await?);
            self.limit_rates(None)?;
        }
        for (kind, rounds) in KINDS.iter().zip(&rounds) {
            table.row(&row(kind.name(), rounds));
        }
        table.row(&row("all at once, with a rate limit", &limited));
        Ok(table.to_string())
    }

    /// Sets the rate limit of each tenant, which takes effect within a second.
    fn limit_rates(&self, limit: Option<(u32, u32)>) -> Result<()> {
        let (rate, burst) = limit
            .map_or(("null".to_owned(), "null".to_owned()), |(rate, burst)| {
                (rate.to_string(), burst.to_string())
            });
        for process in [&self.process, &self.elsewhere] {
            process.psql()?.run(&format!(
                "update tenants set rate_per_second = {rate}, rate_burst = {burst}"
            ))?;
        }
        Ok(())
    }

    async fn round(&self, kind: Kind) -> Result<Round> {
        Ok([
            self.measure(kind, Target::Nowhere).await?,
            self.measure(kind, Target::Elsewhere).await?,
            self.measure(kind, Target::Victim).await?,
        ])
    }

    async fn measure(&self, kind: Kind, target: Target) -> Result<Measured> {
        settle(&self.process).await?;
        settle(&self.elsewhere).await?;
        let address = self.process.service().address;
        let flood = match target {
            Target::Nowhere => None,
            Target::Elsewhere => Some(Flood::start(&self.tenant_elsewhere, kind)?),
            Target::Victim => Some(Flood::start(&self.tenant, kind)?),
        };
        let (span, postmaster) = (self.plan.span, self.process.postmaster()?);
        let begun = (Instant::now(), Cpu::read(postmaster), self.process.cpu());
        let (assign, read) = tokio::try_join!(
            load::open(
                address,
                postmaster,
                &self.victim.assign,
                VICTIM_CLIENTS,
                ASSIGN_RATE,
                span
            ),
            load::open(
                address,
                postmaster,
                &self.victim.read,
                VICTIM_CLIENTS,
                READ_RATE,
                span
            ),
        )?;
        let seconds = begun.0.elapsed().as_secs_f64();
        let cpu = Cpu::read(postmaster).since(begun.1);
        let service = self.process.cpu().saturating_sub(begun.2);
        let measured = Measured {
            assign,
            read,
            flood: flood.map(Flood::stop).transpose()?,
            cpu: [cpu.driver, service, cpu.postgresql].map(|time| time.as_secs_f64() / seconds),
        };
        eprintln!(
            "  {} {target:?}: assign p50 {:.2} p99 {:.2} ms, read p50 {:.2} p99 {:.2} ms, cpu {:.2?}, {:.0?}",
            kind.name(),
            measured.assign.p50 * 1e3,
            measured.assign.p99 * 1e3,
            measured.read.p50 * 1e3,
            measured.read.p99 * 1e3,
            measured.cpu,
            measured.flood,
        );
        Ok(measured)
    }
}

impl Victim {
    async fn create(service: &Service, plan: &Plan) -> Result<Self> {
        let sets = service.create_sets(SETS, plan.victim_codes).await?;
        let pages = sets
            .iter()
            .map(|set| format!("/v1/coupon-sets/{set}/coupons?limit=20"))
            .flat_map(|page| [page, "/v1/coupon-sets?limit=20".to_owned()]);
        Ok(Self {
            read: Work {
                heads: pages.map(|page| Head::get(&page, &service.key)).collect(),
                items: Items::None,
                status: 200,
                codes: false,
            },
            assign: Work::assign(&service.key, &sets),
        })
    }
}

/// Waits until no import is under way, and writes out what a flood has left to the disk.
async fn settle(process: &Process) -> Result<()> {
    const UNDER_WAY: &str =
        "select count(*) from imports where status in ('queued', 'inProgress') or needs_cleanup";
    let psql = process.psql()?;
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    while psql.run(UNDER_WAY)? != "0" {
        if Instant::now() > deadline {
            return Err("the imports of a flood did not end in time".into());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    psql.run("checkpoint")?;
    Ok(())
}

/// The medians of the rounds of a kind.
fn row(name: &str, rounds: &[Round]) -> Vec<String> {
    let of = |target: usize, figure: &dyn Fn(&Measured) -> f64| {
        median(rounds.iter().map(|round| figure(&round[target])))
    };
    let p99s = |figure: &dyn Fn(&Measured) -> f64| [0, 1, 2].map(|target| of(target, figure));
    let assign = p99s(&|measured| measured.assign.p99);
    let read = p99s(&|measured| measured.read.p99);
    let flood = |figure: &dyn Fn(&Rates) -> f64| {
        whole(of(2, &|measured| {
            measured.flood.as_ref().map_or(0.0, figure)
        }))
    };
    let milliseconds = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
    let cpu = [0, 1, 2].map(|part| format!("{:.2}", of(2, &|measured| measured.cpu[part])));
    vec![
        name.to_owned(),
        milliseconds(assign[0]),
        milliseconds(assign[1]),
        milliseconds(assign[2]),
        times(assign[2] / assign[0]),
        times(assign[2] / assign[1]),
        milliseconds(read[0]),
        milliseconds(read[1]),
        milliseconds(read[2]),
        times(read[2] / read[0]),
        flood(&|rates| rates.served),
        flood(&|rates| rates.refused),
        flood(&|rates| rates.unavailable),
        cpu.join(" + "),
    ]
}
