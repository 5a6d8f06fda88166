//! Settings: faults, secrets in files, and the list of those in effect.

use std::process::Command;

use serde_json::{Value, json};

use super::{Terminal, outcome};
use crate::support::program::{Service, couponry, folder};

const TOKEN: &str = "a-token-of-16-chars-or-more";

/// The setting of this variable in the output of `couponry config --json`.
fn setting(settings: &Value, variable: &str) -> Value {
    let settings = settings.as_array().expect("a list");
    let mut found = settings
        .iter()
        .filter(|setting| setting["variable"] == variable);
    let setting = found.next().unwrap_or_else(|| panic!("no {variable}"));
    json!([setting["value"], setting["source"]])
}

#[test]
fn all_faults_of_the_settings_are_reported_at_once() {
    let folder = folder();
    let mut serve = couponry(folder.path());
    serve
        .env("DATABASE_URL", "postgres://user:hidden@host:port/database")
        .env("COUPONRY_OPERATOR_TOKEN", "hidden")
        .env("COUPONRY_RATE_LIMIT", "many")
        .env("COUPONRY_PULL_PRIVATE", "perhaps")
        .env("COUPONRY_CA_FILE", "/no/such/file.pem")
        .env("COUPONRY_LOG", "couponry=loud")
        .env("TMPDIR", "/no/such/folder")
        .args(["--request-connections", "1"]);
    let outcome = outcome(serve);
    let complaint = outcome.refusal();
    for setting in [
        "DATABASE_URL is not valid",
        "COUPONRY_OPERATOR_TOKEN must have at least 16 characters",
        "COUPONRY_RATE_LIMIT is not valid",
        "COUPONRY_PULL_PRIVATE is not valid",
        "COUPONRY_CA_FILE is not valid",
        "COUPONRY_LOG is not valid",
        "COUPONRY_REQUEST_CONNECTIONS is not valid",
        "TMPDIR /no/such/folder",
    ] {
        assert!(complaint.contains(setting), "{setting}: {complaint}");
    }
    assert!(complaint.contains("8 settings"), "{complaint}");
    assert!(!complaint.contains("hidden"), "{complaint}");
}

#[tokio::test]
async fn secrets_are_read_from_files() {
    let terminal = Terminal::open().await;
    let url = terminal.file("url", &format!("{}\n", terminal.database.url()));
    let token = terminal.file("token", &format!("{TOKEN}\n"));
    let mut serve = couponry(&terminal.folder.path().join("data"));
    serve
        .env("DATABASE_URL_FILE", url)
        .env("COUPONRY_OPERATOR_TOKEN_FILE", token)
        // As a compose file sets what it does not know.
        .env("DATABASE_URL", "");
    let service = Service::start(terminal.folder.path(), &mut serve);
    service.client(TOKEN).get("/admin/v1/tenants").expect(200);
}

#[test]
fn an_empty_path_counts_as_unset() {
    let folder = folder();
    let mut command = couponry(folder.path());
    let variables = [
        "COUPONRY_WITNESS_DIR",
        "COUPONRY_PG_BIN_DIR",
        "COUPONRY_CA_FILE",
        "DATABASE_URL_FILE",
        "COUPONRY_OPERATOR_TOKEN_FILE",
    ];
    command
        .envs(variables.map(|variable| (variable, "")))
        .args(["config", "--json"]);
    let settings = outcome(command).json();
    for variable in variables {
        let unset = json!([null, "default"]);
        assert_eq!(setting(&settings, variable), unset, "{variable}");
    }
    // Which is refused without the setting.
    let mut restored = couponry(folder.path());
    restored
        .env("COUPONRY_WITNESS_DIR", "")
        .args(["doctor", "--after-restore"]);
    let refused = outcome(restored);
    let complaint = refused.refusal();
    assert!(
        complaint.contains("COUPONRY_WITNESS_DIR is not set"),
        "{complaint}"
    );
}

