//! Import throughput, compared with `psql \copy` of the same file into a table with the same columns and indexes; the
//! memory that an import takes; and its effect on concurrent assignments.
//!
//! `cargo bench --bench import`, or with `-- --quick`. The service runs as a separate process, as a user starts it,
//! with its own PostgreSQL in an empty folder, fsync on. Imports and copies alternate. The report shows the median.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest of it")]
mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use support::http::Head;
use support::load::{self, Items, Outcome, TimeRange, Work};
use support::process::{Process, Psql};
use support::service::{Service, csv};
use support::table::{Table, times, whole};
use support::{Result, float, machine, median};
use tokio::sync::oneshot;

#[derive(Debug)]
struct Plan {
    rounds: u32,
    /// Codes of the file that is imported and copied in each round.
    codes: u64,
    /// Codes that a set holds before the same number is imported.
    many: u64,
    span: TimeRange,
}

const FULL: Plan = Plan {
    rounds: 3,
    codes: 1_000_000,
    many: 5_000_000,
    span: TimeRange {
        warm_up: Duration::from_secs(2),
        measured: Duration::from_secs(15),
    },
};

const QUICK: Plan = Plan {
    rounds: 1,
    codes: 100_000,
    many: 300_000,
    span: TimeRange {
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(3),
    },
};

/// Assignments per second during an import.
const ASSIGNMENT_RATE: f64 = 500.0;
const ASSIGNMENT_CLIENTS: usize = 64;

/// `\copy` names only the column of the codes, so defaults fill the others as cheaply as possible.
const CREATE: &str = "
    create table copied (like cards including all);
    create sequence copied_ordinal cache 1000;
    alter table copied
      alter column tenant_id set default 1,
      alter column set_no set default 1,
      alter column lot_no set default 1,
      alter column ordinal set default nextval('copied_ordinal'),
      alter column line set default 1";

/// Seconds per file.
#[derive(Debug, Default)]
struct Round {
    import: f64,
    copy: f64,
}

