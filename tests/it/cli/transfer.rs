//! Moving a tenant to another server: `couponry tenant export` and `import`.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::Terminal;
use crate::contacts::activity::path;
use crate::properties::tenancy::TwoTenants;
use crate::support::database::TestDatabase;
use crate::support::shop::{CouponSet, Shop};
use crate::support::{TestApp, eventually, sql};

/// The rows of a tenant in each table, without the numbers that differ between servers.
async fn rows(database: &TestDatabase, tenant: &str) -> Vec<(String, Value)> {
    let mut owner = database.owner.acquire().await.unwrap();
    let tables = "select c.relname::text
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
       where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'sessions'
       order by 1";
    let mut contents = Vec::new();
    for table in sql::column::<String>(&mut owner, tables).await {
        let query = format!(
            "select json_agg(r order by r::text)
               from (
                 select to_jsonb(t) - '{{tenant_id, contact_no, merged_into, delivery_no, event_no}}'::text[] as r
                   from {table} t
                  where t.tenant_id = (select tenant_id from tenants where id = '{tenant}')
               ) q"
        );
        contents.push((table, database.query_value(&query).await));
    }
    contents
}

/// Everything that the API returns of a tenant, by path.
async fn answers(shop: &Shop, set: &CouponSet, import: &str) -> Vec<(String, String)> {
    let period = "from=2020-01-01&to=2040-01-01";
    let mut answers = Vec::new();
    for uri in [
        "/v1/coupon-sets".to_owned(),
        set.path(),
        format!("{}/coupons", set.path()),
        format!("{}/statistics?{period}", set.path()),
        format!("/v1/statistics?{period}"),
        "/v1/assignments".to_owned(),
        "/v1/imports".to_owned(),
        format!("/v1/imports/{import}/errors.csv"),
        "/v1/coupons?code=A".to_owned(),
        format!("{}/activity", path("ann")),
        format!("{}/activity", path("ann.old")),
        "/v1/workflows".to_owned(),
        "/v1/webhooks".to_owned(),
    ] {
        let answer = shop.client.get(&uri).await.expect(200);
        answers.push((uri, answer.text));
    }
    answers
}

/// An exported tenant with rows in every table, and what it answered.
struct Exported {
    terminal: Terminal,
    shop: Shop,
    set: CouponSet,
    import: String,
    answers: Vec<(String, String)>,
    rows: Vec<(String, Value)>,
    /// The answer to an idempotency key that was used before.
    replay: String,
    file: String,
}

impl Exported {
    async fn make() -> Self {
        let tenants = TwoTenants::open().await;
        // The second one, whose numbers differ from those of the first one elsewhere.
        let shop = tenants.shops[1].clone();
        let sets = shop.client.get("/v1/coupon-sets").await;
        let set = CouponSet {
            client: shop.client.clone(),
            id: sets.results()[0]["id"].as_str().unwrap().to_owned(),
        };
        let imports = shop.client.get("/v1/imports").await;
        let import = imports.results()[0]["id"].as_str().unwrap().to_owned();
        set.fill(&["D", "E", "F"]).await;
        set.assign_as("ann.old", "key-1").await.expect(201);
        shop.merge("ann.old", "ann").await.expect(200);
        let replay = set.assign_as("ann.old", "key-1").await.expect(200).text;
        // So that the answers do not change while they are compared.
        let webhooks = shop.client.get("/v1/webhooks").await;
        let webhook = webhooks.results()[0]["id"].as_str().unwrap();
        shop.client
            .patch(
                &format!("/v1/webhooks/{webhook}"),
                json!({"state": "disabled"}),
            )
            .await
            .expect(200);
        let database = tenants.app.database.shared();
        eventually("everything is rolled up and erased", async || {
            let left = "select (select count(*) from statistics_tails where rolled_up < number)
                             + (select count(*) from erasures where finished_at is null)";
            (database.query_value(left).await == 0).then_some(())
        })
        .await;
        let answers = answers(&shop, &set, &import).await;
        tenants.app.app.stop().await;

        let rows = rows(&database, &shop.tenant_id).await;
        let terminal = Terminal::on(database);
        let file = terminal.folder.path().join("tenant.gz");
        let file = file.to_str().unwrap().to_owned();
        let export = [
            "tenant",
            "export",
            &shop.tenant_id,
            "--output",
            &file,
            "--json",
        ];
        let exported = terminal.run(&export).json();
        assert_eq!(exported["tenant"]["id"], json!(shop.tenant_id));
        Self {
            terminal,
            shop,
            set,
            import,
            answers,
            rows,
            replay,
            file,
        }
    }

    /// Another server that has a tenant already, so that the numbers differ.
    async fn target(&self) -> Terminal {
        let other = TestApp::start().await;
        let shop = other.shop().await;
        let set = shop.multiple("other", &["A"]).await;
        set.assign("someone").await.expect(201);
        other.app.stop().await;
        Terminal::on(other.database.shared())
    }

    /// The file with another text.
    fn changed(&self, change: impl FnOnce(String) -> String) -> String {
        let mut text = String::new();
        let file = std::fs::File::open(&self.file).unwrap();
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
        let path = format!("{}.changed", self.file);
        let mut packed = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
        packed.write_all(change(text).as_bytes()).unwrap();
        packed.finish().unwrap();
        path
    }
}

