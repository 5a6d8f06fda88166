//! Translation of a history's steps into API requests.

use axum::http::Method;
use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};

use super::history::{CodeRequest, Event, Kind, NewSet, Policy, Row, SetChange};
use super::reference::Time;
use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::shop::{CouponSet, Shop};

pub fn contact(contact: u8) -> &'static str {
    ["ann", "bob", "cleo"][usize::from(contact)]
}

pub fn code(code: u8) -> String {
    format!("C{code}")
}

/// The child of the set that is created at this index.
pub fn child_of_new(index: usize, new: &NewSet) -> Option<usize> {
    let back = usize::from(new.child?) + 1;
    index.checked_sub(back)
}

pub fn verb(event: Event) -> &'static str {
    match event {
        Event::Confirm => "confirm",
        Event::Sent => "sent",
        Event::Used => "used",
        Event::Release => "release",
        Event::Void => "void",
    }
}

/// A shop with the sets of a history.
#[derive(Clone)]
pub struct Player {
    pub shop: Shop,
    pub sets: Vec<CouponSet>,
    /// Start of the history's days; passing time moves it.
    pub base: Time,
}

impl Player {
    /// Creates the sets; their codes are imported later.
    pub async fn open(shop: Shop, base: Time, sets: &[NewSet]) -> Self {
        let mut player = Self {
            shop,
            sets: Vec::new(),
            base,
        };
        for (index, new) in sets.iter().enumerate() {
            let mut body = match &new.kind {
                Kind::Multiple(_) => json!({"type": "multiple"}),
                Kind::Single(quantity) => {
                    json!({"type": "single", "code": format!("S{index}"), "quantity": quantity})
                }
            };
            body["name"] = json!(format!("set {index}"));
            if let Some(child) = child_of_new(index, new) {
                body["childCouponSetId"] = json!(player.sets[child].id);
            }
            for policy in &new.policies {
                let (name, value) = player.policy(*policy);
                body[name] = value;
            }
            let set = player.shop.set(body).await;
            player.sets.push(set);
        }
        player
    }

    /// The same shop at another replica.
    pub fn at(&self, app: &TestApp) -> Self {
        let shop = self.shop.at(app);
        let set = |set: &CouponSet| CouponSet {
            client: shop.client.clone(),
            id: set.id.clone(),
        };
        Self {
            sets: self.sets.iter().map(set).collect(),
            shop,
            base: self.base,
        }
    }

    pub async fn is_multiple(&self, set: usize) -> bool {
        self.sets[set].read().await["type"] == "multiple"
    }

    /// Index of the set with this number.
    pub fn set(&self, number: u8) -> usize {
        usize::from(number) % self.sets.len()
    }

    pub fn child(&self, number: Option<u8>) -> Option<usize> {
        number.map(|number| self.set(number))
    }

    fn child_id(&self, child: Option<u8>) -> Value {
        json!(self.child(child).map(|child| &self.sets[child].id))
    }

    /// A time half an hour off a full day.
    pub fn moment(&self, day: Option<i8>) -> Option<Time> {
        day.map(|day| self.base + TimeDelta::days(day.into()) + TimeDelta::minutes(30))
    }

    fn written(&self, day: Option<i8>) -> Value {
        let write = |moment: Time| moment.to_rfc3339_opts(SecondsFormat::Micros, true);
        json!(self.moment(day).map(write))
    }

    fn policy(&self, policy: Policy) -> (&'static str, Value) {
        match policy {
            Policy::OnRepeat(what) => ("onRepeat", json!(what)),
            Policy::SameCodeUntil(until) => ("sameCodeUntil", json!(until)),
            Policy::PerContact(most) => ("assignmentsPerContact", json!(most)),
            Policy::ExpiresAt(day) => ("expiresAt", self.written(day)),
            Policy::Timezone(zone) => ("timezone", json!(zone)),
            Policy::ValidForDays(days) => ("validForDays", json!(days)),
        }
    }

    pub async fn patch(&self, set: usize, change: SetChange) -> Answer {
        let (name, value) = match change {
            SetChange::Policy(policy) => self.policy(policy),
            SetChange::Quantity(quantity) => ("quantity", json!(quantity)),
            SetChange::Child(child) => ("childCouponSetId", self.child_id(child)),
        };
        self.sets[set].patch(json!({name: value})).await
    }

