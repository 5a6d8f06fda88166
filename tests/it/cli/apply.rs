//! `couponry apply`.

use serde_json::{Value, json};

use super::{Outcome, Terminal};
use crate::support::TestApp;

impl Terminal {
    fn apply(&self, file: &str, options: &[&str]) -> Outcome {
        self.run(&[&["apply", file, "--json"], options].concat())
    }

    /// A key as `couponry key generate` prints it.
    fn generate(&self) -> Value {
        self.run(&["key", "generate", "--json"]).json()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// A file with one tenant, one key and one webhook.
fn file(key: &Value, scopes: &str, state: &str) -> String {
    let (id, hash) = (text(&key["id"]), text(&key["secretHash"]));
    format!(
        "tenants:
  - name: Flower shop
    state: {state}
    rateLimit: {{perSecond: 500, burst: 1000}}
    keys:
      - id: {id}
        name: engine
        secretHash: {hash}
        scopes: [{scopes}]
    webhooks:
      - url: https://hooks.example.com/couponry
        eventTypes: [coupon.assigned]
        description: Mails
"
    )
}

/// Action, kind and changed fields of each change.
fn changes(report: &Value) -> Vec<String> {
    let changes = report["changes"].as_array().expect("a list");
    let line = |change: &Value| {
        let fields = change["fields"].as_array();
        let fields = fields
            .into_iter()
            .flatten()
            .map(|field| format!(" {}", text(field)));
        let (action, kind) = (text(&change["action"]), text(&change["kind"]));
        format!("{action} {kind}{}", fields.collect::<String>())
    };
    changes.iter().map(line).collect()
}

#[tokio::test]
async fn a_file_is_applied_once_and_applying_it_again_changes_nothing() {
    let terminal = Terminal::open().await;
    let key = terminal.generate();
    let path = terminal.file(
        "shops.yaml",
        &file(&key, "coupon-sets:read, webhooks:read", "active"),
    );
    let created = ["create tenant", "create key", "create webhook"];

    let dry_run = terminal.apply(&path, &["--dry-run"]).json();
    assert_eq!(changes(&dry_run), created);
    assert_eq!(dry_run["dryRun"], true);
    assert_eq!(
        terminal.run(&["tenant", "list", "--json"]).json(),
        json!([])
    );

    let applied = terminal.apply(&path, &[]).json();
    assert_eq!(changes(&applied), created);
    let secret = text(&applied["changes"][2]["secret"]);
    assert!(secret.starts_with("whsec_"), "{applied}");
    let again = terminal.apply(&path, &[]).json();
    assert_eq!(again, json!({"dryRun": false, "changes": []}));

    let app = TestApp::on(terminal.database.shared());
    let client = app.with_key(text(&key["key"]));
    client.get("/v1/coupon-sets").await.expect(200);
    let webhooks = client.get("/v1/webhooks").await.expect(200);
    let webhook = &webhooks.results()[0];
    assert_eq!(webhook["url"], "https://hooks.example.com/couponry");
    assert_eq!(webhook["eventTypes"], json!(["coupon.assigned"]));
    assert_eq!(webhook["description"], "Mails");
    assert_eq!(webhooks.results().len(), 1);
}

#[tokio::test]
async fn what_differs_from_the_file_is_changed_and_everything_else_is_left_alone() {
    let terminal = Terminal::open().await;
    let key = terminal.generate();
    let first = terminal.file("first.yaml", &file(&key, "webhooks:read", "active"));
    terminal.apply(&first, &[]).json();
    let id = terminal.run(&["tenant", "list", "--json"]).json()[0]["id"].clone();
    let other = [
        "key",
        "create",
        "--tenant",
        text(&id),
        "--name",
        "other",
        "--scopes",
        "webhooks:read",
        "--json",
    ];
    let other = terminal.run(&other).json();

    // The same file as JSON, with other values.
    let second = json!({"tenants": [{
        "name": "Flower shop",
        "rateLimit": null,
        "keys": [{
            "id": key["id"], "name": "engine 2", "secretHash": key["secretHash"], "scopes": ["coupon-sets:read", "webhooks:read"],
        }],
        "webhooks": [{
            "url": "https://hooks.example.com/couponry",
            "eventTypes": ["coupon.assigned", "import.finished"],
            "state": "disabled",
            "maxBatch": 10,
        }],
    }]});
    let second = terminal.file(
        "second.json",
        &serde_json::to_string_pretty(&second).expect("JSON"),
    );
    let expected = [
        "update tenant rateLimit",
        "update key name scopes",
        "update webhook eventTypes maxBatch state",
    ];
    let dry_run = terminal.apply(&second, &["--dry-run"]).json();
    assert_eq!(changes(&dry_run), expected);
    let applied = terminal.apply(&second, &[]).json();
    assert_eq!(changes(&applied), expected);
    assert_eq!(
        changes(&terminal.apply(&second, &[]).json()),
        Vec::<String>::new()
    );

    let app = TestApp::on(terminal.database.shared());
    let client = app.with_key(text(&key["key"]));
    client.get("/v1/coupon-sets").await.expect(200);
    let webhooks = client.get("/v1/webhooks").await.expect(200);
    let webhook = &webhooks.results()[0];
    assert_eq!(
        (&webhook["state"], &webhook["maxBatch"]),
        (&"disabled".into(), &10.into())
    );
    // The file does not name it.
    assert_eq!(webhook["description"], "Mails");
    let other = app.with_key(text(&other["key"]));
    other.get("/v1/webhooks").await.expect(200);
}

#[tokio::test]
async fn all_faults_of_a_file_are_named_with_their_places_and_nothing_is_changed() {
    let terminal = Terminal::open().await;
    let path = terminal.file(
        "faulty.yaml",
        "tenants:
  - name: Good shop
  - name: ''
    colour: red
    keys:
      - {id: 1, name: a, secretHash: abc, scopes: [nothing]}
    webhooks:
      - {url: 5, eventTypes: [], maxBatch: 1000}
      - just text
tenant: []
",
    );
    let outcome = terminal.apply(&path, &[]);
    for place in [
        "/tenants/1/name: This must not be empty.",
        "/tenants/1/colour: Unknown field.",
        "/tenants/1/keys/0/id: ",
        "/tenants/1/keys/0/secretHash: ",
        "/tenants/1/keys/0/scopes: ",
        "/tenants/1/webhooks/0/url: ",
        "/tenants/1/webhooks/0/eventTypes: ",
        "/tenants/1/webhooks/0/maxBatch: ",
        "/tenants/1/webhooks/1: This must be an object.",
        "/tenant: Unknown field.",
    ] {
        assert!(
            outcome.refusal().contains(place),
            "{place}: {}",
            outcome.complaint
        );
    }
    for (text, place) in [
        ("tenants:\n  - name: a\n    name: b\n", "line 2"),
        ("tenants: [\n", "line 2"),
        ("- name: a\n", "it must be an object"),
        (
            "tenants:\n  - name: a\n    webhooks: [{url: \"http://example.com\", eventTypes: [coupon.assigned]}]\n",
            "tenants/0/webhooks/0/url: Only https URLs are supported.",
        ),
    ] {
        let path = terminal.file("faulty.yaml", text);
        let outcome = terminal.apply(&path, &[]);
        assert!(
            outcome.refusal().contains(place),
            "{place}: {}",
            outcome.complaint
        );
    }
    assert_eq!(
        terminal.run(&["tenant", "list", "--json"]).json(),
        json!([])
    );
}

#[tokio::test]
async fn a_state_that_cannot_be_reached_is_refused_and_takes_the_whole_file_back() {
    let terminal = Terminal::open().await;
    let key = terminal.generate();
    let path = terminal.file("shops.yaml", &file(&key, "webhooks:read", "active"));
    terminal.apply(&path, &[]).json();
    let tenants = terminal.run(&["tenant", "list", "--json"]).json();
    let (id, key_id) = (text(&tenants[0]["id"]), text(&key["id"]));
    let suspended = |key: &Value| file(key, "webhooks:read", "suspended");

    let mut other = key.clone();
    other["secretHash"] = terminal.generate()["secretHash"].clone();
    let of_another = suspended(&key).replace("Flower shop", "Shoe shop");
    let refusals = [
        (suspended(&other), "has another secret"),
        (of_another, "another tenant"),
    ];
    for (text, refusal) in refusals {
        let path = terminal.file("changed.yaml", &text);
        let outcome = terminal.apply(&path, &[]);
        assert!(outcome.refusal().contains(refusal), "{}", outcome.complaint);
        assert!(outcome.complaint.contains(key_id), "{}", outcome.complaint);
    }
    assert!(
        terminal
            .run(&["key", "revoke", "--tenant", id, key_id])
            .success
    );
    let path = terminal.file("changed.yaml", &suspended(&key));
    let outcome = terminal.apply(&path, &[]);
    assert!(
        outcome.refusal().contains("was revoked"),
        "{}",
        outcome.complaint
    );
    // Neither the state nor the new tenant was kept.
    assert_eq!(terminal.run(&["tenant", "list", "--json"]).json(), tenants);

    assert!(terminal.run(&["tenant", "create", "Flower shop"]).success);
    let outcome = terminal.apply(&path, &[]);
    assert!(
        outcome.refusal().contains("Several tenants"),
        "{}",
        outcome.complaint
    );
}

#[tokio::test]
async fn after_a_failure_the_changes_that_were_made_are_printed_with_their_secrets() {
    let terminal = Terminal::open().await;
    let webhooks: Vec<Value> = (0..21)
        .map(|number| json!({"url": format!("https://{number}.example.com/"), "eventTypes": ["coupon.assigned"]}))
        .collect();
    let tenants = json!({"tenants": [{"name": "Shop", "webhooks": webhooks}]});
    let path = terminal.file("shops.json", &tenants.to_string());
    let outcome = terminal.apply(&path, &[]);
    assert!(!outcome.success);
    let refusal = "webhook https://20.example.com/: The tenant already has the maximum of 20";
    assert!(outcome.complaint.contains(refusal), "{}", outcome.complaint);
    let report: Value = serde_json::from_str(&outcome.printed).expect("JSON");
    assert_eq!(changes(&report).len(), 21);
    assert!(text(&report["changes"][20]["secret"]).starts_with("whsec_"));
}
