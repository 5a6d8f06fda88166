//! `couponry tenant` and `couponry key`.

use rustix::process::Signal;
use serde_json::json;

use super::{Terminal, outcome};
use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::program::{
    Service, couponry, folder, folder_with_cluster, lock_is_free, until,
};

#[tokio::test]
async fn a_key_that_was_created_before_the_service_runs_works_when_it_does() {
    let terminal = Terminal::open().await;
    let tenant = terminal
        .run(&["tenant", "create", "Flower shop", "--json"])
        .json();
    assert_eq!(tenant["state"], "active");
    let id = tenant["id"].as_str().expect("an id");
    let create = [
        "key",
        "create",
        "--tenant",
        id,
        "--name",
        "engine",
        "--scopes",
        "coupon-sets:read,assignments:write",
        "--json",
    ];
    let issued = terminal.run(&create).json();
    assert_eq!(
        issued["scopes"],
        json!(["assignments:write", "coupon-sets:read"])
    );
    let key = issued["key"].as_str().expect("a key");

    let mut serve = terminal.command(&[]);
    serve.env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let service = Service::start(terminal.folder.path(), &mut serve);
    service.client(key).get("/v1/coupon-sets").expect(200);
    service.client(key).get("/v1/imports").expect(403);
    let listed = service
        .client(OPERATOR_TOKEN)
        .get("/admin/v1/tenants")
        .expect(200);
    assert_eq!(listed.body["results"], json!([tenant]));

    // A running replica follows within a second.
    let revoked = terminal.run(&[
        "key",
        "revoke",
        "--tenant",
        id,
        issued["id"].as_str().expect("an id"),
    ]);
    assert!(revoked.success, "{}", revoked.complaint);
    until("the key is refused", || {
        (service.client(key).get("/v1/coupon-sets").status == 401).then_some(())
    });
    let keys = terminal
        .run(&["key", "list", "--tenant", id, "--json"])
        .json();
    assert_eq!(keys[0]["id"], issued["id"]);
    assert!(
        keys[0]["revokedAt"].is_string() && keys[0]["key"].is_null(),
        "{keys}"
    );
}

#[tokio::test]
async fn a_tenant_is_renamed_suspended_and_resumed() {
    let terminal = Terminal::open().await;
    let shop = terminal
        .run(&["tenant", "create", "Flower shop", "--json"])
        .json();
    let other = terminal
        .run(&["tenant", "create", "Shoe shop", "--json"])
        .json();
    let id = shop["id"].as_str().expect("an id");
    for (arguments, name, state) in [
        (&["rename", id, "Florist"][..], "Florist", "active"),
        (&["suspend", id], "Florist", "suspended"),
        (&["resume", id], "Florist", "active"),
    ] {
        let command = [&["tenant", "--json"], arguments].concat();
        let changed = terminal.run(&command).json();
        assert_eq!(
            (&changed["name"], &changed["state"]),
            (&name.into(), &state.into())
        );
        let listed = terminal.run(&["tenant", "list", "--json"]).json();
        assert_eq!(listed, json!([changed, other]));
    }
    let text = terminal.run(&["tenant", "list"]).printed;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("{id}  active     Florist"));
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn the_commands_refuse_what_the_api_refuses() {
    let terminal = Terminal::open().await;
    let shop = terminal.run(&["tenant", "create", "Shop", "--json"]).json();
    let id = shop["id"].as_str().expect("an id");
    let nobody = "01955000-0000-7000-8000-000000000001";
    let key = |tenant, name, scopes| {
        vec![
            "key", "create", "--tenant", tenant, "--name", name, "--scopes", scopes,
        ]
    };
    for (arguments, refusal) in [
        (
            vec!["tenant", "create", " "],
            "name: This must not be empty.",
        ),
        (
            vec!["tenant", "rename", id, ""],
            "name: This must not be empty.",
        ),
        (
            vec!["tenant", "suspend", nobody],
            "The tenant does not exist.",
        ),
        (
            key(id, "engine", "everything"),
            "scopes: This must be a list of scopes.",
        ),
        (key(id, "", "*"), "name: This must not be empty."),
        (key(nobody, "engine", "*"), "The tenant does not exist."),
        (
            vec!["key", "list", "--tenant", nobody],
            "The tenant does not exist.",
        ),
        (
            vec!["key", "revoke", "--tenant", id, nobody],
            "The API key does not exist.",
        ),
    ] {
        let outcome = terminal.run(&arguments);
        assert!(outcome.refusal().contains(refusal), "{}", outcome.complaint);
    }
    let listed = terminal.run(&["tenant", "list", "--json"]).json();
    assert_eq!(listed, json!([shop]));
}

#[tokio::test]
async fn a_database_without_tables_is_answered_with_the_command_that_makes_them() {
    let terminal = Terminal::open().await;
    let empty = TestDatabase::with("").await;
    let mut list = terminal.command(&["tenant", "list"]);
    list.env("DATABASE_URL", empty.url());
    let outcome = outcome(list);
    assert!(
        outcome.refusal().contains("run `couponry migrate`"),
        "{}",
        outcome.complaint
    );
}

#[test]
fn the_embedded_database_is_used_whether_its_service_runs_or_not() {
    let folder = folder_with_cluster();
    let run = |arguments: &[&str]| {
        let mut command = couponry(folder.path());
        command
            .env("TMPDIR", folder.path())
            .env("COUPONRY_IMPORT_MAX_BYTES", "1000000")
            .args(arguments);
        outcome(command)
    };
    let service = Service::start(folder.path(), &mut couponry(folder.path()));
    let running = run(&["tenant", "create", "Running", "--json"]).json();
    assert!(service.stop(Signal::TERM).success());

    let stopped = run(&["tenant", "create", "Stopped", "--json"]).json();
    let listed = run(&["tenant", "list", "--json"]).json();
    assert_eq!(listed[0]["name"], "Demo");
    assert_eq!((&listed[1], &listed[2]), (&running, &stopped));
    assert_eq!(run(&["doctor"]).printed, "No fault found.\n");
    assert!(lock_is_free(&folder.path().join("pg")));
}

#[test]
fn without_any_database_a_command_says_how_to_get_one() {
    let folder = folder();
    let dir = folder.path().join("data");
    let mut command = couponry(&dir);
    command.args(["tenant", "list"]);
    let outcome = outcome(command);
    assert!(
        outcome.refusal().contains("set DATABASE_URL"),
        "{}",
        outcome.complaint
    );
    assert!(!dir.exists());
}
