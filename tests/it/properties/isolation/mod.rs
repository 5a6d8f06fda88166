//! Isolation of tenants: every operation of the API document, called with credentials that do not permit it.
//!
//! The requests and the expected responses are in `cases`.

mod cases;

use axum::http::Method;
use serde_json::{Value, json};

use crate::properties::isolation::cases::{Case, Stranger, case};
use crate::support::TestApp;
use crate::support::client::{Answer, Client};
use crate::support::contract::{DOCUMENT, Operation, operations};
use crate::support::shop::{CouponSet, Shop};
use crate::support::sql;

/// A tenant with every kind of resource.
pub struct Victim {
    shop: Shop,
    pub set: CouponSet,
    pub import: String,
    pub assignment: String,
    key: String,
    session: String,
    workflow: String,
    webhook: String,
    delivery: String,
}

impl Victim {
    pub async fn open(app: &TestApp) -> Self {
        let shop = app.shop().await;
        let set = shop.multiple("Secret name", &[]).await;
        let import = set.fill(&["SECRET-1", "SECRET-2", "SECRET-2"]).await;
        let body = json!({"contactId": "secret contact", "workflowId": "secret workflow"});
        let assignment = set.assign_with(body, None).await.expect(201);
        let spare = json!({"name": "Secret key", "scopes": ["*"]});
        let key = shop.client.post("/v1/api-keys", spare).await.expect(201);
        let secret = json!({"key": key.str("key")});
        app.anyone().post("/v1/session", secret).await.expect(201);
        let sessions = format!("/v1/api-keys/{}/sessions", key.str("id"));
        let sessions = shop.client.get(&sessions).await.expect(200);
        let session = sessions.results()[0]["id"].as_str().unwrap().to_owned();
        let workflow = "secret%20workflow".to_owned();
        shop.workflow(&workflow, "active", &[&set]).await;
        let webhook = shop.webhook("https://secret.example.com/").await;
        // Keeps its delivery from being sent.
        webhook
            .patch(json!({"state": "disabled"}))
            .await
            .expect(200);
        webhook.write(&app.database, 1, 1).await;
        let delivery = webhook.deliveries("").await.remove(0);
        Self {
            workflow,
            webhook: webhook.id,
            delivery: delivery["id"].as_str().unwrap().to_owned(),
            import: import["id"].as_str().unwrap().to_owned(),
            assignment: assignment.str("id").to_owned(),
            key: key.str("id").to_owned(),
            session,
            shop,
            set,
        }
    }

    /// Path of an operation on this tenant's resources.
    fn path(&self, operation: &Operation) -> String {
        [
            ("{couponSetId}", &self.set.id),
            ("{importId}", &self.import),
            ("{assignmentId}", &self.assignment),
            ("{keyId}", &self.key),
            ("{sessionId}", &self.session),
            ("{workflowId}", &self.workflow),
            ("{contactId}", &"secret%20contact".to_owned()),
            ("{webhookId}", &self.webhook),
            ("{deliveryId}", &self.delivery),
            ("{tenantId}", &self.shop.tenant_id),
        ]
        .into_iter()
        .fold(operation.path.clone(), |path, (name, id)| {
            path.replace(name, id)
        })
    }

    /// Everything that this tenant can see.
    async fn belongings(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        let assignment = format!("/v1/assignments/{}", self.assignment);
        let sessions = format!("/v1/api-keys/{}/sessions", self.key);
        let deliveries = format!("/v1/webhooks/{}/deliveries", self.webhook);
        for uri in [
            "/v1/coupon-sets",
            "/v1/imports",
            "/v1/assignments",
            // A fixed period, so that the response does not change at midnight.
            "/v1/statistics?from=2026-01-01&to=2026-01-02",
            &assignment,
            "/v1/api-keys?limit=1000",
            &sessions,
            "/v1/workflows",
            "/v1/coupons?code=SECRET-1",
            "/v1/webhooks",
            &deliveries,
        ] {
            let mut answer = self.shop.client.get(uri).await.expect(200).body;
            // Changes with this request itself.
            for result in answer["results"].as_array_mut().into_iter().flatten() {
                result.as_object_mut().unwrap().remove("lastUsedAt");
            }
            seen.push(answer);
        }
        seen
    }
}

