//! Requests for codes: single, in batches and as dry runs.

use serde_json::{Value, json};

use super::client::{contact, item_key};
use super::history::CodeRequest;
use super::reference::{AssignedCode, CodeExpectation};
use super::run::{Check, Run, refusal, same, time};
use crate::support::client::Answer;

/// Response to one request for a code: alone or as an item of a batch.
struct CodeResponse {
    status: u16,
    /// The assignment or the problem.
    body: Value,
    key: Value,
}

impl From<Answer> for CodeResponse {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status.as_u16(),
            key: answer.body["idempotencyKey"].clone(),
            body: answer.body,
        }
    }
}

impl From<&Value> for CodeResponse {
    fn from(item: &Value) -> Self {
        let status = item["status"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok());
        let body = if item["error"].is_null() {
            "assignment"
        } else {
            "error"
        };
        Self {
            status: status.expect("a status"),
            body: item[body].clone(),
            key: item["idempotencyKey"].clone(),
        }
    }
}

impl Run<'_> {
    pub async fn assign(
        &mut self,
        set: usize,
        request: CodeRequest,
        child: Option<u8>,
        key: Option<&str>,
    ) -> Check {
        let answer = self.player.assign(set, request, child, key).await;
        self.check_answer(set, self.as_person(request), child, key, &answer.into())
    }

    /// Compares one response with the model, and applies the assignment to the model.
    fn check_answer(
        &mut self,
        set: usize,
        request: CodeRequest,
        child: Option<u8>,
        key: Option<&str>,
        seen: &CodeResponse,
    ) -> Check {
        let child = self.player.child(child);
        let expected = self.model.request(set, child, request.contact, key);
        self.check_expectation(set, request, expected, key, seen)
            .map_err(|fault| format!("{fault}\n  answer: {} {}", seen.status, seen.body))
    }

    fn check_expectation(
        &mut self,
        set: usize,
        request: CodeRequest,
        expected: CodeExpectation,
        key: Option<&str>,
        seen: &CodeResponse,
    ) -> Check {
        if let Some(key) = key.filter(|_| seen.status < 300) {
            same("the key", seen.key.as_str(), Some(key))?;
        }
        let outcome = seen.body["outcome"].as_str();
        match expected {
            CodeExpectation::Refused(status, problem, assignment) => {
                same("the status", seen.status, status)?;
                same("the problem", seen.body["code"].as_str(), Some(problem))?;
                let id = assignment.map(|index| self.model.assignments[index].id.as_str());
                same(
                    "the problem's assignment",
                    seen.body["assignmentId"].as_str(),
                    id,
                )
            }
            CodeExpectation::Replayed(index) => {
                same(
                    "status and outcome",
                    (seen.status, outcome),
                    (200, Some("replayed")),
                )?;
                self.check_assignment(&seen.body, index)
            }
            CodeExpectation::AlreadyAssigned(index) => {
                let expected = (200, Some("alreadyAssigned"));
                same("status and outcome", (seen.status, outcome), expected)?;
                let key = seen.key.as_str().expect("a key").to_owned();
                self.model.keys.insert((set, key), index);
                self.check_assignment(&seen.body, index)
            }
            CodeExpectation::Assigned(serving, cards) => {
                same(
                    "status and outcome",
                    (seen.status, outcome),
                    (201, Some("assigned")),
                )?;
                let served = seen.body["couponSetId"].as_str();
                same(
                    "the set that served",
                    served,
                    Some(self.player.sets[serving].id.as_str()),
                )?;
                let code = seen.body["couponCode"].as_str().expect("a code");
                let card = cards.iter().find(|card| card.code == code);
                let card = card.ok_or_else(|| {
                    let codes: Vec<_> = cards.iter().map(|card| &card.code).collect();
                    format!("the code is {code}, but the model says one of {codes:?}")
                })?;
                self.model.take(AssignedCode {
                    id: seen.body["id"].as_str().expect("an id").to_owned(),
                    requested: set,
                    set: serving,
                    contact: request.contact,
                    card: card.clone(),
                    key: seen.key.as_str().expect("a key").to_owned(),
                    reserve: request.reserve,
                    assigned_at: time(&seen.body["assignedAt"]).expect("a time"),
                });
                self.check_assignment(&seen.body, self.model.assignments.len() - 1)
            }
        }
    }

    pub fn check_assignment(&self, seen: &Value, index: usize) -> Check {
        let expected = &self.model.assignments[index];
        let zone = self.model.sets[expected.set].timezone.name();
        let texts = [
            ("id", expected.id.as_str()),
            ("couponCode", &expected.card.code),
            ("couponSetId", &self.player.sets[expected.set].id),
            (
                "requestedCouponSetId",
                &self.player.sets[expected.requested].id,
            ),
            ("contactId", contact(expected.contact)),
            ("state", expected.state.as_str()),
            ("timezone", zone),
        ];
        for (name, text) in texts {
            same(name, seen[name].as_str(), Some(text))?;
        }
        let times = [
            ("assignedAt", Some(expected.assigned_at)),
            ("reservedUntil", expected.reserved_until),
            ("expiresAt", expected.expires_at),
        ];
        for (name, moment) in times {
            same(name, time(&seen[name]), moment)?;
        }
        Ok(())
    }

    pub async fn batch(
        &mut self,
        set: usize,
        requests: &[CodeRequest],
        child: Option<u8>,
        batch_key: Option<u8>,
        all: bool,
    ) -> Check {
        let answer = self
            .player
            .batch(set, requests, child, batch_key, all)
            .await;
        let keys: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(index, request)| item_key(*request, index, batch_key))
            .collect();
        let people: Vec<CodeRequest> = requests
            .iter()
            .map(|request| self.as_person(*request))
            .collect();
        if all {
            let refusals = self.dry_run_batch(set, &people, child, &keys);
            let contradict = |(index, key): (usize, &Option<String>)| {
                let first = keys.iter().position(|other| other == key).unwrap_or(index);
                key.is_some() && requests[first].contact != requests[index].contact
            };
            if keys.iter().enumerate().any(contradict) {
                return same(
                    "the refusal",
                    refusal(&answer).as_str(),
                    "422 validation-failed",
                );
            }
            if !refusals.is_empty() {
                return check_withheld(&answer, &people, &refusals);
            }
        }
        let answer = answer.expect(200);
        same(
            "the number of results",
            answer.results().len(),
            requests.len(),
        )?;
        // An item must be evaluated after all others if an earlier one used its key for another contact and was
        // refused: it may get a code that the earlier one could not.
        let mut open: Vec<usize> = (0..requests.len()).collect();
        while !open.is_empty() {
            let is_first = |index: &usize| {
                let mut others = open.iter().take_while(|other| *other < index);
                keys[*index].is_none() || others.all(|other| keys[*other] != keys[*index])
            };
            let (first, followers): (Vec<usize>, Vec<usize>) =
                open.iter().partition(|index| is_first(index));
            for index in &first {
                let seen = CodeResponse::from(&answer.results()[*index]);
                self.check_answer(set, people[*index], child, keys[*index].as_deref(), &seen)
                    .map_err(|fault| format!("item {index}: {fault}"))?;
            }
            open.clear();
            for index in followers {
                let leader = first.iter().find(|leader| keys[**leader] == keys[index]);
                let leader = *leader.expect("another item with this key");
                let is_bound = self
                    .model
                    .keys
                    .contains_key(&(set, keys[index].clone().expect("a key")));
                if !is_bound && requests[leader].contact != requests[index].contact {
                    open.push(index);
                    continue;
                }
                let seen = CodeResponse::from(&answer.results()[index]);
                self.check_answer(set, people[index], child, keys[index].as_deref(), &seen)
                    .map_err(|fault| format!("item {index}: {fault}"))?;
            }
        }
        Ok(())
    }

    /// The items of a batch that cannot be served, with their problems.
    fn dry_run_batch(
        &self,
        set: usize,
        requests: &[CodeRequest],
        child: Option<u8>,
        keys: &[Option<String>],
    ) -> Vec<(usize, &'static str)> {
        let mut model = self.model.clone();
        let mut refusals = Vec::new();
        for (index, (request, key)) in requests.iter().zip(keys).enumerate() {
            let child = self.player.child(child);
            let new_key = key.clone().unwrap_or_else(|| format!("new {index}"));
            match model.request(set, child, request.contact, key.as_deref()) {
                CodeExpectation::Refused(_, problem, _) => refusals.push((index, problem)),
                CodeExpectation::Replayed(_) => {}
                CodeExpectation::AlreadyAssigned(held) => {
                    model.keys.insert((set, new_key), held);
                }
                CodeExpectation::Assigned(serving, mut cards) => {
                    model.take(AssignedCode {
                        id: String::new(),
                        requested: set,
                        set: serving,
                        contact: request.contact,
                        card: cards.remove(0),
                        key: new_key,
                        reserve: request.reserve,
                        assigned_at: model.now,
                    });
                }
            }
        }
        refusals
    }

    pub async fn dry_run(
        &self,
        set: usize,
        request: CodeRequest,
        child: Option<u8>,
        outcome: Option<&str>,
    ) -> Check {
        let answer = self.player.dry_run(set, request, child, outcome).await;
        let chain = self.model.chain(set, self.player.child(child));
        let refuses = self.model.sets[set].on_repeat == "refuse";
        let expected = match (chain, outcome) {
            (Err(fault), _) => (422, fault),
            (_, Some("exhausted")) => (409, "coupon-set-exhausted"),
            (_, Some("expired")) => (409, "coupon-set-expired"),
            (_, Some("alreadyAssigned")) if refuses => (409, "already-assigned"),
            (_, Some("alreadyAssigned")) => (200, "alreadyAssigned"),
            _ => (200, "assigned"),
        };
        let seen = answer.body["code"]
            .as_str()
            .or(answer.body["outcome"].as_str());
        same(
            "the dry run",
            (answer.status.as_u16(), seen, &answer.body["test"]),
            (expected.0, Some(expected.1), &json!(true)),
        )
    }
}

/// Checks a withheld batch: nothing was assigned, and the refused items are named. Where a contact or key occurs twice,
/// the result of an item depends on the other one, so any of its refusals is accepted.
fn check_withheld(answer: &Answer, requests: &[CodeRequest], refusals: &[(usize, &str)]) -> Check {
    same(
        "the refusal",
        refusal(answer).as_str(),
        "409 batch-withheld",
    )?;
    let refused: Vec<(usize, &str)> = answer.body["refused"]
        .as_array()
        .expect("what was refused")
        .iter()
        .map(|refused| {
            let index = refused["index"]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok());
            (
                index.expect("an index"),
                refused["error"]["code"].as_str().expect("a code"),
            )
        })
        .collect();
    for index in 0..requests.len() {
        let of = |all: &[(usize, &str)]| {
            all.iter()
                .find(|(i, _)| *i == index)
                .map(|(_, code)| (*code).to_owned())
        };
        let is_alone = requests
            .iter()
            .enumerate()
            .all(|(other, request)| other == index || request.contact != requests[index].contact);
        if is_alone {
            same(
                &format!("the refusal of item {index}"),
                of(&refused),
                of(refusals),
            )?;
        }
    }
    Ok(())
}
