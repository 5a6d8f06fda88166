//! The figures in Markdown, source of docs/benchmarks.md.

use std::path::Path;

use crate::Round;
use crate::many_sets::MANY_SETS;
use crate::plan::{
    BATCHES, CLIENTS, COLD_SETS, MANY_CLIENTS, OPEN_SHARE, Plan, REFERENCE_CLIENTS,
    TEXTBOOK_CONNECTIONS,
};
use crate::support::load::Outcome;
use crate::support::table::{Table, times, whole};
use crate::support::{float, machine, median};

/// Medians over the rounds.
struct Figures<'a> {
    rounds: &'a [Round],
}

impl Figures<'_> {
    fn median(&self, of: impl Fn(&Round) -> &Outcome) -> Outcome {
        self.median_of_all(|round| std::slice::from_ref(of(round)))
    }

    /// Median of a variant that runs several times in each round.
    fn median_of_all(&self, of: impl Fn(&Round) -> &[Outcome]) -> Outcome {
        let median =
            |figure: &dyn Fn(&Outcome) -> f64| median(self.rounds.iter().flat_map(&of).map(figure));
        Outcome {
            rate: median(&|outcome| outcome.rate),
            p50: median(&|outcome| outcome.p50),
            p99: median(&|outcome| outcome.p99),
            cpu: [0, 1, 2].map(|part| median(&|outcome| outcome.cpu[part])),
        }
    }

    /// `None` where the variant was skipped.
    fn median_if_run(&self, of: impl Fn(&Round) -> Option<&Outcome>) -> Option<Outcome> {
        let outcomes: Vec<&Outcome> = self.rounds.iter().filter_map(of).collect();
        let median =
            |of: &dyn Fn(&Outcome) -> f64| median(outcomes.iter().map(|outcome| of(outcome)));
        (!outcomes.is_empty()).then(|| Outcome {
            rate: median(&|outcome| outcome.rate),
            p50: median(&|outcome| outcome.p50),
            p99: median(&|outcome| outcome.p99),
            ..Outcome::default()
        })
    }
}

pub fn render(plan: &Plan, version: &str, data: &Path, rounds: &[Round]) -> String {
    let figures = Figures { rounds };
    let mut rows = Rows {
        textbook: figures.median(|round| &round.textbook).rate,
        table: Table::new(&[
            "",
            "clients",
            "a second",
            "p50",
            "p99",
            "× textbook",
            "× nothing",
            "CPU µs: clients + service + PostgreSQL",
        ]),
    };
    add_one_set(&mut rows, &figures);
    add_other_sets(&mut rows, &figures);
    let mut text = format!(
        "\n`cargo bench --bench assign` on {}; PostgreSQL {version}, fsync on.\n\n{}\n",
        machine::describe(data),
        rows.table
    );
    text.push_str(&ratios(&figures));
    text.push_str(&settings(plan));
    text
}

/// The rows of the table.
struct Rows {
    table: Table,
    /// Rate of the textbook statement.
    textbook: f64,
}

impl Rows {
    fn add(&mut self, what: &str, clients: usize, outcome: &Outcome, nothing: Option<f64>) {
        let [driver, service, postgresql] = outcome.cpu.map(|seconds| whole(seconds * 1e6));
        self.table.row(&[
            what.to_owned(),
            clients.to_string(),
            whole(outcome.rate),
            millis(outcome.p50),
            millis(outcome.p99),
            times(outcome.rate / self.textbook),
            nothing.map_or(String::new(), |nothing| times(outcome.rate / nothing)),
            format!("{driver} + {service} + {postgresql}"),
        ]);
    }
}

/// One set that has codes, and what it is compared with.
fn add_one_set(rows: &mut Rows, figures: &Figures<'_>) {
    let textbook = figures.median(|round| &round.textbook);
    rows.add(
        "textbook statement, no HTTP",
        TEXTBOOK_CONNECTIONS,
        &textbook,
        None,
    );
    for (index, clients) in CLIENTS.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.nothing[index]);
        rows.add("endpoint that does nothing", clients, &outcome, None);
    }
    for (index, clients) in CLIENTS.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.assign[index]);
        let nothing = figures.median(|round| &round.nothing[index]);
        rows.add("assign", clients, &outcome, Some(nothing.rate));
    }
    let outcome = figures.median(|round| &round.open);
    let what = format!("assign, open loop at {OPEN_SHARE} of that rate");
    rows.add(&what, REFERENCE_CLIENTS, &outcome, None);
    for (index, (items, clients)) in BATCHES.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.batches[index]);
        let what = format!("assign in batches of {items}");
        rows.add(&what, clients, &outcome, None);
    }
}

