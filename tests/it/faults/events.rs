//! Clients that hold codes: each records events for its assignments, and retries them at other replicas until it knows
//! the results.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::history::{EVENTS, Event, EventAnswer, EventCall, State, now};
use super::http::{Caller, Reply, Request};
use super::workload::{Client, Shared, count, parse};

/// Maximum number of its own assignments that a client remembers.
const MAX_HELD: usize = 300;
/// Maximum number of assignments per request.
const MAX_EVENTS: u64 = 50;

/// An event for an assignment.
pub type EventItem = (Uuid, Event);

impl Client {
    /// Stores the last known state of an assignment.
    pub fn hold(&mut self, id: Uuid, state: State) {
        if let Some(known) = self.held.iter_mut().find(|(held, _)| *held == id) {
            known.1 = state;
        } else if self.held.len() < MAX_HELD {
            self.held.push((id, state));
        } else {
            let place = self.random.index(MAX_HELD);
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

    pub async fn record_one(&mut self) {
        let Some((id, state)) = self.pick() else {
            return;
        };
        let event = self.event(state);
        self.record_events(vec![(id, event)], false).await;
    }

    /// Some assignments occur twice: events for one assignment take effect in their order.
    pub async fn record_many(&mut self) {
        let mut items: Vec<EventItem> = Vec::new();
        for _ in 0..=self.random.below(MAX_EVENTS) {
            let Some((id, state)) = self.pick() else {
                return;
            };
            let item = (id, self.event(state));
            if !items.contains(&item) {
                items.push(item);
            }
        }
        self.record_events(items, true).await;
    }

    pub async fn record_rivals(&mut self) {
        let Some((id, state)) = self.pick() else {
            return;
        };
        let items = [self.event(state), self.event(state)].map(|event| [(id, event)]);
        let time_limit = self.time_limit();
        let replicas = self.shared.addresses.count();
        let first = self.random.index(replicas);
        let second = (first + 1) % replicas;
        let [one, other] = &mut self.callers;
        let (one, other) = tokio::join!(
            send_events(&self.shared, one, first, &items[0], false, time_limit),
            send_events(&self.shared, other, second, &items[1], true, time_limit),
        );
        for calls in [one, other] {
            let open = self.store_event_calls(calls);
            if !open.is_empty() {
                self.record_events(open, false).await;
            }
        }
    }

    /// Records events, with retries, until each has a result or the load is over.
    async fn record_events(&mut self, items: Vec<EventItem>, as_bulk: bool) {
        let replicas = self.shared.addresses.count();
        let mut replica = self.random.index(replicas);
        let mut open = items;
        loop {
            let time_limit = self.time_limit();
            let caller = &mut self.callers[0];
            let calls =
                send_events(&self.shared, caller, replica, &open, as_bulk, time_limit).await;
            open = self.store_event_calls(calls);
            if open.is_empty() || self.shared.is_over() {
                return;
            }
            count(&self.shared.retries, open.len());
            replica = (replica + 1 + self.random.index(replicas - 1)) % replicas;
            tokio::time::sleep(self.random.millis((1, 60))).await;
        }
    }

    /// Stores results, and returns the events with an unknown result.
    fn store_event_calls(&mut self, calls: Vec<EventCall>) -> Vec<EventItem> {
        let mut open = Vec::new();
        for call in calls {
            match call.answer {
                EventAnswer::Done { state, .. } => {
                    count(&self.shared.events[call.event as usize], 1);
                    self.hold(call.id, state);
                }
                EventAnswer::WrongState(state) => {
                    count(&self.shared.wrong_states, 1);
                    self.hold(call.id, state);
                }
                EventAnswer::Unknown => {
                    count(&self.shared.unknown, 1);
                    open.push((call.id, call.event));
                }
                EventAnswer::Wrong(_) => {}
            }
            self.seen.event_calls.push(call);
        }
        // Ended assignments get a few more events.
        if self.random.percent(20) {
            self.held.retain(|(_, state)| state.step() < 3);
        }
        open
    }
}

/// Sends events once, to one replica.
pub async fn send_events(
    shared: &Shared,
    caller: &mut Caller,
    replica: usize,
    items: &[EventItem],
    as_bulk: bool,
    time_limit: Duration,
) -> Vec<EventCall> {
    count(&shared.requests, 1);
    let begun = now();
    let answers = if as_bulk {
        let events: Vec<Value> = items
            .iter()
            .map(|(id, event)| json!({"assignmentId": id, "event": event.verb()}))
            .collect();
        let body = json!({"events": events}).to_string();
        let request = Request::post("/v1/assignments/events", &body);
        let reply = caller.send(replica, request, time_limit).await;
        read_bulk(items, reply.as_ref())
    } else {
        let [(id, event)] = items else {
            panic!("{} events in one request", items.len())
        };
        let path = format!("/v1/assignments/{id}/{}", event.verb());
        let request = Request::post(&path, r#"{"reason": "as agreed"}"#);
        let reply = caller.send(replica, request, time_limit).await;
        let answer = reply.map_or(EventAnswer::Unknown, |Reply { status, body }| {
            read(*id, status, &body["id"], &body["state"], &body)
        });
        vec![answer]
    };
    let ended = now();
    let call = |((id, event), answer): (&EventItem, EventAnswer)| EventCall {
        id: *id,
        event: *event,
        sent: begun,
        ended,
        answer,
    };
    items.iter().zip(answers).map(call).collect()
}

fn read_bulk(items: &[EventItem], reply: Option<&Reply>) -> Vec<EventAnswer> {
    let all = |answer: EventAnswer| vec![answer; items.len()];
    let Some(Reply { status, body }) = reply else {
        return all(EventAnswer::Unknown);
    };
    if *status != 200 {
        return all(read(items[0].0, *status, &Value::Null, &Value::Null, body));
    }
    let results = body["results"].as_array().map_or(&[][..], Vec::as_slice);
    if results.len() != items.len() {
        return all(EventAnswer::Wrong(
            "a bulk response of another length".into(),
        ));
    }
    let answer = |((id, _), result): (&EventItem, &Value)| {
        let status = result["status"].as_u64().and_then(|n| n.try_into().ok());
        let (named, state) = (&result["assignmentId"], &result["state"]);
        let answer = read(*id, status.unwrap_or(0), named, state, &result["error"]);
        match answer {
            EventAnswer::Done { state, .. } => EventAnswer::Done {
                state,
                is_new: result["outcome"] == "recorded",
            },
            other => other,
        }
    };
    items.iter().zip(results).map(answer).collect()
}

/// Converts a response into the result of an event for this assignment.
fn read(id: Uuid, status: u16, named: &Value, state: &Value, body: &Value) -> EventAnswer {
    let state_of = |value: &Value| value.as_str().and_then(State::parse);
    let answer = match (status, body["code"].as_str()) {
        (200, _) if parse(named) == Some(id) => state_of(state).map(|state| EventAnswer::Done {
            state,
            is_new: false,
        }),
        (409, Some("wrong-state")) if parse(&body["assignmentId"]) == Some(id) => {
            state_of(&body["state"]).map(EventAnswer::WrongState)
        }
        (408 | 429 | 503, _) => Some(EventAnswer::Unknown),
        _ => None,
    };
    answer.unwrap_or_else(|| EventAnswer::Wrong(format!("{status} {body}").into()))
}