fn main() -> Result<()> {
    let plan = if support::is_quick() { QUICK } else { FULL };
    let folder = tempfile::Builder::new()
        .prefix("bench-import-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let process = Process::start(&folder.path().join("data"), &[])?;
    let psql = process.psql()?;
    let version = psql.run("show server_version")?;
    psql.run(CREATE)?;
    let bench = Bench {
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        file: folder.path().join("codes.csv"),
        process,
        psql,
        plan,
    };
    let report = bench.run()?;
    println!(
        "\n`cargo bench --bench import` on {}; PostgreSQL {version}, fsync on.\n\n{report}",
        machine::describe(folder.path())
    );
    Ok(())
}

struct Bench {
    process: Process,
    psql: Psql,
    runtime: tokio::runtime::Runtime,
    file: std::path::PathBuf,
    plan: Plan,
}

impl Bench {
    fn run(&self) -> Result<String> {
        let Plan {
            rounds,
            codes,
            many,
            ..
        } = self.plan;
        let mut table = Table::new(&["", "codes", "seconds", "codes a second", "peak memory"]);
        let mut row = |what: &str, codes: u64, seconds: f64| -> Result<()> {
            let memory = format!("{:.0} MiB", self.process.peak_memory()?);
            eprintln!("  {what}: {codes} codes, {seconds:.2} s, {memory}");
            table.row(&[
                what.to_owned(),
                whole(float(codes)),
                format!("{seconds:.2}"),
                whole(float(codes) / seconds),
                memory,
            ]);
            Ok(())
        };
        let at_start = self.process.peak_memory()?;

        let taken: Vec<Round> = (1..=rounds)
            .map(|number| {
                let set = self.set(&format!("set {number}"))?;
                // A new set each time, as for the imports: both tables are equally full.
                self.copy_into(number)?;
                let round = self.race(&set, 0..codes)?;
                eprintln!("round {number} of {rounds}: {round:?}");
                Ok(round)
            })
            .collect::<Result<_>>()?;
        let import = median(taken.iter().map(|round| round.import));
        let copy = median(taken.iter().map(|round| round.copy));
        row("`psql \\copy`", codes, copy)?;
        row("import over HTTP until it is finished", codes, import)?;

        let set = self.set("many")?;
        self.copy_into(rounds + 1)?;
        self.race(&set, 0..many)?;
        let beside = self.race(&set, many..2 * many)?;
        row("`psql \\copy` to as many as these", many, beside.copy)?;
        row("import to as many as these", many, beside.import)?;

        let text = csv(0..codes);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes())?;
        let seconds = self.import(&self.set("gzip")?, "application/gzip", &gzip.finish()?)?;
        row("import of a gzip file", codes, seconds)?;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("codes.csv", zip::write::SimpleFileOptions::default())?;
        zip.write_all(text.as_bytes())?;
        let zip = zip.finish()?.into_inner();
        let seconds = self.import(&self.set("zip")?, "application/zip", &zip)?;
        row("import of a zip file", codes, seconds)?;
        let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
        let seconds = self.import(&self.set("workbook")?, kind, &workbook(&text)?)?;
        row("import of a workbook", codes, seconds)?;

        let (alone, beside_import) = self.flow()?;
        let mut report = table.to_string();
        writeln!(
            report,
            "\nAn import takes {} times the time of `\\copy`, and {} times that into a set that holds {} codes already. \
             Medians of {rounds} rounds, alternated; the larger ones once. `\\copy` fills a table that was made `like cards \
             including all`, in one transaction, with the columns that the file lacks filled in by defaults; its time is \
             that of the whole `psql`. An import also stores the upload before it answers, looks for duplicates, and \
             survives kill -9 in the middle. Peak memory is `VmHWM` of the service's process so far, which had {at_start:.0} \
             MiB before the first import; PostgreSQL's is not in it.",
            times(import / copy),
            times(beside.import / beside.copy),
            whole(float(many)),
        )?;
        writeln!(
            report,
            "\n{ASSIGNMENT_RATE} assignments a second (open loop): p50 {:.2} ms and p99 {:.2} ms; while codes are imported {:.2} ms and \
             {:.2} ms, which is a p99 of {} times.",
            alone.p50 * 1e3,
            alone.p99 * 1e3,
            beside_import.p50 * 1e3,
            beside_import.p99 * 1e3,
            times(beside_import.p99 / alone.p99),
        )?;
        Ok(report)
    }

    fn set(&self, name: &str) -> Result<String> {
        let fields = format!(r#""name":"{name}","type":"multiple""#);
        let service = self.process.service();
        self.runtime.block_on(service.create_set(&fields))
    }

    fn import(&self, set: &str, kind: &str, file: &[u8]) -> Result<f64> {
        self.psql.run("checkpoint")?;
        let start = Instant::now();
        let service = self.process.service();
        self.runtime.block_on(service.import_as(set, kind, file))?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Prepares a set of this number as the target of copies.
    fn copy_into(&self, set_no: u32) -> Result<()> {
        self.psql.run(&format!(
            "alter table copied alter column set_no set default {set_no}; alter sequence copied_ordinal restart"
        ))?;
        Ok(())
    }

    /// Imports and copies the same codes, one after the other.
    fn race(&self, set: &str, numbers: Range<u64>) -> Result<Round> {
        let text = csv(numbers);
        std::fs::write(&self.file, &text)?;
        let import = self.import(set, "text/csv", text.as_bytes())?;
        self.psql.run("checkpoint")?;
        let copy = self.psql.copy(&self.file)?;
        Ok(Round { import, copy })
    }

    /// Assignments alone, and while codes are imported into another set all the time.
    fn flow(&self) -> Result<(Outcome, Outcome)> {
        let Plan { codes, many, .. } = self.plan;
        let set = self.set("flow")?;
        self.import(&set, "text/csv", csv(0..codes).as_bytes())?;
        // Write out the preparation first so that the measurement does not pay for it: the system would write it half a
        // minute later.
        self.psql.run("vacuum analyze cards")?;
        self.psql.run("checkpoint")?;
        let other = self.set("beside")?;
        let service = self.process.service();
        let work = Work {
            heads: vec![Head::post(
                &format!("/v1/coupon-sets/{set}/assignments"),
                &service.key,
                "application/json",
            )],
            items: Items::One,
            status: 201,
            codes: true,
        };
        let alone = self.runtime.block_on(self.assign(&work))?;
        let (ended, mut end) = oneshot::channel();
        let importer = std::thread::spawn({
            let service: Service = service.clone();
            move || -> Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let mut first = 0;
                while end.try_recv().is_err() {
                    let text = csv(first..first + many);
                    runtime.block_on(service.import_as(&other, "text/csv", text.as_bytes()))?;
                    first += many;
                }
                Ok(())
            }
        });
        let beside = self.runtime.block_on(self.assign(&work))?;
        let _ = ended.send(());
        importer.join().map_err(|_| "the importer panicked")??;
        Ok((alone, beside))
    }

    async fn assign(&self, work: &Work) -> Result<Outcome> {
        let address = self.process.service().address;
        // Processor time is not measured here.
        load::open(
            address,
            0,
            work,
            ASSIGNMENT_CLIENTS,
            ASSIGNMENT_RATE,
            self.plan.span,
        )
        .await
    }
}

/// A workbook with one column. Its texts are in a shared string table, as Excel writes them.
fn workbook(text: &str) -> Result<Vec<u8>> {
    const LINKS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let mut texts = String::from("<sst>");
    let mut rows = String::from("<worksheet><sheetData>");
    for (number, code) in text.lines().enumerate() {
        write!(texts, "<si><t>{code}</t></si>")?;
        write!(rows, "<row><c t=\"s\"><v>{number}</v></c></row>")?;
    }
    texts.push_str("</sst>");
    rows.push_str("</sheetData></worksheet>");
    let links = format!(
        "<Relationships><Relationship Id=\"a\" Type=\"{LINKS}/worksheet\" Target=\"worksheets/sheet1.xml\"/>\
         <Relationship Id=\"b\" Type=\"{LINKS}/sharedStrings\" Target=\"sharedStrings.xml\"/></Relationships>"
    );
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, part) in [
        (
            "xl/workbook.xml",
            "<workbook><sheets><sheet name=\"Codes\" sheetId=\"1\" r:id=\"a\"/></sheets></workbook>",
        ),
        ("xl/_rels/workbook.xml.rels", &links),
        ("xl/sharedStrings.xml", &texts),
        ("xl/worksheets/sheet1.xml", &rows),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default())?;
        zip.write_all(part.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}
