//! Clients that hold codes: each records events for its assignments, and retries them at other replicas until it knows
//! the results.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::history::{EVENTS, Event, State, Told, Verdict, now};
use super::http::{Caller, Reply, Request};
use super::workload::{Client, Shared, count, parse};

/// Maximum number of its own assignments that a client remembers.
const HELD: usize = 300;
/// Maximum number of assignments per request.
const MAX_TOLD: u64 = 50;

/// An event for an assignment.
pub type Tale = (Uuid, Event);

impl Client {
    /// Stores the last known state of an assignment.
    pub fn hold(&mut self, id: Uuid, state: State) {
        if let Some(known) = self.held.iter_mut().find(|(held, _)| *held == id) {
            known.1 = state;
        } else if self.held.len() < HELD {
            self.held.push((id, state));
        } else {
            let place = self.random.index(HELD);
            self.held[place] = (id, state);
        }
    }

    /// A remembered assignment, often a recent one, because it may be reserved only for a short time.
    fn pick(&mut self) -> Option<(Uuid, State)> {
        let length = self.held.len();
        let from = if self.random.percent(60) {
            length.saturating_sub(5)
        } else {
            0
        };
        (length > 0).then(|| self.held[from + self.random.index(length - from)])
    }

    /// An event, usually one that the last known state allows.
    fn event(&mut self, state: State) -> Event {
        let likely = match state {
            State::Reserved => [
                Event::Confirm,
                Event::Confirm,
                Event::Release,
                Event::Confirm,
                Event::Void,
            ],
            State::Assigned => [
                Event::Sent,
                Event::Release,
                Event::Used,
                Event::Release,
                Event::Void,
            ],
            State::Sent => [
                Event::Used,
                Event::Used,
                Event::Sent,
                Event::Used,
                Event::Void,
            ],
            _ => EVENTS,
        };
        let events = if self.random.percent(90) {
            likely
        } else {
            EVENTS
        };
        events[self.random.index(events.len())]
    }

    pub async fn tell_one(&mut self) {
        let Some((id, state)) = self.pick() else {
            return;
        };
        let event = self.event(state);
        self.tell(vec![(id, event)], false).await;
    }

    /// Some assignments occur twice: events for one assignment take effect in their order.
    pub async fn tell_many(&mut self) {
        let mut tales: Vec<Tale> = Vec::new();
        for _ in 0..=self.random.below(MAX_TOLD) {
            let Some((id, state)) = self.pick() else {
                return;
            };
            let tale = (id, self.event(state));
            if !tales.contains(&tale) {
                tales.push(tale);
            }
        }
        self.tell(tales, true).await;
    }

    pub async fn tell_rivals(&mut self) {
        let Some((id, state)) = self.pick() else {
            return;
        };
        let tales = [self.event(state), self.event(state)].map(|event| [(id, event)]);
        let patience = self.patience();
        let replicas = self.shared.addresses.count();
        let first = self.random.index(replicas);
        let second = (first + 1) % replicas;
        let [one, other] = &mut self.callers;
        let (one, other) = tokio::join!(
            tell(&self.shared, one, first, &tales[0], false, patience),
            tell(&self.shared, other, second, &tales[1], true, patience),
        );
        for told in [one, other] {
            let open = self.note(told);
            if !open.is_empty() {
                self.tell(open, false).await;
            }
        }
    }

    /// Records events, with retries, until each has a result or the load is over.
    async fn tell(&mut self, tales: Vec<Tale>, as_bulk: bool) {
        let replicas = self.shared.addresses.count();
        let mut replica = self.random.index(replicas);
        let mut open = tales;
        loop {
            let patience = self.patience();
            let caller = &mut self.callers[0];
            let told = tell(&self.shared, caller, replica, &open, as_bulk, patience).await;
            open = self.note(told);
            if open.is_empty() || self.shared.is_over() {
                return;
            }
            count(&self.shared.retries, open.len());
            replica = (replica + 1 + self.random.index(replicas - 1)) % replicas;
            tokio::time::sleep(self.random.millis((1, 60))).await;
        }
    }

