//! Tests of the checker: it accepts an honest history, and objects to each kind of forged one.

use uuid::Uuid;

use super::checker::check;
use super::history::{
    AssignedCode, Call, CodeAnswer, Counters, Evidence, LogEntry, Outcome, Refill, SETS, State,
    code, contact_text, key_hash,
};

const SHARED: usize = 1;
pub const SPRING: usize = 2;
pub const SAME: usize = 4;
pub const ONCE: usize = 5;

/// Builder of a history in which each request takes ten microseconds.
#[derive(Clone)]
pub struct HistoryBuilder {
    pub evidence: Evidence,
    pub time: i64,
}

impl HistoryBuilder {
    /// Imports two codes into each deck.
    pub fn begin() -> Self {
        let mut evidence = Evidence::default();
        for set in (0..SETS.len()).filter(|set| SETS[*set].is_deck) {
            evidence.delivered[set] = 2;
            evidence.imported[set] = 2;
            evidence.refills.push(Refill {
                set,
                codes: 2,
                known: 0,
            });
            evidence.counters[set] = Counters {
                quantity: Some(2),
                available: Some(2),
                ..Counters::default()
            };
        }
        Self { evidence, time: 0 }
    }

    pub fn call(&mut self, set: usize, key: u64, contact: u64, answer: CodeAnswer) -> &mut Self {
        self.time += 10;
        self.evidence.calls.push(Call {
            set,
            key,
            contact,
            sent: self.time,
            ended: self.time + 9,
            answer,
        });
        self
    }

    /// Adds the next code of a set to the log, assigned to a contact.
    pub fn log(&mut self, requested: usize, served: usize, key: u64, contact: u64) -> AssignedCode {
        let evidence = &mut self.evidence;
        let counters = &mut evidence.counters[served];
        counters.assigned += 1;
        counters.available = counters.available.map(|left| left - 1);
        let entries = evidence.log.iter().filter(|entry| entry.served == served);
        let ordinal = entries.count() as u64;
        let changes = evidence
            .changes
            .iter()
            .filter(|change| change.served == served);
        let number = ordinal + changes.count() as u64 + 1;
        let entry = LogEntry {
            id: Uuid::from_u128(u128::from(ordinal) + ((served as u128) << 64)),
            served,
            requested,
            contact: contact_text(contact).into(),
            code: code(served, ordinal).into(),
            at: self.time + 15,
            number: i64::try_from(number).unwrap(),
            lot: 1,
            ordinal: i32::try_from(ordinal).unwrap() + 1,
            key_hash: key_hash(key),
            state: State::Assigned,
        };
        let given = AssignedCode {
            id: entry.id,
            code: entry.code.clone(),
            served,
            outcome: Outcome::Assigned,
            state: State::Assigned,
        };
        self.evidence.log.push(entry);
        given
    }

    /// Adds a complete assignment.
    pub fn assign(&mut self, set: usize, key: u64, contact: u64) -> AssignedCode {
        let given = self.log(set, set, key, contact);
        self.call(set, key, contact, CodeAnswer::Assigned(given.clone()));
        given
    }

    #[track_caller]
    pub fn is_fine(&self) {
        let objections = check(&self.evidence);
        assert_eq!(objections.count, 0, "{:?}", objections.examples);
    }

    /// Fails unless the checker raises this objection.
    #[track_caller]
    pub fn is_refuted_by(&self, words: &str) {
        let objections = check(&self.evidence);
        let said = objections.examples.iter().any(|text| text.contains(words));
        assert!(said, "{:?}", objections.examples);
    }

    #[track_caller]
    pub fn forged(&self, forge: impl FnOnce(&mut Evidence)) -> Self {
        self.is_fine();
        let mut forged = self.clone();
        forge(&mut forged.evidence);
        forged
    }
}

pub fn replayed(given: &AssignedCode) -> CodeAnswer {
    CodeAnswer::Assigned(AssignedCode {
        outcome: Outcome::Replayed,
        ..given.clone()
    })
}

