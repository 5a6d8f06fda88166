//! The reference model of assignment, as simple as possible: from `openapi.yaml`, one request after the other, with
//! linear searches.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Days, LocalResult, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::history::Event;
use super::run::Counters;
use super::withdrawing::{Import, Withdrawn};

pub type Time = DateTime<Utc>;

/// A code that no contact holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    pub code: String,
    pub expires_at: Option<Time>,
}

#[derive(Debug, Clone)]
pub struct Set {
    /// Code of a `single` set.
    pub code: Option<String>,
    pub quantity: Option<usize>,
    pub child: Option<usize>,
    pub on_repeat: &'static str,
    pub same_code_until: &'static str,
    pub per_contact: Option<usize>,
    pub expires_at: Option<Time>,
    pub timezone: Tz,
    pub valid_for_days: Option<u64>,
    /// Imported codes that were never assigned, in dealing order.
    pub deck: Vec<Card>,
    /// Released codes. Their order is not promised.
    pub returned: Vec<Card>,
    /// Every code that was imported and not withdrawn.
    pub codes: Vec<String>,
    pub withdrawn: Withdrawn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Reserved,
    Assigned,
    Sent,
    Used,
    Released,
    Void,
    Expired,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Assigned => "assigned",
            Self::Sent => "sent",
            Self::Used => "used",
            Self::Released => "released",
            Self::Void => "void",
            Self::Expired => "expired",
        }
    }

    fn is_held(self) -> bool {
        matches!(
            self,
            Self::Reserved | Self::Assigned | Self::Sent | Self::Used
        )
    }
}

#[derive(Debug, Clone)]
pub struct Assignment {
    pub id: String,
    pub requested: usize,
    pub set: usize,
    pub contact: u8,
    pub card: Card,
    pub assigned_at: Time,
    pub reserved_until: Option<Time>,
    pub expires_at: Option<Time>,
    pub state: State,
    pub events: Vec<&'static str>,
    /// True if it was a reservation that ran out and has certainly been swept.
    pub swept: bool,
}

/// Expected result of a request for a code.
#[derive(Debug)]
pub enum CodeExpectation {
    /// One of these cards of this set.
    Assigned(usize, Vec<Card>),
    Replayed(usize),
    AlreadyAssigned(usize),
    Refused(u16, &'static str, Option<usize>),
}

/// Expected result of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum EventExpectation {
    Recorded(State),
    Repeated(State),
    WrongState(State),
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub now: Time,
    pub sets: Vec<Set>,
    pub assignments: Vec<Assignment>,
    pub imports: Vec<Import>,
    /// Assignments of the keys.
    pub keys: BTreeMap<(usize, String), usize>,
    pub merged: BTreeMap<u8, u8>,
}

pub fn is_over(moment: Option<Time>, now: Time) -> bool {
    moment.is_some_and(|moment| moment <= now)
}

/// The earlier of two times, where `None` is never.
fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}

impl Set {
    /// End of `validForDays` from this time: the same local time in the set's zone.
    fn valid_until(&self, from: Time) -> Option<Time> {
        let days = Days::new(self.valid_for_days?);
        let local = from.with_timezone(&self.timezone).naive_local() + days;
        let hour = TimeDelta::hours(1);
        let end = match self.timezone.from_local_datetime(&local) {
            LocalResult::Single(end) | LocalResult::Ambiguous(_, end) => end,
            // The clocks skip this time: use the offset before the gap.
            LocalResult::None => {
                self.timezone
                    .from_local_datetime(&(local - hour))
                    .earliest()
                    .expect("no clock skips more than an hour")
                    + hour
            }
        };
        Some(end.with_timezone(&Utc))
    }
}

impl Model {
    /// Ends reservations that have run out, and releases their codes.
    pub fn set_time(&mut self, now: Time) {
        self.now = now;
        let mut back = Vec::new();
        for assignment in &mut self.assignments {
            if assignment.state == State::Reserved && is_over(assignment.reserved_until, now) {
                assignment.state = State::Expired;
                assignment.reserved_until = None;
                back.push((assignment.set, assignment.card.clone()));
            }
        }
        for (set, card) in back {
            self.give_back(set, card);
        }
    }

    /// Lets time pass: every future time moves nearer.
    pub fn pass(&mut self, time: TimeDelta) {
        let nearer = |moment: &mut Option<Time>| *moment = moment.map(|moment| moment - time);
        for set in &mut self.sets {
            nearer(&mut set.expires_at);
            for card in set.deck.iter_mut().chain(&mut set.returned) {
                nearer(&mut card.expires_at);
            }
        }
        for assignment in &mut self.assignments {
            nearer(&mut assignment.card.expires_at);
            nearer(&mut assignment.reserved_until);
            nearer(&mut assignment.expires_at);
        }
    }

