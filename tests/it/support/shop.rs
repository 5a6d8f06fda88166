//! Operations of a tenant: creating sets, filling them, and assigning their codes to contacts.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::{TestApp, eventually};

/// A tenant with a key that has all scopes.
#[derive(Clone)]
pub struct Shop {
    pub client: Client,
    pub tenant_id: String,
    pub key: String,
}

impl Shop {
    pub async fn open(app: &TestApp) -> Self {
        let operator = app.operator();
        let tenant = operator
            .post("/admin/v1/tenants", json!({"name": "A shop"}))
            .await
            .expect(201);
        let tenant_id = tenant.str("id").to_owned();
        let keys = format!("/admin/v1/tenants/{tenant_id}/api-keys");
        let key = operator
            .post(&keys, json!({"name": "all", "scopes": ["*"]}))
            .await
            .expect(201);
        let key = key.str("key").to_owned();
        Self {
            client: app.with_key(&key),
            tenant_id,
            key,
        }
    }

    /// The same shop at another replica.
    pub fn at(&self, app: &TestApp) -> Self {
        Self {
            client: app.with_key(&self.key),
            ..self.clone()
        }
    }

    /// This shop with a session in place of its key.
    pub async fn signed_in(&self) -> Self {
        let body = json!({"key": self.key});
        let signed_in = self.client.post("/v1/session", body).await.expect(201);
        Self {
            client: self.client.with_session(signed_in.cookie()),
            ..self.clone()
        }
    }

    /// A key of this shop with only these scopes.
    pub async fn key_with(&self, scopes: &[&str]) -> Client {
        let key = self
            .client
            .post("/v1/api-keys", json!({"name": "some", "scopes": scopes}))
            .await
            .expect(201);
        self.client
            .authorized(&format!("Bearer {}", key.str("key")))
    }

    /// Creates a set from a whole body.
    pub async fn set(&self, body: Value) -> CouponSet {
        let id = self
            .client
            .post("/v1/coupon-sets", body)
            .await
            .expect(201)
            .str("id")
            .to_owned();
        CouponSet {
            client: self.client.clone(),
            id,
        }
    }

    /// A `multiple` set with these codes.
    pub async fn multiple(&self, name: &str, codes: &[&str]) -> CouponSet {
        let set = self.set(json!({"name": name, "type": "multiple"})).await;
        if !codes.is_empty() {
            set.fill(codes).await;
        }
        set
    }

    /// A `single` set; without a quantity it is unlimited.
    pub async fn single(&self, name: &str, code: &str, quantity: Option<i64>) -> CouponSet {
        self.set(json!({"name": name, "type": "single", "code": code, "quantity": quantity}))
            .await
    }
}

/// A coupon set and a client that manages it.
#[derive(Clone)]
pub struct CouponSet {
    pub client: Client,
    pub id: String,
}

impl CouponSet {
    pub fn path(&self) -> String {
        format!("/v1/coupon-sets/{}", self.id)
    }

    pub async fn read(&self) -> Value {
        self.client.get(&self.path()).await.expect(200).body
    }

    /// The same set with this shop's client.
    pub fn at(&self, shop: &Shop) -> Self {
        Self {
            client: shop.client.clone(),
            id: self.id.clone(),
        }
    }

    /// `quantity`, `assigned` and `available`. Fails unless all counters add up.
    pub async fn counters(&self) -> (Value, i64, Value) {
        let set = self.read().await;
        let count = |name: &str| set[name].as_i64();
        if let (Some(quantity), Some(available)) = (count("quantity"), count("available")) {
            let others = ["reserved", "assigned", "void", "expired"];
            let others: i64 = others.iter().filter_map(|name| count(name)).sum();
            assert_eq!(quantity, available + others, "{set}");
        }
        (
            set["quantity"].clone(),
            set["assigned"].as_i64().unwrap(),
            set["available"].clone(),
        )
    }

    /// `available`, `reserved`, `assigned`, `void` and `expired`. Fails unless they add up.
    pub async fn counts(&self) -> [i64; 5] {
        let set = self.read().await;
        let names = ["available", "reserved", "assigned", "void", "expired"];
        let counts = names.map(|name| set[name].as_i64().unwrap());
        assert_eq!(set["quantity"], counts.iter().sum::<i64>(), "{set}");
        counts
    }

