//! The dashboard in a real browser: Node runs `tests/browser` against a service with its own database.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::process::Process;
use crate::support::program::command;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser");

/// The oldest version of Node that can run the tests.
const OLDEST_NODE: u32 = 20;

#[tokio::test]
async fn the_dashboard_works_in_a_real_browser() {
    if let Some(reason) = lack() {
        assert!(!is_required(), "{reason}");
        return eprintln!("skipped: {reason}");
    }
    let database = TestDatabase::create().await;
    let service = Process::start_with(&database, &[("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)]);
    let mut node = node();
    node.args(["--test", "--test-concurrency=3", "--test-reporter=spec"])
        .env("COUPONRY_URL", format!("http://{}", service.address()))
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let Output { status, stdout, .. } = node.output().expect("it was there a moment ago");
    // Includes measurements, and tests skipped for lack of a browser.
    eprintln!("{}", String::from_utf8_lossy(&stdout));
    assert!(status.success(), "see above");
}

/// The reason why Node cannot run the tests. The tests themselves detect a missing browser.
fn lack() -> Option<String> {
    let version = match node().arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => return Some(format!("Node cannot be started: {error}")),
    };
    let major = version.trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()) < Some(OLDEST_NODE) {
        return Some(format!("Node is older than {OLDEST_NODE}: {version}"));
    }
    let modules = Path::new(TESTS).join("node_modules");
    (!modules.exists()).then(|| format!("run `npm ci --prefix {TESTS}` first"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the browser is, for the programs that are run"
)]
fn node() -> Command {
    let mut node = command("node");
    node.current_dir(TESTS);
    for name in ["CHROMIUM", "REQUIRE_BROWSER"] {
        if let Some(value) = std::env::var_os(name) {
            node.env(name, value);
        }
    }
    node
}

#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the tests, not of the service"
)]
fn is_required() -> bool {
    std::env::var_os("REQUIRE_BROWSER").is_some_and(|value| value == "1")
}
