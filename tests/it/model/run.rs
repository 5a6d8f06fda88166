//! Plays a history against the service and the model, and compares the two after each step.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::client::{Player, code, contact, item_key, key, verb};
use super::history::{Ask, Change, Event, History, Kind, Policy, Row, Step, Subject};
use super::reference::{Assignment, Card, Given, Model, Set, State, Time, Told, Verdict};
use crate::support::TestApp;
use crate::support::client::Answer;

/// What was wrong, in words.
pub type Check<T = ()> = Result<T, String>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Check {
    if seen == expected {
        Ok(())
    } else {
        Err(format!(
            "{what} is {seen:?}, but the model says {expected:?}"
        ))
    }
}

fn time(value: &Value) -> Option<Time> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).expect("a time");
    Some(time.with_timezone(&Utc))
}

fn zone(name: &str) -> Tz {
    name.parse().expect("a zone")
}

/// What came back for one request for a code: alone or as an item of a batch.
struct Seen {
    status: u16,
    /// The assignment or the problem.
    body: Value,
    key: Value,
}

impl From<Answer> for Seen {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status.as_u16(),
            key: answer.body["idempotencyKey"].clone(),
            body: answer.body,
        }
    }
}

impl From<&Value> for Seen {
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

/// Status and code of a problem; else the whole answer.
fn refusal(answer: &Answer) -> String {
    let code = &answer.body["code"];
    format!(
        "{} {}",
        answer.status.as_u16(),
        code.as_str().unwrap_or(&answer.text)
    )
}

struct Run<'a> {
    app: &'a TestApp,
    player: Player,
    model: Model,
}

/// Plays a history in a shop of its own.
pub async fn play(app: &TestApp, history: &History) -> Check {
    let base = Utc::now().trunc_subsecs(6);
    let player = Player::open(app.shop().await, base, &history.sets).await;
    let mut run = Run {
        app,
        player,
        model: Model::default(),
    };
    for (index, new) in history.sets.iter().enumerate() {
        let (code, quantity) = match new.kind {
            Kind::Multiple(_) => (None, None),
            Kind::Single(quantity) => (Some(format!("S{index}")), quantity.map(usize::from)),
        };
        run.model.sets.push(Set {
            code,
            quantity,
            child: run.player.child_of_new(index, new),
            on_repeat: "newCode",
            same_code_until: "always",
            per_contact: None,
            expires_at: None,
            timezone: Tz::UTC,
            valid_for_days: None,
            deck: Vec::new(),
            returned: Vec::new(),
            codes: Vec::new(),
        });
        for policy in &new.policies {
            run.adopt(index, *policy);
        }
        if let Kind::Multiple(rows) = &new.kind {
            run.import(index, rows).await?;
        }
    }
    for (index, step) in history.steps.iter().enumerate() {
        run.step(step)
            .await
            .map_err(|fault| format!("at step {index}: {fault}"))?;
    }
    run.replay_all()
        .await
        .map_err(|fault| format!("at the end: {fault}"))
}

