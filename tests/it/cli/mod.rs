//! The commands that act on the database, and the settings that all commands share.

mod apply;
mod config;
mod deletion;
mod tenants;
mod transfer;

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::database::TestDatabase;
use crate::support::program::{couponry, folder};

/// The result of a command.
struct Outcome {
    success: bool,
    printed: String,
    complaint: String,
}

/// Runs a command to its end.
fn outcome(mut command: Command) -> Outcome {
    let output = command.output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Outcome {
        success: output.status.success(),
        printed: text(output.stdout),
        complaint: text(output.stderr),
    }
}

impl Outcome {
    /// The document that a successful command printed.
    #[track_caller]
    fn json(&self) -> Value {
        assert!(self.success, "{}", self.complaint);
        serde_json::from_str(&self.printed).expect("JSON")
    }

    /// What a failed command complained about. It has printed nothing.
    #[track_caller]
    fn refusal(&self) -> &str {
        assert!(!self.success, "{}", self.printed);
        assert_eq!(self.printed, "");
        &self.complaint
    }
}

/// A terminal with a database and without a service.
struct Terminal {
    folder: TempDir,
    database: TestDatabase,
}

impl Terminal {
    async fn open() -> Self {
        Self::on(TestDatabase::create().await)
    }

    fn on(database: TestDatabase) -> Self {
        Self {
            folder: folder(),
            database,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = couponry(&self.folder.path().join("data"));
        command
            .env("DATABASE_URL", self.database.url())
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments))
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.to_str().expect("text").to_owned()
    }
}
