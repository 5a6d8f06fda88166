//! Metrics, alerts and logs of the real program: the recorder of metrics and the log are those of a process.

mod alerts;
mod logs;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::program::{Client, Service, command, couponry, folder, until};

/// The values of all series, by name and labels as Prometheus writes them.
type Series = BTreeMap<String, f64>;

/// A running program with a listener for metrics.
struct Monitored {
    service: Service,
    metrics: Client,
    _folder: TempDir,
}

impl Monitored {
    async fn start() -> (Self, TestDatabase) {
        let database = TestDatabase::create().await;
        (Self::on(&database.url(), &[]), database)
    }

    fn on(url: &str, settings: &[(&str, &str)]) -> Self {
        let folder = folder();
        let mut command = couponry(folder.path());
        command
            .env("DATABASE_URL", url)
            .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN)
            .env("COUPONRY_WEBHOOK_PRIVATE", "true")
            .env("COUPONRY_METRICS_LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied());
        let service = Service::start(folder.path(), &mut command);
        Self {
            metrics: service.metrics(),
            service,
            _folder: folder,
        }
    }

    fn operator(&self) -> Client {
        self.service.client(OPERATOR_TOKEN)
    }

    /// The response to a scrape.
    fn scrape(&self) -> String {
        let reply = self.metrics.get("/metrics").expect(200);
        let content_type = "content-type: text/plain; version=0.0.4";
        assert!(reply.head.contains(content_type), "{}", reply.head);
        reply.text
    }

    fn series(&self) -> Series {
        series(&self.scrape())
    }

    /// Waits until the value of a series satisfies the condition, and returns all series of that scrape.
    fn wait_for(&self, name: &str, condition: impl Fn(f64) -> bool) -> Series {
        until(&format!("{name} has the value"), || {
            let series = self.series();
            series
                .get(name)
                .copied()
                .filter(|value| condition(*value))?;
            Some(series)
        })
    }
}

fn series(text: &str) -> Series {
    let samples = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

/// The names of the metrics of the service in a text. Those of the parts of a histogram become that of the histogram.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
    let prefixes = ["couponry_", "http_server_"];
    let words = text.split(|char| !is_part(char));
    let words = words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)));
    let suffixes = ["_bucket", "_sum", "_count"];
    let names = words.map(|word| {
        let bare = suffixes.iter().find_map(|suffix| word.strip_suffix(suffix));
        bare.unwrap_or(word).to_owned()
    });
    names.collect()
}

/// An address at which nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    format!("http://{address}/")
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `promtool` with these arguments; `None` if it is not installed and the environment does not require it.
fn promtool(arguments: &[&str]) -> Option<Command> {
    let version = command("promtool")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if let Err(error) = version {
        assert!(!is_required(), "promtool cannot be started: {error}");
        eprintln!("skipped: promtool, of Debian's package prometheus, cannot be started: {error}");
        return None;
    }
    let mut promtool = command("promtool");
    promtool.args(arguments);
    Some(promtool)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the tests, not of the service"
)]
fn is_required() -> bool {
    std::env::var_os("REQUIRE_PROMTOOL").is_some_and(|value| value == "1")
}