    /// Stores results, and returns the events with an unknown result.
    fn note(&mut self, told: Vec<Told>) -> Vec<Tale> {
        let mut open = Vec::new();
        for told in told {
            match told.verdict {
                Verdict::Done { state, .. } => {
                    count(&self.shared.events[told.event as usize], 1);
                    self.hold(told.id, state);
                }
                Verdict::WrongState(state) => {
                    count(&self.shared.wrong_states, 1);
                    self.hold(told.id, state);
                }
                Verdict::Unknown => {
                    count(&self.shared.unknown, 1);
                    open.push((told.id, told.event));
                }
                Verdict::Wrong(_) => {}
            }
            self.seen.told.push(told);
        }
        // Ended assignments get a few more events.
        if self.random.percent(20) {
            self.held.retain(|(_, state)| state.step() < 3);
        }
        open
    }
}

/// Sends events once, to one replica.
pub async fn tell(
    shared: &Shared,
    caller: &mut Caller,
    replica: usize,
    tales: &[Tale],
    as_bulk: bool,
    patience: Duration,
) -> Vec<Told> {
    count(&shared.requests, 1);
    let begun = now();
    let verdicts = if as_bulk {
        let events: Vec<Value> = tales
            .iter()
            .map(|(id, event)| json!({"assignmentId": id, "event": event.verb()}))
            .collect();
        let body = json!({"events": events}).to_string();
        let request = Request::post("/v1/assignments/events", &body);
        let reply = caller.send(replica, request, patience).await;
        read_bulk(tales, reply.as_ref())
    } else {
        let [(id, event)] = tales else {
            panic!("{} events in one request", tales.len())
        };
        let path = format!("/v1/assignments/{id}/{}", event.verb());
        let request = Request::post(&path, r#"{"reason": "as agreed"}"#);
        let reply = caller.send(replica, request, patience).await;
        let verdict = reply.map_or(Verdict::Unknown, |Reply { status, body }| {
            read(*id, status, &body["id"], &body["state"], &body)
        });
        vec![verdict]
    };
    let ended = now();
    let told = |((id, event), verdict): (&Tale, Verdict)| Told {
        id: *id,
        event: *event,
        sent: begun,
        ended,
        verdict,
    };
    tales.iter().zip(verdicts).map(told).collect()
}

fn read_bulk(tales: &[Tale], reply: Option<&Reply>) -> Vec<Verdict> {
    let all = |verdict: Verdict| vec![verdict; tales.len()];
    let Some(Reply { status, body }) = reply else {
        return all(Verdict::Unknown);
    };
    if *status != 200 {
        return all(read(tales[0].0, *status, &Value::Null, &Value::Null, body));
    }
    let results = body["results"].as_array().map_or(&[][..], Vec::as_slice);
    if results.len() != tales.len() {
        return all(Verdict::Wrong("a bulk of another length".into()));
    }
    let verdict = |((id, _), result): (&Tale, &Value)| {
        let status = result["status"].as_u64().and_then(|n| n.try_into().ok());
        let (named, state) = (&result["assignmentId"], &result["state"]);
        let verdict = read(*id, status.unwrap_or(0), named, state, &result["error"]);
        match verdict {
            Verdict::Done { state, .. } => Verdict::Done {
                state,
                is_new: result["outcome"] == "recorded",
            },
            other => other,
        }
    };
    tales.iter().zip(results).map(verdict).collect()
}

/// Converts a response into the result of an event for this assignment.
fn read(id: Uuid, status: u16, named: &Value, state: &Value, body: &Value) -> Verdict {
    let state_of = |value: &Value| value.as_str().and_then(State::parse);
    let verdict = match (status, body["code"].as_str()) {
        (200, _) if parse(named) == Some(id) => state_of(state).map(|state| Verdict::Done {
            state,
            is_new: false,
        }),
        (409, Some("wrong-state")) if parse(&body["assignmentId"]) == Some(id) => {
            state_of(&body["state"]).map(Verdict::WrongState)
        }
        (408 | 503, _) => Some(Verdict::Unknown),
        _ => None,
    };
    verdict.unwrap_or_else(|| Verdict::Wrong(format!("{status} {body}").into()))
}