    fn body(&self, request: CodeRequest, child: Option<u8>) -> Value {
        let mut body = json!({"contactId": contact(request.contact)});
        if let Some(seconds) = request.reserve {
            body["reserveForSeconds"] = json!(seconds);
        }
        if child.is_some() {
            body["childCouponSetId"] = self.child_id(child);
        }
        body
    }

    pub async fn assign(
        &self,
        set: usize,
        request: CodeRequest,
        child: Option<u8>,
        key: Option<&str>,
    ) -> Answer {
        self.sets[set]
            .assign_with(self.body(request, child), key)
            .await
    }

    pub async fn dry_run(
        &self,
        set: usize,
        request: CodeRequest,
        child: Option<u8>,
        outcome: Option<&str>,
    ) -> Answer {
        let mut body = self.body(request, child);
        body["test"] = json!(true);
        body["testOutcome"] = json!(outcome);
        let key = request.key.map(key);
        self.sets[set].assign_with(body, key.as_deref()).await
    }

    pub async fn batch(
        &self,
        set: usize,
        requests: &[CodeRequest],
        child: Option<u8>,
        batch_key: Option<u8>,
        all: bool,
    ) -> Answer {
        let item = |request: &CodeRequest| {
            let mut body = self.body(*request, child);
            body["idempotencyKey"] = json!(request.key.map(key));
            body
        };
        let items: Vec<Value> = requests.iter().map(item).collect();
        let batch_key = batch_key.map(self::batch_key);
        let header = batch_key.as_deref().map(|key| ("idempotency-key", key));
        self.shop
            .client
            .json(
                Method::POST,
                &format!("{}/assignments/batch", self.sets[set].path()),
                header.as_slice(),
                json!({"items": items, "allOrNothing": all}),
            )
            .await
    }

    /// Imports codes and waits until they are available.
    pub async fn import(&self, set: usize, rows: &[Row]) -> Value {
        let row = |(number, day): &Row| match day {
            None => json!(code(*number)),
            day => json!({"code": code(*number), "expiresAt": self.written(*day)}),
        };
        let codes: Vec<Value> = rows.iter().map(row).collect();
        // The model knows rows, not files.
        let uri = format!("{}/imports?force=true", self.sets[set].path());
        let import = self.shop.client.post(&uri, json!({"codes": codes})).await;
        let import = import.expect(201);
        self.sets[set].ended(import.str("id")).await
    }

    pub async fn withdraw(&self, set: usize, codes: &[u8]) -> Answer {
        let codes: Vec<String> = codes.iter().copied().map(code).collect();
        self.sets[set]
            .ask_to_withdraw(json!({"codes": codes}))
            .await
    }

    pub async fn undo(&self, import: &str, dry: bool) -> Answer {
        let uri = format!("/v1/imports/{import}/undo?dryRun={dry}");
        self.shop.client.post(&uri, json!({})).await
    }

    pub async fn record(&self, assignment: &str, event: Event) -> Answer {
        let uri = format!("/v1/assignments/{assignment}/{}", verb(event));
        self.shop.client.post(&uri, json!({})).await
    }

    pub async fn record_many(&self, events: Vec<Value>) -> Answer {
        let events = json!({"events": events});
        let uri = "/v1/assignments/events";
        self.shop.client.post(uri, events).await.expect(200)
    }

    pub async fn find(&self, assignment: &str) -> Value {
        let uri = format!("/v1/assignments/{assignment}");
        self.shop.client.get(&uri).await.expect(200).body
    }
}

pub fn key(key: u8) -> String {
    format!("k{key}")
}

pub fn batch_key(key: u8) -> String {
    format!("b{key}")
}

/// Key of an item of a batch; `None` if the service generates it.
pub fn item_key(request: CodeRequest, index: usize, batch: Option<u8>) -> Option<String> {
    let of_batch = || batch.map(|batch| format!("{}:{index}", batch_key(batch)));
    request.key.map(key).or_else(of_batch)
}
