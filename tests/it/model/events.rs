//! Events of assignments, and read requests.

use serde_json::{Value, json};

use super::client::{code, contact, verb};
use super::history::{Event, Subject};
use super::reference::{Assignment, EventExpectation, State};
use super::run::{Check, Run, refusal, same, time};

impl Run<'_> {
    pub async fn check_availability(&self, set: usize, count: u8, child: Option<u8>) -> Check {
        let child = self.player.child(child);
        let named = child.map(|child| format!("&childCouponSetId={}", self.player.sets[child].id));
        let uri = format!(
            "{}/availability?count={count}{}",
            self.player.sets[set].path(),
            named.unwrap_or_default()
        );
        let answer = self.player.shop.client.get(&uri).await;
        let chain = match self.model.chain(set, child) {
            Ok(chain) => chain,
            Err(fault) => return same("the refusal", refusal(&answer), format!("422 {fault}")),
        };
        let available = |set: usize| self.model.counters(set).available;
        let links: Vec<Value> = chain
            .iter()
            .map(|set| json!({"couponSetId": self.player.sets[*set].id, "available": available(*set)}))
            .collect();
        let sum: Option<usize> = chain.iter().map(|set| available(*set)).sum();
        let expected = json!({
            "count": count,
            "sufficient": sum.is_none_or(|sum| sum >= usize::from(count)),
            "available": sum,
            "couponSets": links,
        });
        same("the availability", answer.body, expected)
    }

    pub async fn record(&mut self, event: Event, which: u8) -> Check {
        let Some(index) = self.pick(which) else {
            return Ok(());
        };
        let answer = self
            .player
            .record(&self.model.assignments[index].id, event)
            .await;
        let expected = self.model.record(index, event);
        match expected {
            EventExpectation::WrongState(state) => {
                same("the refusal", refusal(&answer).as_str(), "409 wrong-state")?;
                same(
                    "its state",
                    answer.body["state"].as_str().unwrap_or_default(),
                    state.as_str(),
                )?;
            }
            EventExpectation::Recorded(_) | EventExpectation::Repeated(_) => {
                let answer = answer.expect(200);
                same(
                    "the state",
                    answer.str("state"),
                    self.model.assignments[index].state.as_str(),
                )?;
            }
        }
        let confirmed =
            event == Event::Confirm && matches!(expected, EventExpectation::Recorded(_));
        self.look_at(index, confirmed).await
    }

    pub async fn record_many(&mut self, events: &[(Event, Subject)]) -> Check {
        // A code is resolved to its assignment before any of the events.
        let mut bodies = Vec::new();
        let mut subjects = Vec::new();
        for (event, subject) in events {
            let (mut body, subject) = match *subject {
                Subject::Id(which) => {
                    let Some(index) = self.pick(which) else {
                        continue;
                    };
                    (
                        json!({"assignmentId": self.model.assignments[index].id}),
                        Ok(index),
                    )
                }
                Subject::Code(which) => {
                    let Some(index) = self.pick(which) else {
                        continue;
                    };
                    let Assignment { set, card, .. } = &self.model.assignments[index];
                    self.by_code(*set, &card.code)
                }
                Subject::AnyCode(set, number) => self.by_code(self.player.set(set), &code(number)),
            };
            body["event"] = json!(verb(*event));
            bodies.push(body);
            subjects.push((*event, subject));
        }
        if bodies.is_empty() {
            return Ok(());
        }
        let answer = self.player.record_many(bodies).await;
        let mut touched = Vec::new();
        for (place, ((event, subject), seen)) in subjects.iter().zip(answer.results()).enumerate() {
            let id = subject
                .ok()
                .map(|index| self.model.assignments[index].id.clone());
            let (status, outcome, state, problem) = match subject {
                Err(problem) => (422, None, None, Some(*problem)),
                Ok(index) => {
                    let expected = self.model.record(*index, *event);
                    let confirmed = *event == Event::Confirm
                        && matches!(expected, EventExpectation::Recorded(_));
                    touched.push((*index, confirmed));
                    match expected {
                        EventExpectation::Recorded(state) => {
                            (200, Some("recorded"), Some(state.as_str()), None)
                        }
                        EventExpectation::Repeated(state) => {
                            (200, Some("repeated"), Some(state.as_str()), None)
                        }
                        EventExpectation::WrongState(_) => (409, None, None, Some("wrong-state")),
                    }
                }
            };
            same(
                &format!(
                    "the answer to event {place} (status, assignment, outcome, state, problem)"
                ),
                (
                    seen["status"].as_u64(),
                    seen["assignmentId"].as_str(),
                    seen["outcome"].as_str(),
                    seen["state"].as_str(),
                    seen["error"]["code"].as_str(),
                ),
                (Some(status), id.as_deref(), outcome, state, problem),
            )?;
        }
        touched.sort_by_key(|(index, confirmed)| (*index, !confirmed));
        touched.dedup_by_key(|(index, _)| *index);
        for (index, confirmed) in touched {
            self.look_at(index, confirmed).await?;
        }
        Ok(())
    }

    /// The latest assignment of a code.
    fn by_code(&self, set: usize, code: &str) -> (Value, Result<usize, &'static str>) {
        let body = json!({"couponSetId": self.player.sets[set].id, "code": code});
        let is_of_code = |a: &Assignment| a.set == set && a.card.code == code;
        let latest = self.model.assignments.iter().rposition(is_of_code);
        let is_single = self.model.sets[set].code.is_some();
        (
            body,
            latest.filter(|_| !is_single).ok_or("code-not-assigned"),
        )
    }

    /// Reads an assignment with its history. If it was just confirmed, passes the time to the model.
    pub async fn look_at(&mut self, index: usize, confirmed: bool) -> Check {
        let seen = self.player.find(&self.model.assignments[index].id).await;
        let events = seen["events"].as_array().expect("events");
        if confirmed {
            let is_confirmation = |event: &&Value| event["event"] == "confirmed";
            let confirmation = events.iter().find(is_confirmation);
            let at = confirmation.and_then(|event| time(&event["recordedAt"]));
            self.model
                .confirm_at(index, at.ok_or("there is no confirmation")?);
        }
        self.check_assignment(&seen, index)?;
        let mut events: Vec<&str> = events
            .iter()
            .filter_map(|event| event["event"].as_str())
            .collect();
        let assignment = &self.model.assignments[index];
        // The sweeper may have run or not.
        if assignment.state == State::Expired && events.last() == Some(&"expired") {
            events.pop();
        } else if assignment.swept {
            return Err("the sweeper left no event".to_owned());
        }
        same("the history", events, assignment.events.clone())
    }

    pub async fn list(&self, by: Option<u8>, set: Option<u8>, code: Option<String>) -> Check {
        let set = self.player.child(set);
        let mut uri = "/v1/assignments?limit=1000".to_owned();
        if let Some(by) = by {
            uri = uri + "&contactId=" + contact(by);
        }
        if let Some(set) = set {
            uri = uri + "&couponSetId=" + &self.player.sets[set].id;
        }
        if let Some(code) = &code {
            uri = uri + "&code=" + code;
        }
        let answer = self.player.shop.client.get(&uri).await.expect(200);
        let mut expected: Vec<usize> = (0..self.model.assignments.len())
            .filter(|index| {
                let assignment = &self.model.assignments[*index];
                by.is_none_or(|by| assignment.contact == self.model.person(by))
                    && set.is_none_or(|set| assignment.set == set)
                    && code
                        .as_ref()
                        .is_none_or(|code| assignment.card.code == *code)
            })
            .collect();
        expected.sort_by_key(|index| {
            let assignment = &self.model.assignments[*index];
            (assignment.assigned_at, assignment.set, *index)
        });
        expected.reverse();
        same(
            "the length of the list",
            answer.results().len(),
            expected.len(),
        )?;
        for (seen, index) in answer.results().iter().zip(expected) {
            self.check_assignment(seen, index)?;
        }
        Ok(())
    }
}