    pub async fn patch(&self, body: Value) -> Answer {
        self.client.patch(&self.path(), body).await
    }

    pub async fn delete(&self) -> Answer {
        self.client.delete(&self.path()).await
    }

    /// Uploads a body as it is.
    pub async fn upload(&self, content_type: &str, query: &str, body: impl Into<Body>) -> Answer {
        let uri = format!("{}/imports{query}", self.path());
        self.client
            .send(Method::POST, &uri, &[("content-type", content_type)], body)
            .await
    }

    /// Imports these codes and waits until they can be assigned.
    pub async fn fill(&self, codes: &[&str]) -> Value {
        let import = self
            .client
            .post(&format!("{}/imports", self.path()), json!({"codes": codes}))
            .await;
        let import = self.ended(import.expect(201).str("id")).await;
        assert_eq!(import["status"], "finished", "{import}");
        import
    }

    /// Waits until an import is over.
    pub async fn ended(&self, import: &str) -> Value {
        eventually("the import is over", async || {
            let import = self
                .client
                .get(&format!("/v1/imports/{import}"))
                .await
                .expect(200)
                .body;
            (import["status"] != "queued" && import["status"] != "inProgress").then_some(import)
        })
        .await
    }

    /// Requests a code with a new key.
    pub async fn assign(&self, contact: &str) -> Answer {
        self.assign_with(json!({"contactId": contact}), None).await
    }

    /// Requests a code with this key.
    pub async fn assign_as(&self, contact: &str, key: &str) -> Answer {
        self.assign_with(json!({"contactId": contact}), Some(key))
            .await
    }

    pub async fn assign_with(&self, body: Value, key: Option<&str>) -> Answer {
        let key = key.map(|key| ("idempotency-key", key));
        self.client
            .json(
                Method::POST,
                &format!("{}/assignments", self.path()),
                key.as_slice(),
                body,
            )
            .await
    }

    /// Requests a batch of codes and returns its results.
    pub async fn assign_batch(&self, items: Value, key: Option<&str>) -> Vec<Value> {
        let key = key.map(|key| ("idempotency-key", key));
        let uri = format!("{}/assignments/batch", self.path());
        let answer = self
            .client
            .json(Method::POST, &uri, key.as_slice(), json!({"items": items}))
            .await
            .expect(200);
        answer.results().clone()
    }
    /// Requests an all-or-nothing batch.
    pub async fn assign_all_or_nothing(&self, items: Value) -> Answer {
        let body = json!({"items": items, "allOrNothing": true});
        let uri = format!("{}/assignments/batch", self.path());
        self.client.post(&uri, body).await
    }

    /// Reserves a code with a new key.
    pub async fn reserve(&self, contact: &str, seconds: i64) -> Answer {
        let body = json!({"contactId": contact, "reserveForSeconds": seconds});
        self.assign_with(body, None).await
    }

    /// An assignment with its history.
    pub async fn assignment(&self, id: &str) -> Value {
        let uri = format!("/v1/assignments/{id}");
        self.client.get(&uri).await.expect(200).body
    }

    /// Records an event for an assignment.
    pub async fn record(&self, event: &str, id: &str) -> Answer {
        self.record_with(event, id, json!({})).await
    }

    pub async fn record_with(&self, event: &str, id: &str, remark: Value) -> Answer {
        let uri = format!("/v1/assignments/{id}/{event}");
        self.client.post(&uri, remark).await
    }

    pub async fn confirm(&self, id: &str) -> Answer {
        self.record("confirm", id).await
    }

    pub async fn release(&self, id: &str) -> Answer {
        self.record("release", id).await
    }

    pub async fn void(&self, id: &str) -> Answer {
        self.record("void", id).await
    }

    /// Records events for many assignments and returns the results.
    pub async fn record_all(&self, events: Value) -> Vec<Value> {
        let uri = "/v1/assignments/events";
        let answer = self.client.post(uri, json!({"events": events})).await;
        answer.expect(200).results().clone()
    }
}
