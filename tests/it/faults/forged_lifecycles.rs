//! Tests of the checker for the lifecycle of assignments: it accepts an honest one, and objects to each kind of forged
//! one.

use uuid::Uuid;

use super::forged::{HistoryBuilder, ONCE, SAME, SPRING, replayed};
use super::history::{
    AssignedCode, CodeAnswer, Event, EventAnswer, EventCall, Evidence, State, StateChange,
};

impl HistoryBuilder {
    /// Appends an entry to the ledger and updates the lists and counters; `state` is the state after it.
    fn change(&mut self, given: &AssignedCode, state: State, until: Option<i64>) {
        let evidence = &mut self.evidence;
        let set = given.served;
        let entries = evidence.log.iter().filter(|entry| entry.served == set);
        let changes = evidence
            .changes
            .iter()
            .filter(|change| change.served == set);
        let number = i64::try_from(entries.count() + changes.count()).unwrap() + 1;
        let entry = evidence.log.iter_mut().find(|entry| entry.id == given.id);
        let entry = entry.unwrap();
        let place = (set, entry.number);
        let counters = &mut evidence.counters[set];
        match entry.state {
            State::Reserved => counters.reserved -= 1,
            _ => counters.assigned -= 1,
        }
        evidence.reservations.remove(&place);
        match state {
            State::Reserved => {
                counters.reserved += 1;
                evidence.reservations.insert(place);
            }
            State::Assigned | State::Sent | State::Used => counters.assigned += 1,
            State::Void => counters.void += 1,
            State::Released | State::Expired => {
                counters.available = counters.available.map(|left| left + 1);
            }
        }
        entry.state = state;
        evidence.changes.push(StateChange {
            served: set,
            number,
            of: entry.number,
            state,
            at: self.time + 15,
            until,
        });
    }

    fn event_call(&mut self, given: &AssignedCode, event: Event, answer: EventAnswer) {
        self.time += 10;
        self.evidence.event_calls.push(EventCall {
            id: given.id,
            event,
            sent: self.time,
            ended: self.time + 9,
            answer,
        });
    }

    /// Records an event, with its request and its result.
    fn record(&mut self, given: &AssignedCode, event: Event) {
        let state = event.leads_to();
        self.change(given, state, None);
        self.event_call(given, event, done(state));
    }

    fn reserve(&mut self, set: usize, key: u64, contact: u64, seconds: i64) -> AssignedCode {
        let given = self.log(set, set, key, contact);
        let until = Some(self.time + seconds);
        self.change(&given, State::Reserved, until);
        let answer = AssignedCode {
            state: State::Reserved,
            ..given.clone()
        };
        self.call(set, key, contact, CodeAnswer::Assigned(answer));
        given
    }

    /// Assigns a released code to the next contact.
    fn assign_again(&mut self, before: &AssignedCode, key: u64, contact: u64) -> AssignedCode {
        let given = self.log(before.served, before.served, key, contact);
        let entry = self.evidence.log.last_mut().unwrap();
        entry.code = before.code.clone();
        entry.lot = 2;
        let given = AssignedCode {
            code: before.code.clone(),
            ..given
        };
        let answer = CodeAnswer::Assigned(given.clone());
        self.call(before.served, key, contact, answer);
        given
    }
}

fn done(state: State) -> EventAnswer {
    EventAnswer::Done {
        state,
        is_new: false,
    }
}

fn ended(given: &AssignedCode, state: State) -> CodeAnswer {
    CodeAnswer::Ended(given.id, state)
}

/// Ann's code was released and assigned to Bob. Cat's was reserved, confirmed and used.
fn honest() -> (HistoryBuilder, AssignedCode, AssignedCode, AssignedCode) {
    let mut history = HistoryBuilder::begin();
    let ann = history.assign(SPRING, 1, 1);
    history.record(&ann, Event::Release);
    history.event_call(&ann, Event::Used, EventAnswer::WrongState(State::Released));
    history.call(SPRING, 1, 1, ended(&ann, State::Released));
    let cat = history.reserve(SPRING, 3, 3, 1000);
    history.record(&cat, Event::Confirm);
    history.event_call(&cat, Event::Used, EventAnswer::Unknown);
    history.record(&cat, Event::Used);
    let bob = history.assign_again(&ann, 2, 2);
    (history, ann, bob, cat)
}