/// Two codes were assigned, one of them after a response was lost.
fn honest() -> (HistoryBuilder, AssignedCode, AssignedCode) {
    let mut history = HistoryBuilder::begin();
    let ann = history.assign(SPRING, 1, 1);
    let bob = history.log(SPRING, SPRING, 2, 2);
    history.call(SPRING, 2, 2, CodeAnswer::Unknown);
    history.call(SPRING, 2, 2, replayed(&bob));
    history.call(SPRING, 1, 1, replayed(&ann));
    (history, ann, bob)
}

#[test]
fn the_checker_has_nothing_against_an_honest_history() {
    let (mut history, ..) = honest();
    history.is_fine();
    let cat = history.log(SPRING, SHARED, 3, 3);
    history.call(SPRING, 3, 3, CodeAnswer::Assigned(cat));
    let dan = history.assign(SAME, 4, 4);
    let place = (dan.served, 1);
    history.evidence.shared.insert((SAME, key_hash(5)), place);
    let again = AssignedCode {
        outcome: Outcome::AlreadyAssigned,
        ..dan
    };
    history.call(SAME, 5, 4, CodeAnswer::Assigned(again));
    let eve = history.assign(ONCE, 6, 6);
    history.call(ONCE, 7, 6, CodeAnswer::Refused(eve.id));
    history.assign(ONCE, 8, 8);
    history.call(ONCE, 9, 9, CodeAnswer::Exhausted);
    history.is_fine();
}

#[test]
fn the_checker_objects_to_a_code_that_is_given_twice() {
    let (history, ann, bob) = honest();
    let in_the_log = |evidence: &mut Evidence| evidence.log[1].code = ann.code.clone();
    history.forged(in_the_log).is_refuted_by("is held twice");
    let on_one_card = |evidence: &mut Evidence| evidence.log[1].ordinal = 1;
    history
        .forged(on_one_card)
        .is_refuted_by("card 1:1 of spring is in");
    let in_the_answer = |evidence: &mut Evidence| {
        let code = ann.code.clone();
        evidence.calls[2].answer = CodeAnswer::Assigned(AssignedCode { code, ..bob });
    };
    history
        .forged(in_the_answer)
        .is_refuted_by("the log has another code");
}

#[test]
fn the_checker_objects_to_a_key_with_two_answers() {
    let (history, ann, _) = honest();
    let other = |evidence: &mut Evidence| evidence.calls[2].answer = replayed(&ann);
    history.forged(other).is_refuted_by("key-2 was answered");
    let two = |evidence: &mut Evidence| evidence.log[1].key_hash = evidence.log[0].key_hash;
    history.forged(two).is_refuted_by("one key made");
    let twice_new = |evidence: &mut Evidence| {
        evidence.calls[3].answer = CodeAnswer::Assigned(ann.clone());
    };
    history
        .forged(twice_new)
        .is_refuted_by("got a new code 2 times");
    let forgotten = |evidence: &mut Evidence| evidence.calls[3].answer = CodeAnswer::Exhausted;
    history
        .forged(forgotten)
        .is_refuted_by("and later Exhausted");
}

#[test]
fn the_checker_objects_to_a_lost_answer() {
    let (history, ..) = honest();
    let lost = |evidence: &mut Evidence| {
        evidence.log.remove(0);
    };
    history.forged(lost).is_refuted_by("it is lost");
    history.forged(lost).is_refuted_by("the log of spring has");
    let hidden = |evidence: &mut Evidence| evidence.unlisted.push((SPRING, 3));
    history
        .forged(hidden)
        .is_refuted_by("number 3 of spring is not listed");
    let silence = |evidence: &mut Evidence| evidence.calls[2].answer = CodeAnswer::Unknown;
    history
        .forged(silence)
        .is_refuted_by("key-2 got no answer in the end");
}