#[tokio::test]
async fn an_imported_tenant_has_the_same_rows_and_answers_the_same_with_the_same_key() {
    let exported = Exported::make().await;
    let target = exported.target().await;
    let imported = target
        .run(&["tenant", "import", &exported.file, "--json"])
        .json();
    assert_eq!(imported["tenant"]["id"], json!(exported.shop.tenant_id));
    for ((table, before), (_, after)) in exported
        .rows
        .iter()
        .zip(rows(&target.database, &exported.shop.tenant_id).await)
    {
        assert!(before.is_array(), "{table} has no rows");
        assert_eq!(&after, before, "{table}");
    }

    let app = TestApp::on(target.database.shared());
    let shop = exported.shop.at(&app);
    let set = exported.set.at(&shop);
    let after = answers(&shop, &set, &exported.import).await;
    for ((uri, before), (_, after)) in exported.answers.iter().zip(after) {
        assert_eq!(&after, before, "{uri}");
    }
    let replay = set.assign_as("ann.old", "key-1").await;
    assert_eq!(replay.expect(200).text, exported.replay);
    // The policy repeats the last code of a contact, which is that of the contact that was merged into it.
    let again = set.assign("ann").await.expect(200);
    assert_eq!(again.body["couponCode"], "D");
    let new = set.assign("eve").await.expect(201);
    assert_eq!(new.body["couponCode"], "E");
    set.fill(&["G"]).await;
    let erasure = shop.erase("ann").await.expect(202);
    eventually("the contact is erased", async || {
        let erasure = shop.erase(erasure.str("contactId")).await;
        (erasure.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_tenant_that_exists_and_a_file_that_does_not_fit_are_refused_and_nothing_is_stored() {
    let exported = Exported::make().await;
    let target = exported.target().await;
    let before = target.run(&["tenant", "list"]).printed;
    let other_schema =
        exported.changed(|text| text.replacen("\"migration\":", "\"migration\":9", 1));
    let refused = target.run(&["tenant", "import", &other_schema]);
    assert!(
        refused.refusal().contains("migration 9"),
        "{}",
        refused.complaint
    );
    let cut_off = exported.changed(|text| text.strip_suffix("end\n").unwrap().to_owned());
    let refused = target.run(&["tenant", "import", &cut_off]);
    assert!(!refused.success);
    assert!(
        refused.complaint.contains("not complete"),
        "{}",
        refused.complaint
    );
    assert_eq!(target.run(&["tenant", "list"]).printed, before);

    let refused = exported.terminal.run(&["tenant", "import", &exported.file]);
    assert!(
        refused.refusal().contains("has this tenant already"),
        "{}",
        refused.complaint
    );
    let id = &exported.shop.tenant_id;
    let refused = exported
        .terminal
        .run(&["tenant", "export", id, "--output", &exported.file]);
    assert!(!refused.success, "the file exists");
}

#[tokio::test]
async fn the_ledger_of_a_deleted_set_goes_on_to_be_removed_where_its_tenant_was_moved_to() {
    let app = TestApp::start().await;
    let shop = app.shop().await;
    let set = shop.multiple("old", &["A", "B", "C"]).await;
    for contact in ["ann", "bob"] {
        set.assign(contact).await.expect(201);
    }
    set.delete().await.expect(204);
    eventually("everything is rolled up", async || {
        let left = "select count(*) from statistics_tails where rolled_up < number";
        (app.database.query_value(left).await == 0).then_some(())
    })
    .await;
    let statistics = "/v1/statistics?from=2020-01-01&to=2040-01-01";
    let before = shop.client.get(statistics).await.expect(200).text;
    app.app.stop().await;
    let old = "update coupon_sets set deleted_at = deleted_at - interval '31 days'";
    app.database.execute(old).await;
    let portion = "select deleted from remove_ledger(1, 1, 30, 1, 1)";
    assert_eq!(app.database.query_value(portion).await, 1);

    let source = Terminal::on(app.database.shared());
    let file = source.folder.path().join("tenant.gz");
    let file = file.to_str().unwrap();
    let export = ["tenant", "export", &shop.tenant_id, "--output", file];
    assert!(source.run(&export).success);
    let target = Terminal::open().await;
    target.run(&["tenant", "import", file, "--json"]).json();
    let days = ["--retention-deleted-sets-days", "30"];
    let app = TestApp::with(target.database.shared(), &days);
    eventually("the ledger is removed", async || {
        let state = "select ledger_state from coupon_sets";
        (app.database.query_value(state).await == "removed").then_some(())
    })
    .await;
    let left = "select (select count(*) from assignments) + (select count(*) from cards)";
    assert_eq!(app.database.query_value(left).await, 0);
    let after = shop.at(&app).client.get(statistics).await.expect(200);
    let comparable = |text: &str| {
        let mut answer: Value = serde_json::from_str(text).unwrap();
        // The deletion was moved into the past.
        answer["series"].take();
        answer
    };
    assert_eq!(comparable(&after.text), comparable(&before));
}