/// Exhausted sets, cold sets, many sets, and Redis.
fn add_other_sets(rows: &mut Rows, figures: &Figures<'_>) {
    rows.add(
        "exhausted set, refused (409)",
        REFERENCE_CLIENTS,
        &figures.median(|round| &round.exhausted),
        None,
    );
    rows.add(
        "exhausted set, served by its child",
        REFERENCE_CLIENTS,
        &figures.median(|round| &round.fallback),
        None,
    );
    let insert = figures.median(|round| &round.insert);
    rows.add("insert of a row, committed, no HTTP", 1, &insert, None);
    let cold = figures.median_of_all(|round| &round.cold);
    rows.add(
        &format!("{COLD_SETS} cold sets, open loop"),
        REFERENCE_CLIENTS,
        &cold,
        None,
    );
    let beside = figures.median_of_all(|round| &round.cold_beside_hot);
    rows.add(
        "the same beside a hot set",
        REFERENCE_CLIENTS,
        &beside,
        None,
    );
    rows.add(
        "the hot set meanwhile",
        REFERENCE_CLIENTS,
        &figures.median_of_all(|round| &round.hot),
        None,
    );
    let many_textbook = figures.median_if_run(|round| round.many_textbook.as_ref());
    if let Some(textbook) = &many_textbook {
        let what = format!("textbook statement on {MANY_SETS} sets, no HTTP (pgbench)");
        rows.add(&what, TEXTBOOK_CONNECTIONS, textbook, None);
    }
    for (index, clients) in MANY_CLIENTS.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.many[index]);
        rows.add(
            &format!("assign, {MANY_SETS} sets"),
            clients,
            &outcome,
            None,
        );
    }
    let redis = figures.median_if_run(|round| round.redis.as_ref());
    if let Some(redis) = &redis {
        rows.add(
            "Redis: LPOP, appendfsync always",
            REFERENCE_CLIENTS,
            redis,
            None,
        );
    }
}

/// Ratios between the compared variants.
fn ratios(figures: &Figures<'_>) -> String {
    let reference = CLIENTS
        .iter()
        .position(|clients| *clients == REFERENCE_CLIENTS);
    let reference = reference.unwrap_or(0);
    let single = figures.median(|round| &round.assign[reference]);
    let textbook = figures.median(|round| &round.textbook);
    let insert = figures.median(|round| &round.insert);
    let cold = figures.median_of_all(|round| &round.cold);
    let beside = figures.median_of_all(|round| &round.cold_beside_hot);
    let mut text = String::new();
    let compared = |what: &str, ratio: f64| format!("{what}: {} times.\n", times(ratio));
    text.push_str(&compared(
        &format!("Assign at {REFERENCE_CLIENTS} clients over the textbook statement"),
        single.rate / textbook.rate,
    ));
    let alone = figures.median(|round| &round.assign[0]);
    for (index, (items, clients)) in BATCHES.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.batches[index]);
        // Compared at the same number of clients, and with clients whose requests share calls.
        for (place, others) in CLIENTS.into_iter().enumerate() {
            if others == clients || others == REFERENCE_CLIENTS && clients > 1 {
                let single = figures.median(|round| &round.assign[place]);
                text.push_str(&compared(
                    &format!(
                        "Batches of {items} by {clients} clients over single assignments by {others}"
                    ),
                    outcome.rate / single.rate,
                ));
            }
        }
    }
    if let Some(textbook) = figures.median_if_run(|round| round.many_textbook.as_ref()) {
        for (index, clients) in MANY_CLIENTS.into_iter().enumerate() {
            let many = figures.median(|round| &round.many[index]);
            text.push_str(&compared(
                &format!(
                    "{MANY_SETS} sets at {clients} clients over the textbook statement on as many"
                ),
                many.rate / textbook.rate,
            ));
        }
    }
    text.push_str(&compared(
        "Time of an assignment at 1 client over that of an insert",
        alone.p50 / insert.p50,
    ));
    text.push_str(&compared(
        "p99 of the cold sets beside a hot one over that without",
        beside.p99 / cold.p99,
    ));
    match figures.median_if_run(|round| round.redis.as_ref()) {
        Some(redis) => text.push_str(&compared(
            &format!("Assign at {REFERENCE_CLIENTS} clients over Redis"),
            single.rate / redis.rate,
        )),
        None => text.push_str("Redis is not installed and was left out.\n"),
    }
    for (what, outcome) in [
        (
            "An exhausted set's refusals",
            figures.median(|round| &round.exhausted),
        ),
        (
            "An exhausted set with a child",
            figures.median(|round| &round.fallback),
        ),
    ] {
        text.push_str(&compared(
            &format!("{what} over a full set's answers at {REFERENCE_CLIENTS} clients"),
            outcome.rate / single.rate,
        ));
    }
    text
}

/// Conditions under which the figures were measured.
fn settings(plan: &Plan) -> String {
    let seconds = |span: crate::support::load::TimeRange| span.measured.as_secs();
    format!(
        "\nMedians of {} rounds, in each of which everything was run once, and the cold sets {} times without and with the hot \
         one by turns, one after the other, on fresh tables and sets of {} codes. Seconds of a run after its warm-up: textbook {}, assign {}, nothing {}, open loop {}, batches {}, \
         exhausted {}, insert {}, cold sets {}, many sets {}. Each of the many sets has {} codes. The service ran in the process of the clients, on a runtime of its own; the clients are one thread \
         that shares the processors. Every contact is a new one, every answer was checked, and no code came twice. \
         Rates of batches count codes, their times are of whole requests. The open loop counts latency from when a \
         request was due.\n",
        plan.rounds,
        plan.turns,
        whole(float(plan.codes)),
        seconds(plan.textbook),
        seconds(plan.assign),
        seconds(plan.nothing),
        seconds(plan.open),
        seconds(plan.batch),
        seconds(plan.exhausted),
        seconds(plan.insert),
        seconds(plan.cold),
        seconds(plan.many),
        whole(float(plan.many_codes)),
    )
}

/// Empty if the time was not measured.
fn millis(seconds: f64) -> String {
    if seconds.is_nan() {
        return String::new();
    }
    format!("{:.2} ms", seconds * 1000.0)
}