#[test]
fn the_checker_has_nothing_against_an_honest_life() {
    let (mut history, _, bob, cat) = honest();
    history.is_fine();
    history.event_call(&bob, Event::Confirm, done(State::Assigned));
    history.event_call(&cat, Event::Release, EventAnswer::WrongState(State::Used));
    history.change(&bob, State::Void, None);
    // A confirmation without effect; the assignment ended before the response.
    history.event_call(&bob, Event::Confirm, done(State::Void));
    history.event_call(&bob, Event::Void, done(State::Void));
    history.is_fine();

    for set in [SAME, ONCE] {
        let mut history = HistoryBuilder::begin();
        let eve = history.assign(set, 1, 1);
        history.record(&eve, Event::Release);
        let again = history.reserve(set, 2, 1, 20);
        history.time += 10;
        history.change(&again, State::Expired, None);
        history.event_call(
            &again,
            Event::Confirm,
            EventAnswer::WrongState(State::Expired),
        );
        history.assign_again(&again, 3, 1);
        history.is_fine();
    }
}

#[test]
fn the_checker_objects_to_a_code_with_two_holders() {
    let (history, ann, ..) = honest();
    let early = |evidence: &mut Evidence| {
        // Bob was assigned the code just before Ann released it.
        let release = &mut evidence.changes[0];
        let number = release.number;
        let bob = evidence.log.last_mut().unwrap();
        (release.number, bob.number) = (bob.number, number);
    };
    history
        .forged(early)
        .is_refuted_by(&format!("{} is held twice", ann.code));
    let kept = |evidence: &mut Evidence| evidence.changes[0].state = State::Void;
    history.forged(kept).is_refuted_by("is held twice");
    for set in [SAME, ONCE] {
        let mut history = HistoryBuilder::begin();
        let eve = history.assign(set, 1, 1);
        history.record(&eve, Event::Used);
        history.assign(set, 2, 1);
        history.is_refuted_by("but has to get one");
        let mut history = HistoryBuilder::begin();
        let eve = history.reserve(set, 1, 1, 500);
        history.assign(set, 2, 1);
        history.time = 600;
        history.change(&eve, State::Expired, None);
        history.is_refuted_by("but has to get one");
    }
}

#[test]
fn the_checker_objects_to_an_event_that_was_answered_but_not_recorded() {
    let (history, .., bob, cat) = honest();
    let lost = |evidence: &mut Evidence| {
        evidence
            .changes
            .retain(|change| change.state != State::Used);
    };
    history
        .forged(lost)
        .is_refuted_by("it is not in the ledger");
    history
        .forged(lost)
        .is_refuted_by("was reported as Used, never was");
    history
        .forged(lost)
        .is_refuted_by("is listed as Used, but is Assigned");
    history.forged(lost).is_refuted_by("the log of spring has");
    let unheard = |evidence: &mut Evidence| {
        evidence
            .event_calls
            .retain(|call| call.answer != done(State::Used));
    };
    history
        .forged(unheard)
        .is_refuted_by("got no answer in the end");
    let stranger = |evidence: &mut Evidence| evidence.event_calls[0].id = Uuid::nil();
    history.forged(stranger).is_refuted_by("it is lost");
    let refused = |evidence: &mut Evidence| {
        evidence.event_calls[4].answer = EventAnswer::WrongState(State::Released);
    };
    history.forged(refused).is_refuted_by("it is in the ledger");

    let (mut history, ..) = honest();
    history.record(&bob, Event::Release);
    history.event_call(&bob, Event::Confirm, done(State::Released));
    history.is_refuted_by("it is not in the ledger");
    let (mut history, ..) = honest();
    history.event_call(&bob, Event::Sent, EventAnswer::WrongState(State::Assigned));
    history.is_refuted_by("that state allows it");
    let (mut history, ..) = honest();
    history.event_call(&cat, Event::Used, done(State::Assigned));
    history.is_refuted_by("it has not come that far");
    let (mut history, ..) = honest();
    let late = |evidence: &mut Evidence| evidence.event_calls[0].ended -= 10;
    history.forged(late).is_refuted_by("it was recorded later");
    for _ in 0..2 {
        let is_new = true;
        let state = State::Used;
        history.event_call(&cat, Event::Used, EventAnswer::Done { state, is_new });
    }
    history.is_refuted_by("was recorded 2 times");
    history.is_refuted_by("it was recorded before");
    history.event_call(&cat, Event::Used, EventAnswer::Wrong("500".into()));
    history.is_refuted_by("this is no answer");
}