/// The operations that need a key or a session, with the scope from `security` and `x-scope`.
pub fn protected() -> Vec<(Operation, Option<&'static str>)> {
    let protected: Vec<_> = operations()
        .into_iter()
        .filter(|operation| {
            let security = &operation.body()["security"];
            let security = security.as_array().unwrap_or_else(|| {
                panic!("{operation:?} does not say who may call it");
            });
            // Session operations accept no other credentials.
            security.iter().any(|scheme| scheme["session"].is_null())
        })
        .map(|operation| {
            let scope = operation.body()["x-scope"].as_str();
            let admin = operation.path.starts_with("/admin/");
            assert_eq!(scope.is_none(), admin, "{operation:?}");
            (operation, scope)
        })
        .collect();
    assert!(protected.len() >= 44, "the walk is of the whole document");
    protected
}

async fn call(client: &Client, operation: &Operation, victim: &Victim, case: &Case) -> Answer {
    let method: Method = operation.method.to_uppercase().parse().unwrap();
    let headers: &[(&str, &str)] = match case.content_type {
        "" => &[],
        kind => &[("content-type", kind)],
    };
    let uri = victim.path(operation) + case.query;
    client.send(method, &uri, headers, case.body.clone()).await
}

#[tokio::test]
async fn without_a_key_every_operation_is_401() {
    let app = TestApp::start().await;
    let victim = Victim::open(&app).await;
    let before = victim.belongings().await;
    for (operation, _) in protected() {
        let case = case(&operation, &victim);
        let answer = call(&app.anyone(), &operation, &victim, &case).await;
        assert_eq!(answer.refusal(), "401 unauthorized", "{operation:?}");
    }
    assert_eq!(victim.belongings().await, before);
}

#[tokio::test]
async fn without_a_key_nobody_learns_what_is_wrong_with_a_request() {
    let app = TestApp::start().await;
    let json = &[("content-type", "application/json")];
    for (operation, _) in protected() {
        let method: Method = operation.method.to_uppercase().parse().unwrap();
        let path = operation.path.replace(['{', '}'], "");
        let answer = app.anyone().send(method, &path, json, "{").await;
        assert_eq!(answer.refusal(), "401 unauthorized", "{operation:?}");
    }
}

#[tokio::test]
async fn a_key_with_all_scopes_but_the_one_is_403_at_every_operation_and_learns_which() {
    let app = TestApp::start().await;
    let victim = Victim::open(&app).await;
    let all = DOCUMENT["components"]["schemas"]["Scope"]["enum"].as_array();
    let all: Vec<&str> = all.unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    let before = victim.belongings().await;
    let mut keys = before[5]["results"].as_array().unwrap().len();
    for (operation, scope) in protected() {
        let Some(scope) = scope else { continue };
        assert!(all.contains(&scope), "{scope} is no scope");
        let others: Vec<&str> = all
            .iter()
            .copied()
            .filter(|other| !["*", scope].contains(other))
            .collect();
        let client = victim.shop.key_with(&others).await;
        keys += 1;
        let case = case(&operation, &victim);
        let answer = call(&client, &operation, &victim, &case).await;
        assert_eq!(answer.refusal(), "403 missing-scope", "{operation:?}");
        assert_eq!(answer.str("scope"), scope, "{operation:?}");
    }
    let after = victim.belongings().await;
    assert_eq!(after[..5], before[..5]);
    assert_eq!(after[6..], before[6..]);
    assert_eq!(after[5]["results"].as_array().unwrap().len(), keys);
}

#[tokio::test]
async fn while_the_tenant_is_suspended_its_keys_are_403_at_every_operation() {
    let app = TestApp::start().await;
    let victim = Victim::open(&app).await;
    let before = victim.belongings().await;
    let tenant = format!("/admin/v1/tenants/{}", victim.shop.tenant_id);
    let order = async |order: &str| {
        let uri = format!("{tenant}/{order}");
        let answer = app.operator().send(Method::POST, &uri, &[], "").await;
        answer.expect(200);
    };
    order("suspend").await;
    for (operation, _) in protected().into_iter().filter(|(_, scope)| scope.is_some()) {
        let case = case(&operation, &victim);
        let answer = call(&victim.shop.client, &operation, &victim, &case).await;
        assert_eq!(answer.refusal(), "403 tenant-suspended", "{operation:?}");
    }
    order("resume").await;
    assert_eq!(victim.belongings().await, before);
}

