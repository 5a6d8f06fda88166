//! Tests of the checker for the lifecycle of assignments: it accepts an honest one, and objects to each kind of forged
//! one.

use uuid::Uuid;

use super::forged::{ONCE, SAME, SPRING, Story, replayed};
use super::history::{Answer, Event, Evidence, Given, State, Told, Turn, Verdict};

impl Story {
    /// Appends an entry to the ledger and updates the lists and counters; `state` is the state after it.
    fn turn(&mut self, given: &Given, state: State, until: Option<i64>) {
        let evidence = &mut self.evidence;
        let set = given.served;
        let entries = evidence.log.iter().filter(|entry| entry.served == set);
        let turns = evidence.turns.iter().filter(|turn| turn.served == set);
        let number = i64::try_from(entries.count() + turns.count()).unwrap() + 1;
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
        evidence.turns.push(Turn {
            served: set,
            number,
            of: entry.number,
            state,
            at: self.time + 15,
            until,
        });
    }

    fn told(&mut self, given: &Given, event: Event, verdict: Verdict) {
        self.time += 10;
        self.evidence.told.push(Told {
            id: given.id,
            event,
            sent: self.time,
            ended: self.time + 9,
            verdict,
        });
    }

    /// Records an event, with its request and its result.
    fn tell(&mut self, given: &Given, event: Event) {
        let state = event.leads_to();
        self.turn(given, state, None);
        self.told(given, event, done(state));
    }

    fn reserve(&mut self, set: usize, key: u64, contact: u64, seconds: i64) -> Given {
        let given = self.log(set, set, key, contact);
        let until = Some(self.time + seconds);
        self.turn(&given, State::Reserved, until);
        let answer = Given {
            state: State::Reserved,
            ..given.clone()
        };
        self.call(set, key, contact, Answer::Given(answer));
        given
    }

    /// Assigns a released code to the next contact.
    fn assign_again(&mut self, before: &Given, key: u64, contact: u64) -> Given {
        let given = self.log(before.served, before.served, key, contact);
        let entry = self.evidence.log.last_mut().unwrap();
        entry.code = before.code.clone();
        entry.lot = 2;
        let given = Given {
            code: before.code.clone(),
            ..given
        };
        let answer = Answer::Given(given.clone());
        self.call(before.served, key, contact, answer);
        given
    }
}

fn done(state: State) -> Verdict {
    Verdict::Done {
        state,
        is_new: false,
    }
}

fn ended(given: &Given, state: State) -> Answer {
    Answer::Ended(given.id, state)
}

/// Ann's code was released and assigned to Bob. Cat's was reserved, confirmed and used.
fn honest() -> (Story, Given, Given, Given) {
    let mut story = Story::begin();
    let ann = story.assign(SPRING, 1, 1);
    story.tell(&ann, Event::Release);
    story.told(&ann, Event::Used, Verdict::WrongState(State::Released));
    story.call(SPRING, 1, 1, ended(&ann, State::Released));
    let cat = story.reserve(SPRING, 3, 3, 1000);
    story.tell(&cat, Event::Confirm);
    story.told(&cat, Event::Used, Verdict::Unknown);
    story.tell(&cat, Event::Used);
    let bob = story.assign_again(&ann, 2, 2);
    (story, ann, bob, cat)
}

#[test]
fn the_checker_has_nothing_against_an_honest_life() {
    let (mut story, _, bob, cat) = honest();
    story.is_fine();
    story.told(&bob, Event::Confirm, done(State::Assigned));
    story.told(&cat, Event::Release, Verdict::WrongState(State::Used));
    story.turn(&bob, State::Void, None);
    // A confirmation without effect; the assignment ended before the response.
    story.told(&bob, Event::Confirm, done(State::Void));
    story.told(&bob, Event::Void, done(State::Void));
    story.is_fine();

    for set in [SAME, ONCE] {
        let mut story = Story::begin();
        let eve = story.assign(set, 1, 1);
        story.tell(&eve, Event::Release);
        let again = story.reserve(set, 2, 1, 20);
        story.time += 10;
        story.turn(&again, State::Expired, None);
        story.told(&again, Event::Confirm, Verdict::WrongState(State::Expired));
        story.assign_again(&again, 3, 1);
        story.is_fine();
    }
}