#[test]
fn a_secret_that_is_given_twice_or_in_an_unreadable_file_is_a_fault() {
    let folder = folder();
    let file = folder.path().join("url");
    std::fs::write(&file, "postgres://a@localhost/b").expect("the folder is ours");
    let complaint = |settings: &[(&str, &str)]| {
        let mut command = couponry(folder.path());
        command
            .envs(settings.iter().copied())
            .args(["tenant", "list"]);
        outcome(command).refusal().to_owned()
    };
    let file = file.to_str().expect("text");
    let both = complaint(&[
        ("DATABASE_URL", "postgres://hidden@localhost/b"),
        ("DATABASE_URL_FILE", file),
    ]);
    assert!(
        both.contains("DATABASE_URL and DATABASE_URL_FILE are both set"),
        "{both}"
    );
    assert!(!both.contains("hidden"), "{both}");
    let missing = complaint(&[("COUPONRY_OPERATOR_TOKEN_FILE", "/no/such/file")]);
    assert!(
        missing.contains("COUPONRY_OPERATOR_TOKEN_FILE names /no/such/file"),
        "{missing}"
    );
}

#[test]
fn the_settings_in_effect_are_printed_with_their_sources_and_without_secrets() {
    let folder = folder();
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).expect("the folder is ours");
    let command = |arguments: &[&str]| {
        let mut command = couponry(folder.path());
        command
            .env(
                "DATABASE_URL",
                "postgres://user:hidden@db.example.com/shop?password=hidden&sslmode=require",
            )
            .env("COUPONRY_OPERATOR_TOKEN_FILE", &token)
            .env("COUPONRY_PULL_PRIVATE", "true")
            .args(["config", "--rate-limit", "7"])
            .args(arguments);
        command
    };
    let settings = outcome(command(&["--json"])).json();
    for (variable, value, source) in [
        ("COUPONRY_OPERATOR_TOKEN", json!("***"), "file"),
        (
            "COUPONRY_OPERATOR_TOKEN_FILE",
            json!(token.to_str()),
            "environment",
        ),
        ("COUPONRY_PULL_PRIVATE", json!("true"), "environment"),
        ("COUPONRY_RATE_LIMIT", json!("7"), "command line"),
        ("COUPONRY_RATE_BURST", json!("1000"), "default"),
        ("COUPONRY_PULL_HOSTS", json!(null), "default"),
    ] {
        assert_eq!(
            setting(&settings, variable),
            json!([value, source]),
            "{variable}"
        );
    }
    let url = &setting(&settings, "DATABASE_URL")[0];
    let url = url.as_str().expect("text");
    assert!(
        url.starts_with("postgres://user:***@db.example.com/shop?"),
        "{url}"
    );
    assert!(url.contains("sslmode=require"), "{url}");
    let text = outcome(command(&[])).printed;
    assert!(
        text.contains("COUPONRY_RATE_LIMIT=7  (command line)"),
        "{text}"
    );
    for printed in [settings.to_string(), text] {
        assert!(
            !printed.contains("hidden") && !printed.contains(TOKEN),
            "{printed}"
        );
    }
}

#[test]
fn the_completions_of_each_shell_know_the_commands() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish"] {
        let mut command = couponry(folder.path());
        command.args(["completions", shell]);
        // Faults of the service's settings do not matter to it.
        command.env("COUPONRY_OPERATOR_TOKEN", "short");
        let printed = outcome(command).printed;
        for name in ["doctor", "apply", "dry-run"] {
            assert!(printed.contains(name), "{shell}: {name}");
        }
    }
    let mut bash = Command::new("bash");
    let mut completions = couponry(folder.path());
    completions.args(["completions", "bash"]);
    // In a file, because it is longer than an argument may be.
    let script = folder.path().join("completions");
    std::fs::write(&script, outcome(completions).printed).unwrap();
    let status = bash.arg("-n").arg(&script).status();
    assert!(status.expect("bash is installed").success());
}