#[test]
fn the_checker_objects_to_an_assignment_that_ends_twice() {
    let (mut history, .., cat) = honest();
    history.change(&cat, State::Void, None);
    history.is_refuted_by("became Void after Some(Used)");
    let (history, ..) = honest();
    let again = |evidence: &mut Evidence| {
        let copy = evidence.changes[3];
        let number = copy.number + 2;
        evidence.changes.push(StateChange { number, ..copy });
    };
    history.forged(again).is_refuted_by("became Used after");
    let orphan = |evidence: &mut Evidence| evidence.changes[3].of = 99;
    history.forged(orphan).is_refuted_by("of no assignment is");
}

#[test]
fn the_checker_objects_to_a_reservation_that_ends_at_the_wrong_time() {
    let (history, ..) = honest();
    let confirmed_late = |evidence: &mut Evidence| evidence.changes[1].until = Some(1);
    history
        .forged(confirmed_late)
        .is_refuted_by("was Assigned on the other side of its end");
    let mut history = HistoryBuilder::begin();
    let dan = history.reserve(SPRING, 1, 1, 1000);
    history.is_fine();
    let open = |evidence: &mut Evidence| evidence.reservations.clear();
    history
        .forged(open)
        .is_refuted_by("is Reserved, and its reservation open: false");
    history.change(&dan, State::Expired, None);
    history.is_refuted_by("was Expired on the other side of its end");
    let mut history = HistoryBuilder::begin();
    let dan = history.reserve(SPRING, 1, 1, 20);
    history.change(&dan, State::Expired, None);
    history.is_fine();
    let kept = |evidence: &mut Evidence| {
        evidence.reservations.insert((SPRING, 1));
    };
    history.forged(kept).is_refuted_by("its reservation open");
    history.time = 500;
    let answer = AssignedCode {
        state: State::Reserved,
        ..dan
    };
    history.call(SPRING, 1, 1, replayed(&answer));
    history.is_refuted_by("but had run out");
}

#[test]
fn the_checker_objects_to_an_end_that_is_forgotten() {
    let (mut history, ann, ..) = honest();
    history.call(SPRING, 1, 1, replayed(&ann));
    history.is_refuted_by("after it had been more");
    let (mut history, .., bob, _) = honest();
    history.call(SPRING, 2, 2, ended(&bob, State::Released));
    history.is_refuted_by("was reported as Released, never was");
    let (mut history, ann, ..) = honest();
    history.call(SPRING, 2, 2, ended(&ann, State::Released));
    history.is_refuted_by("got Released of");
    history.is_refuted_by("key-2 was answered");

    let mut history = HistoryBuilder::begin();
    let eve = history.assign(ONCE, 1, 1);
    history.record(&eve, Event::Release);
    history.call(ONCE, 2, 1, CodeAnswer::Refused(eve.id));
    history.is_refuted_by("key-2 was refused for");
}

#[test]
fn the_checker_objects_to_exhaustion_while_a_code_had_come_back() {
    let mut history = HistoryBuilder::begin();
    history.assign(ONCE, 1, 1);
    let eve = history.assign(ONCE, 2, 2);
    history.change(&eve, State::Released, None);
    history.event_call(&eve, Event::Release, EventAnswer::Unknown);
    history.call(ONCE, 3, 3, CodeAnswer::Exhausted);
    // Until now no response showed that it was released.
    history.event_call(&eve, Event::Release, done(State::Released));
    history.is_fine();
    history.call(ONCE, 4, 4, CodeAnswer::Exhausted);
    history.is_refuted_by("got no code of once, which had 3 less 2");
}

#[test]
fn the_checker_objects_to_counters_that_a_recount_does_not_give() {
    let (history, ..) = honest();
    for forge in [
        |evidence: &mut Evidence| evidence.counters[SPRING].reserved += 1,
        |evidence: &mut Evidence| evidence.counters[SPRING].void += 1,
        |evidence: &mut Evidence| evidence.counters[SPRING].expired += 1,
        |evidence: &mut Evidence| evidence.counters[SPRING].available = Some(1),
    ] {
        history
            .forged(forge)
            .is_refuted_by("spring counts Counters");
    }
    let rule = |evidence: &mut Evidence| evidence.broken.push("rule".into());
    history.forged(rule).is_refuted_by("the owner sees broken");
}