#[test]
fn the_checker_objects_to_a_code_with_two_holders() {
    let (story, ann, ..) = honest();
    let early = |evidence: &mut Evidence| {
        // Bob was assigned the code just before Ann released it.
        let release = &mut evidence.turns[0];
        let number = release.number;
        let bob = evidence.log.last_mut().unwrap();
        (release.number, bob.number) = (bob.number, number);
    };
    story
        .forged(early)
        .is_refuted_by(&format!("{} is held twice", ann.code));
    let kept = |evidence: &mut Evidence| evidence.turns[0].state = State::Void;
    story.forged(kept).is_refuted_by("is held twice");
    for set in [SAME, ONCE] {
        let mut story = Story::begin();
        let eve = story.assign(set, 1, 1);
        story.tell(&eve, Event::Used);
        story.assign(set, 2, 1);
        story.is_refuted_by("but has to get one");
        let mut story = Story::begin();
        let eve = story.reserve(set, 1, 1, 500);
        story.assign(set, 2, 1);
        story.time = 600;
        story.turn(&eve, State::Expired, None);
        story.is_refuted_by("but has to get one");
    }
}

#[test]
fn the_checker_objects_to_an_event_that_was_answered_but_not_recorded() {
    let (story, .., bob, cat) = honest();
    let lost = |evidence: &mut Evidence| {
        evidence.turns.retain(|turn| turn.state != State::Used);
    };
    story.forged(lost).is_refuted_by("it is not in the ledger");
    story
        .forged(lost)
        .is_refuted_by("was told to be Used, never was");
    story
        .forged(lost)
        .is_refuted_by("is listed as Used, but is Assigned");
    story.forged(lost).is_refuted_by("the log of spring has");
    let unheard = |evidence: &mut Evidence| {
        evidence
            .told
            .retain(|told| told.verdict != done(State::Used));
    };
    story
        .forged(unheard)
        .is_refuted_by("got no answer in the end");
    let stranger = |evidence: &mut Evidence| evidence.told[0].id = Uuid::nil();
    story.forged(stranger).is_refuted_by("it is lost");
    let refused = |evidence: &mut Evidence| {
        evidence.told[4].verdict = Verdict::WrongState(State::Released);
    };
    story.forged(refused).is_refuted_by("it is in the ledger");

    let (mut story, ..) = honest();
    story.tell(&bob, Event::Release);
    story.told(&bob, Event::Confirm, done(State::Released));
    story.is_refuted_by("it is not in the ledger");
    let (mut story, ..) = honest();
    story.told(&bob, Event::Sent, Verdict::WrongState(State::Assigned));
    story.is_refuted_by("that state allows it");
    let (mut story, ..) = honest();
    story.told(&cat, Event::Used, done(State::Assigned));
    story.is_refuted_by("it has not come that far");
    let (mut story, ..) = honest();
    let late = |evidence: &mut Evidence| evidence.told[0].ended -= 10;
    story.forged(late).is_refuted_by("it was recorded later");
    for _ in 0..2 {
        let is_new = true;
        let state = State::Used;
        story.told(&cat, Event::Used, Verdict::Done { state, is_new });
    }
    story.is_refuted_by("was recorded 2 times");
    story.is_refuted_by("it was recorded before");
    story.told(&cat, Event::Used, Verdict::Wrong("500".into()));
    story.is_refuted_by("this is no answer");
}