#[test]
fn the_checker_objects_to_an_assignment_that_nobody_or_somebody_else_asked_for() {
    let (history, ..) = honest();
    let contact = |evidence: &mut Evidence| evidence.log[0].contact = contact_text(7).into();
    history
        .forged(contact)
        .is_refuted_by("the log has another contact");
    history.forged(contact).is_refuted_by("unasked");
    let key = |evidence: &mut Evidence| evidence.log[1].key_hash = key_hash(7);
    history.forged(key).is_refuted_by("the log has another key");
    let late = |evidence: &mut Evidence| evidence.log[0].at += 10;
    history.forged(late).is_refuted_by("it was made later");
    let early = |evidence: &mut Evidence| evidence.log[0].at -= 10;
    history
        .forged(early)
        .is_refuted_by("it was made by another request");
}

#[test]
fn the_checker_objects_to_false_exhaustion() {
    let mut history = HistoryBuilder::begin();
    history.assign(ONCE, 1, 1);
    history.call(ONCE, 2, 2, CodeAnswer::Exhausted);
    history.is_refuted_by("got no code of once, which had 2 less 1");
    // The second code may have been assigned before the refusal.
    history.time -= 10;
    history.assign(ONCE, 3, 3);
    history.is_fine();
    // Codes imported during the request may have come too late for it.
    let refill = |known| {
        history.forged(|evidence| {
            evidence.delivered[ONCE] = 3;
            evidence.imported[ONCE] = 3;
            evidence.counters[ONCE].quantity = Some(3);
            evidence.counters[ONCE].available = Some(1);
            evidence.refills.push(Refill {
                set: ONCE,
                codes: 1,
                known,
            });
        })
    };
    refill(21).is_fine();
    refill(20).is_refuted_by("got no code of once, which had 3 less 2");

    let mut history = HistoryBuilder::begin();
    history.call(SPRING, 1, 1, CodeAnswer::Exhausted);
    history.is_refuted_by("got no code of endless");
    let mut history = HistoryBuilder::begin();
    let early = history.log(SPRING, SHARED, 1, 1);
    history.call(SPRING, 1, 1, CodeAnswer::Assigned(early));
    history.is_refuted_by("got no code of spring, which had 2 less 0");
}

#[test]
fn the_checker_objects_to_a_second_code_where_a_contact_has_to_get_one() {
    for set in [SAME, ONCE] {
        let mut history = HistoryBuilder::begin();
        history.assign(set, 1, 1);
        history.is_fine();
        history.assign(set, 2, 1);
        history.is_refuted_by("but has to get one");
    }
    let mut history = HistoryBuilder::begin();
    let held = history.assign(ONCE, 1, 1);
    history.call(ONCE, 2, 2, CodeAnswer::Refused(held.id));
    history.is_refuted_by("key-2 was refused for");
}

#[test]
fn the_checker_objects_to_counters_that_do_not_add_up() {
    let (history, ..) = honest();
    let assigned = |evidence: &mut Evidence| evidence.counters[SPRING].assigned = 1;
    history
        .forged(assigned)
        .is_refuted_by("spring counts Counters");
    let lost = |evidence: &mut Evidence| evidence.counters[ONCE].available = Some(1);
    history.forged(lost).is_refuted_by("once counts Counters");
    let imported = |evidence: &mut Evidence| evidence.imported[SHARED] = 1;
    history
        .forged(imported)
        .is_refuted_by("2 codes were delivered to shared, but 1 were imported");
    let stranger = |evidence: &mut Evidence| {
        evidence.log[0].code = code(SPRING, 2).into();
        evidence.calls.clear();
    };
    history
        .forged(stranger)
        .is_refuted_by("was never delivered to spring");
    let wrong =
        |evidence: &mut Evidence| evidence.calls[1].answer = CodeAnswer::Wrong("500".into());
    history
        .forged(wrong)
        .is_refuted_by("key-2 was answered 500");
}