/// Calls every operation on the victim's resources as another tenant.
pub async fn walk_as_a_stranger(stranger: &Shop, victim: &Victim) {
    let before = victim.belongings().await;
    for (operation, _) in protected() {
        let case = case(&operation, victim);
        let answer = call(&stranger.client, &operation, victim, &case).await;
        match case.stranger {
            Stranger::Gone => assert_eq!(answer.refusal(), "404 not-found", "{operation:?}"),
            Stranger::Sees(body) => {
                assert_eq!((answer.status.as_u16(), &answer.body), (200, &body));
                // It was compared as a whole, and may repeat parts of the request.
                continue;
            }
            Stranger::EachGone(items) => {
                assert_eq!(answer.status, 200, "{operation:?}");
                let results = answer.results();
                let gone = results.iter().filter(|result| {
                    (&result["status"], &result["error"]["code"])
                        == (&json!(404), &json!("not-found"))
                });
                assert_eq!(gone.count(), items, "{operation:?} {results:?}");
            }
            Stranger::Refused(pointer) => {
                assert_eq!(answer.faults(), [pointer], "{operation:?}");
            }
            Stranger::Own(status) => assert_eq!(answer.status.as_u16(), status, "{operation:?}"),
        }
        // Member names are not the victim's data.
        let text = answer
            .text
            .replace("\"secret\":", "")
            .replace("previousSecretUntil", "");
        let text = text.to_lowercase();
        assert!(!text.contains("secret"), "{operation:?}: {text}");
        for id in [
            &victim.set.id,
            &victim.import,
            &victim.assignment,
            &victim.key,
            &victim.webhook,
            &victim.delivery,
        ] {
            assert!(!text.contains(&**id), "{operation:?}: {text}");
        }
    }
    // Filters and fields reveal nothing either.
    let client = &stranger.client;
    for query in [
        "contactId=secret%20contact",
        "code=SECRET-1",
        "workflowId=secret%20workflow",
        "contactId=secret%20contact&code=SECRET-1",
        "from=2020-01-01T00:00:00Z",
    ] {
        let list = client.get(&format!("/v1/assignments?{query}")).await;
        assert_eq!(list.expect(200).results().len(), 0, "{query}");
    }
    for list in ["assignments", "imports"] {
        let uri = format!("/v1/{list}?couponSetId={}", victim.set.id);
        assert_eq!(client.get(&uri).await.refusal(), "404 not-found", "{list}");
    }
    let own = stranger.multiple("own", &["OWN"]).await;
    let child = json!({"childCouponSetId": victim.set.id});
    assert_eq!(own.patch(child).await.faults(), ["/childCouponSetId"]);
    let asked = json!({"contactId": "me", "childCouponSetId": victim.set.id});
    assert_eq!(
        own.assign_with(asked, None).await.faults(),
        ["/childCouponSetId"]
    );
    // Another tenant may use the same code, contact, name and idempotency key.
    let own = stranger.multiple("Secret name", &["SECRET-1"]).await;
    let given = own.assign("secret contact").await.expect(201);
    assert_eq!(given.str("couponCode"), "SECRET-1");
    assert_eq!(victim.belongings().await, before);
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist() {
    let app = TestApp::start().await;
    let victim = Victim::open(&app).await;
    walk_as_a_stranger(&app.shop().await, &victim).await;
}

#[tokio::test]
async fn the_predicates_alone_keep_tenants_apart_where_row_level_security_is_off() {
    let app = TestApp::start().await;
    let victim = Victim::open(&app).await;
    let mut owner = app.database.owner.acquire().await.unwrap();
    let off = "select format('alter table %s no force row level security, disable row level security', c.oid::regclass)
                 from pg_class c
                where c.relnamespace = 'public'::regnamespace and c.relrowsecurity";
    let off: Vec<String> = sql::column(&mut owner, off).await;
    assert!(off.len() >= 10);
    for statement in off {
        sql::run(&mut owner, statement).await.unwrap();
    }
    walk_as_a_stranger(&app.shop().await, &victim).await;
}