    /// The sets that may serve a request, in order.
    pub fn chain(&self, set: usize, child: Option<usize>) -> Result<Vec<usize>, &'static str> {
        let mut chain = vec![set];
        let mut next = child.or(self.sets[set].child);
        while let Some(set) = next {
            if chain.contains(&set) {
                return Err("child-set-cycle");
            }
            chain.push(set);
            next = self.sets[set].child;
        }
        Ok(chain)
    }

    /// True if this child would close a cycle.
    pub fn closes_a_cycle(&self, set: usize, child: usize) -> bool {
        let chain = self.chain(child, None).expect("no cycle so far");
        chain.contains(&set)
    }

    fn of_set(&self, set: usize) -> impl Iterator<Item = &Assignment> {
        self.assignments
            .iter()
            .filter(move |assignment| assignment.set == set)
    }

    /// The cards of which one comes next; empty if the set is exhausted.
    fn next_cards(&self, set_index: usize) -> Vec<Card> {
        let set = &self.sets[set_index];
        if is_over(set.expires_at, self.now) {
            return Vec::new();
        }
        if let Some(code) = &set.code {
            let card = Card {
                code: code.clone(),
                expires_at: None,
            };
            return match self.counters(set_index).available {
                Some(0) => Vec::new(),
                _ => vec![card],
            };
        }
        let is_valid = |card: &&Card| !is_over(card.expires_at, self.now);
        match set.deck.iter().find(is_valid) {
            Some(card) => vec![card.clone()],
            None => set.returned.iter().filter(is_valid).cloned().collect(),
        }
    }

    /// Computes the expected result of this request. The model changes only when the result is `take`n.
    pub fn request(
        &self,
        requested: usize,
        child: Option<usize>,
        contact: u8,
        key: Option<&str>,
    ) -> CodeExpectation {
        let known = key.and_then(|key| self.keys.get(&(requested, key.to_owned())));
        if let Some(&known) = known {
            let assignment = &self.assignments[known];
            return match assignment.state {
                _ if assignment.contact != contact => {
                    CodeExpectation::Refused(422, "idempotency-key-reused", None)
                }
                State::Released => {
                    CodeExpectation::Refused(409, "assignment-released", Some(known))
                }
                State::Void => CodeExpectation::Refused(409, "assignment-void", Some(known)),
                State::Expired => CodeExpectation::Refused(409, "assignment-expired", Some(known)),
                _ => CodeExpectation::Replayed(known),
            };
        }
        let chain = match self.chain(requested, child) {
            Ok(chain) => chain,
            Err(fault) => return CodeExpectation::Refused(422, fault, None),
        };
        let set = &self.sets[requested];
        let held: Vec<usize> = (0..self.assignments.len())
            .filter(|index| {
                let assignment = &self.assignments[*index];
                assignment.requested == requested
                    && assignment.contact == contact
                    && assignment.state.is_held()
            })
            .collect();
        match set.on_repeat {
            "refuse" if !held.is_empty() => {
                return CodeExpectation::Refused(409, "already-assigned", held.last().copied());
            }
            "newCode" if set.per_contact.is_some_and(|most| held.len() >= most) => {
                return CodeExpectation::Refused(409, "contact-limit-reached", None);
            }
            "sameCode" => {
                let again = |index: &&usize| {
                    let assignment = &self.assignments[**index];
                    let is_valid = !is_over(assignment.expires_at, self.now);
                    match set.same_code_until {
                        "always" => true,
                        "expired" => is_valid,
                        _ => is_valid && assignment.state != State::Used,
                    }
                };
                if let Some(latest) = held.iter().rfind(again) {
                    return CodeExpectation::AlreadyAssigned(*latest);
                }
            }
            _ => {}
        }
        for serving in chain {
            let cards = self.next_cards(serving);
            if !cards.is_empty() {
                return CodeExpectation::Assigned(serving, cards);
            }
        }
        if is_over(set.expires_at, self.now) {
            CodeExpectation::Refused(409, "coupon-set-expired", None)
        } else {
            CodeExpectation::Refused(409, "coupon-set-exhausted", None)
        }
    }

    /// Applies an assignment: the code leaves its set, and the key is bound.
    pub fn take(&mut self, given: AssignedCode) -> &Assignment {
        let AssignedCode {
            id,
            requested,
            set: set_index,
            contact,
            card,
            key,
            reserve,
            assigned_at,
        } = given;
        let set = &mut self.sets[set_index];
        for pile in [&mut set.deck, &mut set.returned] {
            pile.retain(|other| *other != card);
        }
        let end = earlier(card.expires_at, set.expires_at);
        let (state, reserved_until, expires_at) = match reserve {
            Some(seconds) => {
                let until = assigned_at + TimeDelta::seconds(seconds.into());
                (State::Reserved, earlier(Some(until), end), end)
            }
            None => (
                State::Assigned,
                None,
                earlier(end, set.valid_until(assigned_at)),
            ),
        };
        self.keys.insert((requested, key), self.assignments.len());
        self.assignments.push(Assignment {
            id,
            requested,
            set: set_index,
            contact,
            card,
            assigned_at,
            reserved_until,
            expires_at,
            state,
            events: vec![state.as_str()],
            swept: false,
        });
        self.assignments.last().expect("it was just pushed")
    }

    /// Records an event. `confirm_at` completes a confirmation with its time.
    pub fn record(&mut self, index: usize, event: Event) -> EventExpectation {
        let assignment = &mut self.assignments[index];
        let state = assignment.state;
        let (recorded, next) = match (event, state) {
            (Event::Confirm, State::Reserved) => ("confirmed", Some(State::Assigned)),
            (Event::Confirm, State::Assigned | State::Sent | State::Used) => {
                return EventExpectation::Repeated(state);
            }
            (Event::Confirm, _) => ("confirmed", None),
            (Event::Sent, State::Assigned) => ("sent", Some(State::Sent)),
            (Event::Sent, _) => ("sent", None),
            (Event::Used, State::Assigned | State::Sent) => ("used", Some(State::Used)),
            (Event::Used, _) => ("used", None),
            (Event::Release, State::Reserved | State::Assigned) => {
                ("released", Some(State::Released))
            }
            (Event::Release, _) => ("released", None),
            (Event::Void, State::Reserved | State::Assigned | State::Sent) => {
                ("void", Some(State::Void))
            }
            (Event::Void, _) => ("void", None),
        };
        if assignment.events.contains(&recorded) {
            return EventExpectation::Repeated(state);
        }
        let Some(next) = next else {
            return EventExpectation::WrongState(state);
        };
        assignment.state = next;
        assignment.reserved_until = None;
        assignment.events.push(recorded);
        if next == State::Released {
            let (set, card) = (assignment.set, assignment.card.clone());
            self.give_back(set, card);
        }
        EventExpectation::Recorded(next)
    }

    /// Starts the `validForDays` of a reserved code.
    pub fn confirm_at(&mut self, index: usize, at: Time) {
        let assignment = &mut self.assignments[index];
        let days = self.sets[assignment.set].valid_until(at);
        assignment.expires_at = earlier(assignment.expires_at, days);
    }

    /// Imports codes and returns the number of new ones.
    pub fn import(&mut self, set_index: usize, rows: Vec<Card>) -> usize {
        let set = &mut self.sets[set_index];
        let mut lot: Vec<Card> = Vec::new();
        for row in rows {
            if !set.codes.contains(&row.code) {
                set.take_in(&row.code, self.imports.len());
                lot.push(row);
            }
        }
        let count = lot.len();
        lot.sort_by_key(|card| (card.expires_at.is_none(), card.expires_at));
        set.deck.extend(lot);
        self.imports.push(Import::new(set_index, count));
        count
    }

    pub fn counters(&self, index: usize) -> Counters {
        let set = &self.sets[index];
        let count = |is: &dyn Fn(&Assignment) -> bool| self.of_set(index).filter(|a| is(a)).count();
        let reserved = count(&|a| a.state == State::Reserved);
        let assigned = count(&|a| matches!(a.state, State::Assigned | State::Sent | State::Used));
        let void = count(&|a| a.state == State::Void);
        let quantity = match set.code {
            Some(_) => set.quantity,
            None => Some(set.codes.len()),
        };
        let at_hand = match set.code {
            Some(_) => quantity.map(|quantity| quantity - reserved - assigned - void),
            None => Some(set.deck.len() + set.returned.len()),
        };
        let is_valid = |card: &&Card| !is_over(card.expires_at, self.now);
        let available = if is_over(set.expires_at, self.now) {
            Some(0)
        } else if set.code.is_some() {
            at_hand
        } else {
            let cards = set.deck.iter().chain(&set.returned);
            Some(cards.filter(is_valid).count())
        };
        Counters {
            quantity,
            available,
            reserved,
            assigned,
            sent: count(&|a| a.events.contains(&"sent")),
            used: count(&|a| a.events.contains(&"used")),
            void,
            expired: at_hand.map_or(0, |at_hand| at_hand - available.unwrap_or(at_hand)),
        }
    }

    /// Lower and upper bound of the number of releases: the sweeper may have run or not.
    pub fn released(&self, set: usize) -> (usize, usize) {
        let count = |is: &dyn Fn(&Assignment) -> bool| self.of_set(set).filter(|a| is(a)).count();
        let least = count(&|a| a.state == State::Released || a.swept);
        let most = count(&|a| matches!(a.state, State::Released | State::Expired));
        (least, most)
    }

    pub fn sweep(&mut self) {
        for assignment in &mut self.assignments {
            assignment.swept = assignment.state == State::Expired;
        }
    }

    pub fn set_state(&self, set: usize) -> &'static str {
        if is_over(self.sets[set].expires_at, self.now) {
            "expired"
        } else if self.counters(set).available == Some(0) {
            "exhausted"
        } else {
            "active"
        }
    }

    /// The one violation that must never occur: a code with two holders.
    pub fn twice_held(&self) -> Option<&Assignment> {
        let mut held = HashSet::new();
        self.assignments
            .iter()
            .filter(|a| a.state.is_held() && self.sets[a.set].code.is_none())
            .find(|a| !held.insert((a.set, &a.card.code)))
    }
}

/// An assigned code, as the service returned it.
#[derive(Debug)]
pub struct AssignedCode {
    pub id: String,
    pub requested: usize,
    pub set: usize,
    pub contact: u8,
    pub card: Card,
    pub key: String,
    pub reserve: Option<u32>,
    pub assigned_at: Time,
}
