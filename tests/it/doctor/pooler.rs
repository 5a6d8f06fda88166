//! Poolers between the service and its database.

use super::patient::Patient;
use crate::support::database::url;
use crate::support::pooler::Pooler;

#[tokio::test]
async fn poolers_that_lose_transactions_or_statements_are_found() {
    let patient = Patient::healthy().await;
    let login = patient.login.trim_matches('"');
    let direct = patient.database.options.clone().username(login);
    let start = |mode| {
        let socket = direct.get_socket().expect("a socket");
        let pooler = Pooler::with_mode(mode, socket, &[login]);
        let url = url(&pooler.options(&direct));
        (pooler, url)
    };
    let (_pooler, pooled) = start("statement");
    let found = patient.finding(&[("DATABASE_URL", &pooled)]);
    assert_eq!(found.name, "fault pooler", "{}", found.what);
    assert!(
        found.fix.contains("pool_mode = transaction"),
        "{}",
        found.fix
    );

    let (_pooler, pooled) = start("transaction");
    let found = patient.finding(&[("DATABASE_URL", &pooled)]);
    assert_eq!(found.name, "fault pooler", "{}", found.what);
    assert!(found.fix.contains("COUPONRY_POOLER=true"), "{}", found.fix);
    let found = patient.finding(&[("DATABASE_URL", &pooled), ("COUPONRY_POOLER", "true")]);
    assert_eq!(found.name, "note pooler", "{}", found.what);

    let (_pooler, pooled) = start("session");
    let (success, report) = patient.report(&[("DATABASE_URL", &pooled)]);
    assert!(success);
    assert_eq!(report["findings"], serde_json::json!([]));
}
