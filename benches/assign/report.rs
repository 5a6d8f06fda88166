//! The figures in Markdown, as the README shows them.

use std::path::Path;

use crate::load::Outcome;
use crate::support::table::{Table, times, whole};
use crate::support::{float, machine, median};
use crate::{BAR, BATCH_CLIENTS, BATCHES, CLIENTS, OPEN_SHARE, Plan, Round, TEXTBOOK_CONNECTIONS};

/// Medians over the rounds.
struct Figures<'a> {
    rounds: &'a [Round],
}

impl Figures<'_> {
    fn median(&self, of: impl Fn(&Round) -> &Outcome) -> Outcome {
        let median = |figure: &dyn Fn(&Outcome) -> f64| {
            median(self.rounds.iter().map(|round| figure(of(round))))
        };
        Outcome {
            rate: median(&|outcome| outcome.rate),
            p50: median(&|outcome| outcome.p50),
            p99: median(&|outcome| outcome.p99),
            cpu: [0, 1, 2].map(|part| median(&|outcome| outcome.cpu[part])),
        }
    }
}

pub fn render(plan: &Plan, version: &str, data: &Path, rounds: &[Round]) -> String {
    let figures = Figures { rounds };
    let textbook = figures.median(|round| &round.textbook);
    let bar = CLIENTS.iter().position(|clients| *clients == BAR);
    let bar = bar.unwrap_or(0);
    let single = figures.median(|round| &round.assign[bar]);

    let mut table = Table::new(&[
        "",
        "clients",
        "a second",
        "p50",
        "p99",
        "× textbook",
        "× nothing",
        "CPU µs: clients + service + PostgreSQL",
    ]);
    let mut row = |what: &str, clients: usize, outcome: &Outcome, nothing: Option<f64>| {
        let [driver, service, postgresql] = outcome.cpu.map(|seconds| whole(seconds * 1e6));
        table.row(&[
            what.to_owned(),
            clients.to_string(),
            whole(outcome.rate),
            millis(outcome.p50),
            millis(outcome.p99),
            times(outcome.rate / textbook.rate),
            nothing.map_or(String::new(), |nothing| times(outcome.rate / nothing)),
            format!("{driver} + {service} + {postgresql}"),
        ]);
    };

    row(
        "textbook statement, no HTTP",
        TEXTBOOK_CONNECTIONS,
        &textbook,
        None,
    );
    for (index, clients) in CLIENTS.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.nothing[index]);
        row("endpoint that does nothing", clients, &outcome, None);
    }
    for (index, clients) in CLIENTS.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.assign[index]);
        let nothing = figures.median(|round| &round.nothing[index]);
        row("assign", clients, &outcome, Some(nothing.rate));
    }
    let outcome = figures.median(|round| &round.open);
    let what = format!("assign, open loop at {OPEN_SHARE} of that rate");
    row(&what, BAR, &outcome, None);
    for (index, items) in BATCHES.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.batches[index]);
        let what = format!("assign in batches of {items}");
        row(&what, BATCH_CLIENTS, &outcome, None);
    }
    row(
        "exhausted set, refused (409)",
        BAR,
        &figures.median(|round| &round.exhausted),
        None,
    );
    row(
        "exhausted set, served by its child",
        BAR,
        &figures.median(|round| &round.fallback),
        None,
    );

    let mut text = format!(
        "\n`cargo bench --bench assign` on {}; PostgreSQL {version}, fsync on.\n\n{table}\n",
        machine::describe(data)
    );
    let compared = |what: &str, ratio: f64| format!("{what}: {} times.\n", times(ratio));
    text.push_str(&compared(
        &format!("Assign at {BAR} clients over the textbook statement"),
        single.rate / textbook.rate,
    ));
    for (index, items) in BATCHES.into_iter().enumerate() {
        let outcome = figures.median(|round| &round.batches[index]);
        text.push_str(&compared(
            &format!("Batches of {items} over single assignments at {BAR} clients"),
            outcome.rate / single.rate,
        ));
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
            &format!("{what} over a full set's answers at {BAR} clients"),
            outcome.rate / single.rate,
        ));
    }
    text.push_str(&settings(plan));
    text
}

/// How the figures came about.
fn settings(plan: &Plan) -> String {
    let seconds = |span: crate::load::Span| span.measured.as_secs();
    format!(
        "\nMedians of {} rounds, in each of which everything was run once, one after the other, on fresh tables and sets \
         of {} codes. Seconds of a run after its warm-up: textbook {}, assign {}, nothing {}, open loop {}, batches {}, \
         exhausted {}. The service ran in the process of the clients, on a runtime of its own; the clients are one thread \
         that shares the processors. Every contact is a new one, every answer was checked, and no code came twice. \
         Rates of batches count codes, their times are of whole requests. The open loop counts latency from when a \
         request was due.\n",
        plan.rounds,
        whole(float(plan.codes)),
        seconds(plan.textbook),
        seconds(plan.assign),
        seconds(plan.nothing),
        seconds(plan.open),
        seconds(plan.batch),
        seconds(plan.exhausted),
    )
}

fn millis(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1000.0)
}
