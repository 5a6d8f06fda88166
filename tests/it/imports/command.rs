//! `couponry import`: uploading files from a terminal.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::support::TestApp;
use crate::support::process::Process;
use crate::support::program::{couponry, folder};
use crate::support::shop::{CouponSet, Shop};

struct Terminal {
    service: Process,
    _app: TestApp,
    shop: Shop,
    set: CouponSet,
    folder: tempfile::TempDir,
}

impl Terminal {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let shop = app.shop().await;
        let set = shop.multiple("Spring", &[]).await;
        Self {
            service: Process::start(&app.database),
            _app: app,
            shop,
            set,
            folder: folder(),
        }
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn import(&self, arguments: &[&str], input: &str) -> (bool, String, String) {
        let set = self.set.id.clone();
        self.run(
            &[&["--set", &set], arguments].concat(),
            &self.shop.key,
            input,
        )
        .await
    }

    async fn run(&self, arguments: &[&str], key: &str, input: &str) -> (bool, String, String) {
        let mut command = couponry(self.folder.path());
        command
            .arg("import")
            .args(arguments)
            .env("COUPONRY_URL", format!("http://{}", self.service.address()))
            .env("COUPONRY_KEY", key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let Output {
            status,
            stdout,
            stderr,
        } = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("the program starts");
            let mut stdin = child.stdin.take().expect("it is piped");
            // A program that reads no input may have ended.
            let _ = stdin.write_all(input.as_bytes());
            drop(stdin);
            child.wait_with_output().expect("the program ends")
        })
        .await
        .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.success(), text(stdout), text(stderr))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_imported_and_its_rejected_rows_are_saved() {
    let terminal = Terminal::open().await;
    let file = terminal.file("codes.csv", "name,secret\nann,A\nbob,B\ncat,A\n");
    let report = terminal.folder.path().join("report.csv");
    let arguments = [
        "--code-column",
        "secret",
        "--errors",
        report.to_str().unwrap(),
        &file,
    ];
    let (success, output, complaint) = terminal.import(&arguments, "").await;
    assert!(success, "{complaint}");
    assert!(
        output.contains("is finished: 3 rows, 2 imported, 1 rejected (1 duplicates)."),
        "{output}"
    );
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("4,A,duplicateInFile"), "{report}");
    assert_eq!(terminal.set.read().await["available"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_input_is_a_file_named_by_a_dash() {
    let terminal = Terminal::open().await;
    let (success, output, complaint) = terminal.import(&["-"], "code\nA\nB\n").await;
    assert!(success, "{complaint}");
    assert!(output.contains("2 rows, 2 imported"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_import_is_printed_as_the_api_returns_it() {
    let terminal = Terminal::open().await;
    let (success, output, complaint) = terminal.import(&["-", "--json"], "code\nA\nA\n").await;
    assert!(success, "{complaint}");
    let printed: serde_json::Value = serde_json::from_str(&output).unwrap();
    let path = format!("/v1/imports/{}", printed["id"].as_str().unwrap());
    let import = terminal.shop.client.get(&path).await.expect(200);
    assert_eq!(printed, import.body);
    assert_eq!(printed["success"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_reported_with_a_failing_exit_code() {
    let terminal = Terminal::open().await;
    let file = terminal.file("codes.csv", "first,second\n1,2\n");
    let (success, output, complaint) = terminal.import(&[&file], "").await;
    assert!(!success && output.is_empty(), "{output}");
    assert!(complaint.contains("codeColumn"), "{complaint}");

    let open = terminal.file("open.csv", "code\nA\n\"B\n");
    let (success, output, complaint) = terminal.import(&[&open], "").await;
    assert!(!success, "{output}");
    assert!(complaint.contains("never closed"), "{complaint}");

    let (success, _, complaint) = terminal.import(&["/there/is/nothing.csv"], "").await;
    assert!(!success);
    assert!(
        complaint.contains("/there/is/nothing.csv cannot be read"),
        "{complaint}"
    );

    let nowhere = ["--set", "01900000-0000-7000-8000-000000000000", &file];
    let (success, _, complaint) = terminal.run(&nowhere, &terminal.shop.key, "").await;
    assert!(!success);
    assert!(
        complaint.contains("The coupon set does not exist."),
        "{complaint}"
    );

    let of_set = ["--set", &terminal.set.id, &file];
    let (success, _, complaint) = terminal.run(&of_set, "cpk_1_2", "").await;
    assert!(!success);
    assert!(complaint.contains("key"), "{complaint}");
    assert!(!complaint.contains("cpk_1_2"), "{complaint}");

    let unreachable = [&of_set[..], &["--url", "http://127.0.0.1:1"]].concat();
    let (success, _, complaint) = terminal.run(&unreachable, &terminal.shop.key, "").await;
    assert!(!success);
    assert!(complaint.contains("is not reachable"), "{complaint}");
    let imports = terminal.shop.client.get("/v1/imports").await.expect(200);
    // The one with the open quote failed after it was stored.
    assert_eq!(imports.results().len(), 1);
    assert_eq!(imports.results()[0]["total"], json!(0));
}
