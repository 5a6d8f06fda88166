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

/// Number of histories that are played at a time. Each has a tenant and sets of its own, and all share the lanes of one
/// replica, so a call serves sets of several tenants.
const PLAYERS: u32 = 12;
/// Number of histories of each player, in the normal and in the long run.
const CASES: u32 = 7;
const MANY_CASES: u32 = 350;

/// Plays histories on one database.
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
    let faults: Vec<String> = std::thread::scope(|scope| {
        let players: Vec<_> = (0..PLAYERS).map(|_| scope.spawn(|| play(&app))).collect();
        let played = players
            .into_iter()
            .map(|player| player.join().expect("the player"));
        played
            .filter_map(|played| played.err().map(|error| error.to_string()))
            .collect()
    });
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