#[test]
fn the_checker_objects_to_an_assignment_that_ends_twice() {
    let (mut story, .., cat) = honest();
    story.turn(&cat, State::Void, None);
    story.is_refuted_by("became Void after Some(Used)");
    let (story, ..) = honest();
    let again = |evidence: &mut Evidence| {
        let copy = evidence.turns[3];
        let number = copy.number + 2;
        evidence.turns.push(Turn { number, ..copy });
    };
    story.forged(again).is_refuted_by("became Used after");
    let orphan = |evidence: &mut Evidence| evidence.turns[3].of = 99;
    story.forged(orphan).is_refuted_by("of no assignment is");
}

#[test]
fn the_checker_objects_to_a_reservation_that_ends_at_the_wrong_time() {
    let (story, ..) = honest();
    let confirmed_late = |evidence: &mut Evidence| evidence.turns[1].until = Some(1);
    story
        .forged(confirmed_late)
        .is_refuted_by("was Assigned on the other side of its end");
    let mut story = Story::begin();
    let dan = story.reserve(SPRING, 1, 1, 1000);
    story.is_fine();
    let open = |evidence: &mut Evidence| evidence.reservations.clear();
    story
        .forged(open)
        .is_refuted_by("is Reserved, and its reservation open: false");
    story.turn(&dan, State::Expired, None);
    story.is_refuted_by("was Expired on the other side of its end");
    let mut story = Story::begin();
    let dan = story.reserve(SPRING, 1, 1, 20);
    story.turn(&dan, State::Expired, None);
    story.is_fine();
    let kept = |evidence: &mut Evidence| {
        evidence.reservations.insert((SPRING, 1));
    };
    story.forged(kept).is_refuted_by("its reservation open");
    story.time = 500;
    let answer = Given {
        state: State::Reserved,
        ..dan
    };
    story.call(SPRING, 1, 1, replayed(&answer));
    story.is_refuted_by("but had run out");
}

#[test]
fn the_checker_objects_to_an_end_that_is_forgotten() {
    let (mut story, ann, ..) = honest();
    story.call(SPRING, 1, 1, replayed(&ann));
    story.is_refuted_by("after it had been more");
    let (mut story, .., bob, _) = honest();
    story.call(SPRING, 2, 2, ended(&bob, State::Released));
    story.is_refuted_by("was told to be Released, never was");
    let (mut story, ann, ..) = honest();
    story.call(SPRING, 2, 2, ended(&ann, State::Released));
    story.is_refuted_by("was told Released of");
    story.is_refuted_by("key-2 was answered");

    let mut story = Story::begin();
    let eve = story.assign(ONCE, 1, 1);
    story.tell(&eve, Event::Release);
    story.call(ONCE, 2, 1, Answer::Refused(eve.id));
    story.is_refuted_by("key-2 was refused for");
}

#[test]
fn the_checker_objects_to_exhaustion_while_a_code_had_come_back() {
    let mut story = Story::begin();
    story.assign(ONCE, 1, 1);
    let eve = story.assign(ONCE, 2, 2);
    story.turn(&eve, State::Released, None);
    story.told(&eve, Event::Release, Verdict::Unknown);
    story.call(ONCE, 3, 3, Answer::Exhausted);
    // Until now no response showed that it was released.
    story.told(&eve, Event::Release, done(State::Released));
    story.is_fine();
    story.call(ONCE, 4, 4, Answer::Exhausted);
    story.is_refuted_by("got no code of once, which had 3 less 2");
}

#[test]
fn the_checker_objects_to_counters_that_a_recount_does_not_give() {
    let (story, ..) = honest();
    for forge in [
        |evidence: &mut Evidence| evidence.counters[SPRING].reserved += 1,
        |evidence: &mut Evidence| evidence.counters[SPRING].void += 1,
        |evidence: &mut Evidence| evidence.counters[SPRING].expired += 1,
        |evidence: &mut Evidence| evidence.counters[SPRING].available = Some(1),
    ] {
        story.forged(forge).is_refuted_by("spring counts Counters");
    }
    let rule = |evidence: &mut Evidence| evidence.broken.push("rule".into());
    story.forged(rule).is_refuted_by("the owner sees broken");
}
