//! Random histories against a small model of assignment: `reference` computes the expected result of each step, `run`
//! compares.
//!
//! A failing history is printed as a list of steps, shrunk as far as possible. Such histories become tests in `regressions`.

mod assigning;
mod client;
mod crowd;
mod events;
mod history;
mod merging;
mod reference;
mod regressions;
mod run;
mod withdrawing;

use std::sync::Arc;

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

use crate::support::TestApp;
use crate::support::ledger::check_ledger;
use history::histories;

/// Number of histories in the normal and in the long run, for each of two threads.
const CASES: u32 = 40;
const MANY_CASES: u32 = 2_000;

/// Plays histories on one database, two at a time.
fn play_histories(cases: u32) {
    let runtime = Runtime::new().expect("a runtime");
    let app = Arc::new(runtime.block_on(TestApp::start()));
    let play = |app: &TestApp| {
        // Failures are not saved to a file: a failing history becomes a test in `regressions`.
        let mut runner = TestRunner::new(Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 600,
            max_shrink_time: 120_000,
            ..Config::default()
        });
        runner.run(&histories(), |history| {
            let played = runtime.block_on(run::play(app, &history));
            played.map_err(TestCaseError::fail)
        })
    };
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| play(&app));
        let other = play(&app);
        (one.join().expect("the other player"), other)
    });
    let faults: Vec<String> = [one, other]
        .into_iter()
        .filter_map(|played| played.err().map(|error| error.to_string()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    runtime.block_on(check_ledger(&app));
}

#[test]
fn the_hand_out_does_what_the_model_says() {
    play_histories(CASES);
}

#[test]
#[ignore = "takes many minutes"]
fn the_hand_out_does_what_the_model_says_for_a_long_time() {
    play_histories(MANY_CASES);
}