impl Run<'_> {
    async fn step(&mut self, step: &Step) -> Check {
        self.model.set_time(Utc::now());
        match step {
            Step::Assign { set, ask, child } => {
                let set = self.player.set(*set);
                let key = ask.key.map(key);
                self.assign(set, *ask, *child, key.as_deref()).await?;
            }
            Step::Batch {
                set,
                asks,
                child,
                key,
                all,
            } => {
                let set = self.player.set(*set);
                self.batch(set, asks, *child, *key, *all).await?;
            }
            Step::Import(set, rows) => self.import(self.player.set(*set), rows).await?,
            Step::Tell(event, which) => self.tell(*event, *which).await?,
            Step::TellMany(events) => self.tell_many(events).await?,
            Step::Patch(set, change) => self.patch(self.player.set(*set), *change).await?,
            Step::Hours(hours) => self.pass(TimeDelta::hours((*hours).into())).await,
            Step::Sweep => self.sweep().await,
            Step::Rehearse {
                set,
                ask,
                child,
                outcome,
            } => {
                let set = self.player.set(*set);
                self.rehearse(set, *ask, *child, *outcome).await?;
            }
            Step::Available { set, count, child } => {
                let set = self.player.set(*set);
                self.ask_available(set, *count, *child).await?;
            }
            Step::Find(which) => {
                if let Some(index) = self.pick(*which) {
                    self.look_at(index, false).await?;
                }
            }
            Step::List {
                contact,
                set,
                code: number,
            } => self.list(*contact, *set, number.map(code)).await?,
        }
        self.check_sets().await
    }

    /// An assignment, counted from the latest one back.
    fn pick(&self, which: u8) -> Option<usize> {
        let count = self.model.assignments.len();
        let back = usize::from(which) % count.max(1);
        (count - back).checked_sub(1)
    }

    fn adopt(&mut self, set: usize, policy: Policy) {
        let moment = |day| self.player.moment(day);
        let set = &mut self.model.sets[set];
        match policy {
            Policy::OnRepeat(what) => set.on_repeat = what,
            Policy::SameCodeUntil(until) => set.same_code_until = until,
            Policy::PerContact(most) => set.per_contact = most.map(usize::from),
            Policy::ExpiresAt(day) => set.expires_at = moment(day),
            Policy::Timezone(name) => set.timezone = zone(name),
            Policy::ValidForDays(days) => set.valid_for_days = days.map(u64::from),
        }
    }

    async fn import(&mut self, set: usize, rows: &[Row]) -> Check {
        if self.model.sets[set].code.is_some() {
            return Ok(());
        }
        let import = self.player.import(set, rows).await;
        let card = |(number, day): &Row| Card {
            code: code(*number),
            expires_at: self.player.moment(*day),
        };
        let cards = rows.iter().map(card).collect();
        let success = self.model.import(set, cards);
        let counts = [&import["success"], &import["duplicates"], &import["errors"]];
        let duplicates = json!(rows.len() - success);
        same(
            "success, duplicates and errors of the import",
            counts,
            [&json!(success), &duplicates, &duplicates],
        )
    }

    async fn assign(
        &mut self,
        set: usize,
        ask: Ask,
        child: Option<u8>,
        key: Option<&str>,
    ) -> Check {
        let answer = self.player.assign(set, ask, child, key).await;
        self.check_answer(set, ask, child, key, &answer.into())
    }

    /// Compares one answer with what the model says, and lets the model have what was given.
    fn check_answer(
        &mut self,
        set: usize,
        ask: Ask,
        child: Option<u8>,
        key: Option<&str>,
        seen: &Seen,
    ) -> Check {
        let child = self.player.child(child);
        let verdict = self.model.ask(set, child, ask.contact, key);
        self.check_verdict(set, ask, verdict, key, seen)
            .map_err(|fault| format!("{fault}\n  answer: {} {}", seen.status, seen.body))
    }

    fn check_verdict(
        &mut self,
        set: usize,
        ask: Ask,
        verdict: Verdict,
        key: Option<&str>,
        seen: &Seen,
    ) -> Check {
        if let Some(key) = key.filter(|_| seen.status < 300) {
            same("the key", seen.key.as_str(), Some(key))?;
        }
        let outcome = seen.body["outcome"].as_str();
        match verdict {
            Verdict::Refused(status, problem, assignment) => {
                same("the status", seen.status, status)?;
                same("the problem", seen.body["code"].as_str(), Some(problem))?;
                let id = assignment.map(|index| self.model.assignments[index].id.as_str());
                same(
                    "the problem's assignment",
                    seen.body["assignmentId"].as_str(),
                    id,
                )
            }
            Verdict::Replayed(index) => {
                same(
                    "status and outcome",
                    (seen.status, outcome),
                    (200, Some("replayed")),
                )?;
                self.check_assignment(&seen.body, index)
            }
            Verdict::AlreadyAssigned(index) => {
                let expected = (200, Some("alreadyAssigned"));
                same("status and outcome", (seen.status, outcome), expected)?;
                let key = seen.key.as_str().expect("a key").to_owned();
                self.model.keys.insert((set, key), index);
                self.check_assignment(&seen.body, index)
            }
            Verdict::Given(serving, cards) => {
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
                self.model.take(Given {
                    id: seen.body["id"].as_str().expect("an id").to_owned(),
                    requested: set,
                    set: serving,
                    contact: ask.contact,
                    card: card.clone(),
                    key: seen.key.as_str().expect("a key").to_owned(),
                    reserve: ask.reserve,
                    assigned_at: time(&seen.body["assignedAt"]).expect("a time"),
                });
                self.check_assignment(&seen.body, self.model.assignments.len() - 1)
            }
        }
    }

    fn check_assignment(&self, seen: &Value, index: usize) -> Check {
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

    async fn batch(
        &mut self,
        set: usize,
        asks: &[Ask],
        child: Option<u8>,
        batch_key: Option<u8>,
        all: bool,
    ) -> Check {
        let answer = self.player.batch(set, asks, child, batch_key, all).await;
        let keys: Vec<_> = asks
            .iter()
            .enumerate()
            .map(|(index, ask)| item_key(*ask, index, batch_key))
            .collect();
        if all {
            let refusals = self.rehearse_batch(set, asks, child, &keys);
            let contradict = |(index, key): (usize, &Option<String>)| {
                let first = keys.iter().position(|other| other == key).unwrap_or(index);
                key.is_some() && asks[first].contact != asks[index].contact
            };
            if keys.iter().enumerate().any(contradict) {
                return same(
                    "the refusal",
                    refusal(&answer).as_str(),
                    "422 validation-failed",
                );
            }
            if !refusals.is_empty() {
                return check_withheld(&answer, asks, &refusals);
            }
        }
        let answer = answer.expect(200);
        same("the number of results", answer.results().len(), asks.len())?;
        // An item asks after all others if an earlier one brought its key, for another contact, and was refused.
        let mut open: Vec<usize> = (0..asks.len()).collect();
        while !open.is_empty() {
            let is_first = |index: &usize| {
                let mut others = open.iter().take_while(|other| *other < index);
                keys[*index].is_none() || others.all(|other| keys[*other] != keys[*index])
            };
            let (first, followers): (Vec<usize>, Vec<usize>) =
                open.iter().partition(|index| is_first(index));
            for index in &first {
                let seen = Seen::from(&answer.results()[*index]);
                self.check_answer(set, asks[*index], child, keys[*index].as_deref(), &seen)
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
                if !is_bound && asks[leader].contact != asks[index].contact {
                    open.push(index);
                    continue;
                }
                let seen = Seen::from(&answer.results()[index]);
                self.check_answer(set, asks[index], child, keys[index].as_deref(), &seen)
                    .map_err(|fault| format!("item {index}: {fault}"))?;
            }
        }
        Ok(())
    }

    /// The items of a batch that cannot be given a code, with their problems.
    fn rehearse_batch(
        &self,
        set: usize,
        asks: &[Ask],
        child: Option<u8>,
        keys: &[Option<String>],
    ) -> Vec<(usize, &'static str)> {
        let mut model = self.model.clone();
        let mut refusals = Vec::new();
        for (index, (ask, key)) in asks.iter().zip(keys).enumerate() {
            let child = self.player.child(child);
            let new_key = key.clone().unwrap_or_else(|| format!("new {index}"));
            match model.ask(set, child, ask.contact, key.as_deref()) {
                Verdict::Refused(_, problem, _) => refusals.push((index, problem)),
                Verdict::Replayed(_) => {}
                Verdict::AlreadyAssigned(held) => {
                    model.keys.insert((set, new_key), held);
                }
                Verdict::Given(serving, mut cards) => {
                    model.take(Given {
                        id: String::new(),
                        requested: set,
                        set: serving,
                        contact: ask.contact,
                        card: cards.remove(0),
                        key: new_key,
                        reserve: ask.reserve,
                        assigned_at: model.now,
                    });
                }
            }
        }
        refusals
    }

    async fn rehearse(
        &self,
        set: usize,
        ask: Ask,
        child: Option<u8>,
        outcome: Option<&str>,
    ) -> Check {
        let answer = self.player.rehearse(set, ask, child, outcome).await;
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
            "the rehearsal",
            (answer.status.as_u16(), seen, &answer.body["test"]),
            (expected.0, Some(expected.1), &json!(true)),
        )
    }

    async fn ask_available(&self, set: usize, count: u8, child: Option<u8>) -> Check {
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

    async fn tell(&mut self, event: Event, which: u8) -> Check {
        let Some(index) = self.pick(which) else {
            return Ok(());
        };
        let answer = self
            .player
            .tell(&self.model.assignments[index].id, event)
            .await;
        let told = self.model.tell(index, event);
        match told {
            Told::WrongState(state) => {
                same("the refusal", refusal(&answer).as_str(), "409 wrong-state")?;
                same(
                    "its state",
                    answer.body["state"].as_str().unwrap_or_default(),
                    state.as_str(),
                )?;
            }
            Told::Recorded(_) | Told::Repeated(_) => {
                let answer = answer.expect(200);
                same(
                    "the state",
                    answer.str("state"),
                    self.model.assignments[index].state.as_str(),
                )?;
            }
        }
        let confirmed = event == Event::Confirm && matches!(told, Told::Recorded(_));
        self.look_at(index, confirmed).await
    }

    async fn tell_many(&mut self, events: &[(Event, Subject)]) -> Check {
        // Which assignment a code means is decided before any of the events.
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
        let answer = self.player.tell_many(bodies).await;
        let mut touched = Vec::new();
        for (place, ((event, subject), seen)) in subjects.iter().zip(answer.results()).enumerate() {
            let id = subject
                .ok()
                .map(|index| self.model.assignments[index].id.clone());
            let (status, outcome, state, problem) = match subject {
                Err(problem) => (422, None, None, Some(*problem)),
                Ok(index) => {
                    let told = self.model.tell(*index, *event);
                    let confirmed = *event == Event::Confirm && matches!(told, Told::Recorded(_));
                    touched.push((*index, confirmed));
                    match told {
                        Told::Recorded(state) => {
                            (200, Some("recorded"), Some(state.as_str()), None)
                        }
                        Told::Repeated(state) => {
                            (200, Some("repeated"), Some(state.as_str()), None)
                        }
                        Told::WrongState(_) => (409, None, None, Some("wrong-state")),
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

    /// Reads an assignment with its history. If it was confirmed just now, the model hears when.
    async fn look_at(&mut self, index: usize, confirmed: bool) -> Check {
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
        // The sweeper may have come by or not.
        if assignment.state == State::Expired && events.last() == Some(&"expired") {
            events.pop();
        } else if assignment.swept {
            return Err("the sweeper left no event".to_owned());
        }
        same("the history", events, assignment.events.clone())
    }

    async fn list(&self, by: Option<u8>, set: Option<u8>, code: Option<String>) -> Check {
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
                by.is_none_or(|by| assignment.contact == by)
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

    async fn patch(&mut self, set: usize, change: Change) -> Check {
        let answer = self.player.patch(set, change).await;
        let is_single = self.model.sets[set].code.is_some();
        let counters = self.model.counters(set);
        let taken = counters.reserved + counters.assigned + counters.void;
        let expected = match change {
            Change::Quantity(_) if !is_single => Some("422 validation-failed"),
            Change::Quantity(Some(quantity)) if usize::from(quantity) < taken => {
                same("what is assigned", &answer.body["assigned"], &json!(taken))?;
                Some("409 quantity-below-assigned")
            }
            Change::Child(Some(child))
                if self.model.closes_a_cycle(set, self.player.set(child)) =>
            {
                Some("422 child-set-cycle")
            }
            _ => None,
        };
        if let Some(expected) = expected {
            return same("the refusal", refusal(&answer).as_str(), expected);
        }
        answer.expect(200);
        match change {
            Change::Policy(policy) => self.adopt(set, policy),
            Change::Quantity(quantity) => self.model.sets[set].quantity = quantity.map(usize::from),
            Change::Child(child) => self.model.sets[set].child = self.player.child(child),
        }
        Ok(())
    }

    /// Lets time pass: all moments that the service has stored and that are still to come move towards the present.
    async fn pass(&mut self, time: TimeDelta) {
        let tenant = format!(
            "(select t.tenant_id from tenants t where t.id = '{}')",
            self.player.shop.tenant_id
        );
        let columns = [
            ("coupon_sets", &["expires_at"][..]),
            ("lots", &["first_expires_at", "last_expires_at"]),
            ("cards", &["expires_at"]),
            ("assignments", &["expires_at"]),
            ("reservations", &["expires_at", "code_expires_at"]),
            ("ledger_entries", &["expires_at"]),
        ];
        let seconds = time.num_seconds();
        let moves: Vec<String> = columns
            .iter()
            .map(|(table, columns)| {
                let moves: Vec<String> = columns
                    .iter()
                    .map(|column| format!("{column} = {column} - make_interval(secs => {seconds})"))
                    .collect();
                format!(
                    "update {table} set {} where tenant_id = {tenant}",
                    moves.join(", ")
                )
            })
            .collect();
        // In one transaction: the sweeper sees all of it or nothing.
        self.app.database.execute(&moves.join("; ")).await;
        self.player.base -= time;
        self.model.pass(time);
        self.model.set_time(Utc::now());
    }

    async fn sweep(&mut self) {
        let sweep = format!(
            "select sweep_reservations(s.tenant_id, s.set_no)
               from coupon_sets s
               join tenants t on t.tenant_id = s.tenant_id
              where t.id = '{}'",
            self.player.shop.tenant_id
        );
        self.app.database.execute(&sweep).await;
        self.model.sweep();
    }

    async fn check_sets(&self) -> Check {
        if let Some(assignment) = self.model.twice_held() {
            return Err(format!("{} is held twice", assignment.card.code));
        }
        let uri = "/v1/coupon-sets?sort=createdAt";
        let sets = self.player.shop.client.get(uri).await.expect(200);
        for (index, seen) in sets.results().iter().enumerate() {
            let name = |what| format!("`{what}` of set {index}");
            let counters = self.model.counters(index);
            let numbers = [
                ("quantity", counters.quantity),
                ("available", counters.available),
                ("reserved", Some(counters.reserved)),
                ("assigned", Some(counters.assigned)),
                ("sent", Some(counters.sent)),
                ("used", Some(counters.used)),
                ("void", Some(counters.void)),
                ("expired", Some(counters.expired)),
            ];
            for (counter, number) in numbers {
                same(&name(counter), &seen[counter], &json!(number))?;
            }
            let (least, most) = self.model.released(index);
            let released = seen["released"]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok());
            if !released.is_some_and(|released| (least..=most).contains(&released)) {
                return Err(format!(
                    "{} is {}, but the model says {least} to {most}",
                    name("released"),
                    seen["released"]
                ));
            }
            same(
                &name("state"),
                seen["state"].as_str(),
                Some(self.model.set_state(index)),
            )?;
            let expires_at = self.model.sets[index].expires_at;
            same(&name("expiresAt"), time(&seen["expiresAt"]), expires_at)?;
            let parts = ["available", "reserved", "assigned", "void", "expired"];
            let sum: Option<u64> = parts.iter().map(|part| seen[part].as_u64()).sum();
            if seen["quantity"].is_u64() {
                same(&name("quantity"), seen["quantity"].as_u64(), sum)?;
            }
        }
        Ok(())
    }

    /// Every key that was answered is replayed, to its contact and to another.
    async fn replay_all(&mut self) -> Check {
        self.sweep().await;
        self.check_sets().await?;
        let keys: Vec<_> = self.model.keys.clone().into_iter().collect();
        for ((set, key), index) in keys {
            self.model.set_time(Utc::now());
            let owner = self.model.assignments[index].contact;
            for contact in [owner, (owner + 1) % 3] {
                let ask = Ask {
                    contact,
                    key: None,
                    reserve: None,
                };
                self.assign(set, ask, None, Some(&key))
                    .await
                    .map_err(|fault| format!("key {key} of set {set} again: {fault}"))?;
            }
        }
        self.check_sets().await
    }
}

/// Nothing was given, and the items that could not be served are named. What is said of an item whose contact or key
/// occurs twice depends on what became of the other one, so of these any of the refused will do.
fn check_withheld(answer: &Answer, asks: &[Ask], refusals: &[(usize, &str)]) -> Check {
    same(
        "the refusal",
        refusal(&answer).as_str(),
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
    for index in 0..asks.len() {
        let of = |all: &[(usize, &str)]| {
            all.iter()
                .find(|(i, _)| *i == index)
                .map(|(_, code)| (*code).to_owned())
        };
        let is_alone = asks
            .iter()
            .enumerate()
            .all(|(other, ask)| other == index || ask.contact != asks[index].contact);
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
