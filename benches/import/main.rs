//! How fast codes come in, beside `psql \copy` of the same file into a table with the same columns and indexes; and how
//! much memory that takes.
//!
//! `cargo bench --bench import`, or with `-- --quick`. The service runs as a process of its own, as its user starts it,
//! with a PostgreSQL of its own in an empty folder, fsync on. Imports and copies alternate; what is told is the median.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod process;
#[path = "../support/mod.rs"]
mod support;

use std::time::Instant;

use support::service::csv;
use support::table::{Table, times, whole};
use support::{Result, float, machine, median};

use process::Process;

/// Codes of the file.
const CODES: u64 = 200_000;
/// Codes of the file whose import shows that memory does not grow with it.
const MANY_CODES: u64 = 2_000_000;
const ROUNDS: u32 = 3;

const QUICK_CODES: u64 = 20_000;
const QUICK_MANY_CODES: u64 = 100_000;
const QUICK_ROUNDS: u32 = 1;

/// `\copy` names the column of the codes only, so the others are filled in by defaults, as cheap as they can be.
const CREATE: &str = "
    create table copied (like cards including all);
    create sequence copied_ordinal cache 1000;
    alter table copied
      alter column tenant_id set default 1,
      alter column set_no set default 1,
      alter column lot_no set default 1,
      alter column ordinal set default nextval('copied_ordinal'),
      alter column line set default 1";

/// Seconds that one file took.
#[derive(Debug, Default)]
struct Round {
    import: f64,
    copy: f64,
}

struct Memory {
    at_start: f64,
    after_rounds: f64,
    after_many: f64,
}

fn main() -> Result<()> {
    let (codes, many, rounds) = if support::is_quick() {
        (QUICK_CODES, QUICK_MANY_CODES, QUICK_ROUNDS)
    } else {
        (CODES, MANY_CODES, ROUNDS)
    };
    let folder = tempfile::Builder::new()
        .prefix("bench-import-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let process = Process::start(&folder.path().join("data"))?;
    let psql = process.psql()?;
    let version = psql.run("show server_version")?;
    psql.run(CREATE)?;
    let text = csv(codes);
    let file = folder.path().join("codes.csv");
    std::fs::write(&file, &text)?;

    let peak = || process.peak_memory();
    let at_start = peak()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let import = |name: &str, text: &str| -> Result<f64> {
        runtime.block_on(async {
            let service = process.service();
            let set = service
                .create_set(&format!(r#""name":"{name}","type":"multiple""#))
                .await?;
            let start = Instant::now();
            service.import(&set, text.as_bytes()).await?;
            Ok(start.elapsed().as_secs_f64())
        })
    };
    let mut taken = Vec::new();
    for number in 1..=rounds {
        let mut round = Round::default();
        psql.run("checkpoint")?;
        round.import = import(&format!("set {number}"), &text)?;
        // A set of its own each time, as the imports have: both tables are equally full.
        psql.run(&format!(
            "alter table copied alter column set_no set default {number}; alter sequence copied_ordinal restart"
        ))?;
        psql.run("checkpoint")?;
        round.copy = psql.copy(&file)?;
        eprintln!(
            "round {number} of {rounds}: import {:.2} s, \\copy {:.2} s",
            round.import, round.copy
        );
        taken.push(round);
    }
    let after_rounds = peak()?;
    let many_taken = import("many", &csv(many))?;
    let memory = Memory {
        at_start,
        after_rounds,
        after_many: peak()?,
    };
    drop(process);

    let import = median(taken.iter().map(|round| round.import));
    let copy = median(taken.iter().map(|round| round.copy));
    let mut table = Table::new(&["", "codes", "seconds", "codes a second", "peak memory"]);
    let mut row = |what: &str, codes: u64, seconds: f64, memory: Option<f64>| {
        table.row(&[
            what.to_owned(),
            whole(float(codes)),
            format!("{seconds:.2}"),
            whole(float(codes) / seconds),
            memory.map_or(String::new(), |mib| format!("{mib:.0} MiB")),
        ]);
    };
    row("`psql \\copy`", codes, copy, None);
    row(
        "import over HTTP until it is finished",
        codes,
        import,
        Some(memory.after_rounds),
    );
    row(
        "the same, of a larger file",
        many,
        many_taken,
        Some(memory.after_many),
    );
    println!(
        "\n`cargo bench --bench import` on {}; PostgreSQL {version}, fsync on.\n\n{table}",
        machine::describe(folder.path())
    );
    println!(
        "An import takes {} times the time of `\\copy`. Medians of {rounds} rounds, alternated; the larger file once. \
         `\\copy` fills a table that was made `like cards including all`, in one transaction, with the columns that the \
         file lacks filled in by defaults; its time is that of the whole `psql`. An import also stores the upload before \
         it answers, looks for duplicates, and survives kill -9 in the middle. Peak memory is `VmHWM` of the service's \
         process, which had {:.0} MiB before the first import; PostgreSQL's is not in it.",
        times(import / copy),
        memory.at_start
    );
    Ok(())
}
