//! Checks of the lifecycle after the assignment: a code has one holder at a time, and every result that a client saw
//! agrees with the ledger.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::checker::{Objections, Record};
use super::history::{
    Answer, Counters, Entry, Event, Moment, OnRepeat, SETS, State, Told, Turn, Verdict,
};

/// An assignment with its events, in the order of its ledger.
pub struct Life<'a> {
    pub entry: &'a Entry,
    pub turns: Vec<&'a Turn>,
    /// Time from which every reader must see that it is over, if known.
    pub over: Option<Moment>,
}

impl<'a> Life<'a> {
    pub fn new(entry: &'a Entry) -> Self {
        Self {
            entry,
            turns: Vec::new(),
            over: None,
        }
    }

    fn turn(&self, state: State) -> Option<&'a Turn> {
        self.turns.iter().copied().find(|turn| turn.state == state)
    }

    fn state(&self) -> State {
        self.turns.last().map_or(State::Assigned, |turn| turn.state)
    }

    fn reserved_until(&self) -> Option<Moment> {
        self.turn(State::Reserved).and_then(|turn| turn.until)
    }

    /// Start of this state, if it was ever reached. A reservation ends at its end time, not when the end was recorded.
    fn since(&self, state: State) -> Option<Moment> {
        match state {
            State::Assigned if self.turn(State::Reserved).is_none() => Some(self.entry.at),
            State::Expired => self.turn(state).and(self.reserved_until()),
            _ => self.turn(state).map(|turn| turn.at),
        }
    }

    /// True if this assignment was over before `other` of the same set was made.
    fn ends_before(&self, other: &Entry) -> bool {
        match self.turns.last() {
            Some(last) if last.state == State::Expired => {
                self.reserved_until().is_some_and(|until| until <= other.at)
            }
            Some(last) => !last.state.is_live() && last.number < other.number,
            None => false,
        }
    }
}

/// A state of an assignment that a response showed.
struct Sight {
    sent: Moment,
    ended: Moment,
    state: State,
}

impl Record<'_> {
    /// Checks each lifecycle by itself, and compares it with the API's lists and the open reservations.
    pub fn check_lives(&self, objections: &mut Objections) {
        for life in self.lives.values() {
            let (id, entry) = (life.entry.id, life.entry);
            let mut before = None;
            let mut last = (entry.number, entry.at);
            for turn in &life.turns {
                let follows = match (before, turn.state) {
                    (None, State::Reserved) => true,
                    (before, next) => before.unwrap_or(State::Assigned).may_become(next),
                };
                objections.unless(follows, || {
                    format!("{id} became {:?} after {before:?}", turn.state)
                });
                objections.unless(turn.number > last.0 && turn.at >= last.1, || {
                    format!("{id} was {:?} before its time", turn.state)
                });
                if let (Some(State::Reserved), Some(until)) = (before, life.reserved_until()) {
                    let in_time = (turn.at >= until) == (turn.state == State::Expired);
                    objections.unless(in_time, || {
                        format!("{id} was {:?} on the other side of its end", turn.state)
                    });
                }
                before = Some(turn.state);
                last = (turn.number, turn.at);
            }
            let state = life.state();
            objections.unless(entry.state == state, || {
                format!("{id} is listed as {:?}, but is {state:?}", entry.state)
            });
            let place = (entry.served, entry.number);
            let is_open = self.evidence.reservations.contains(&place);
            objections.unless(is_open == (state == State::Reserved), || {
                format!("{id} is {state:?}, and its reservation open: {is_open}")
            });
        }
        for rule in &self.evidence.broken {
            objections.raise(format!("the owner sees broken {rule}"));
        }
    }

    /// Checks that a code of a deck has one holder at a time, and that a contact holds at most one where the policy
    /// says so.
    pub fn check_holders(&self, objections: &mut Objections) {
        let mut of_code: HashMap<(usize, &str), BTreeMap<i64, &Life>> = HashMap::new();
        let mut of_contact: HashMap<(usize, &str), BTreeMap<i64, &Life>> = HashMap::new();
        for life in self.lives.values() {
            let entry = life.entry;
            if SETS[entry.served].is_deck {
                let code = (entry.served, &*entry.code);
                let holders = of_code.entry(code).or_default();
                holders.insert(entry.number, life);
            }
            if SETS[entry.requested].on_repeat != OnRepeat::NewCode {
                let contact = (entry.requested, &*entry.contact);
                let held = of_contact.entry(contact).or_default();
                held.insert(entry.number, life);
            }
        }
        for ((_, code), holders) in of_code {
            for (life, next) in holders.values().zip(holders.values().skip(1)) {
                let last = life.turns.last();
                let came_back = last
                    .is_some_and(|turn| turn.state.gives_back() && turn.number < next.entry.number);
                let (one, other) = (life.entry.id, next.entry.id);
                objections.unless(came_back, || {
                    format!("{code} is held twice: {one} and {other}")
                });
            }
        }
        for ((_, contact), held) in of_contact {
            for (life, next) in held.values().zip(held.values().skip(1)) {
                let (one, other) = (life.entry.id, next.entry.id);
                objections.unless(life.ends_before(next.entry), || {
                    format!("{contact} was given {one} and {other}, but has to get one")
                });
            }
        }
    }

    /// Checks the results of events: each success is in the ledger, and each refusal agrees with it.
    pub fn check_told(&self, objections: &mut Objections) {
        let mut answered: HashMap<(Uuid, Event), (Moment, bool)> = HashMap::new();
        let mut recorded: HashMap<(Uuid, Event), u32> = HashMap::new();
        for told in &self.evidence.told {
            let fault = self.fault_of(told);
            if let Some(fault) = fault {
                objections.raise(format!("{told:?}: {fault}"));
            }
            let tale = (told.id, told.event);
            if matches!(told.verdict, Verdict::Done { is_new: true, .. }) {
                *recorded.entry(tale).or_default() += 1;
            }
            let last = answered.entry(tale).or_insert((told.sent, false));
            let is_answered = told.verdict != Verdict::Unknown;
            if told.sent >= last.0 {
                *last = (told.sent, is_answered);
            }
        }
        for ((id, event), (_, is_answered)) in answered {
            objections.unless(is_answered, || {
                format!("{event:?} of {id} got no answer in the end")
            });
        }
        for ((id, event), times) in recorded {
            objections.unless(times == 1, || {
                format!("{event:?} of {id} was recorded {times} times")
            });
        }
    }

    fn fault_of(&self, told: &Told) -> Option<&'static str> {
        let Some(life) = self.lives.get(&told.id) else {
            return Some("it is lost");
        };
        let target = told.event.leads_to();
        let turn = life.turn(target);
        let was_reserved = life.turn(State::Reserved).is_some();
        match &told.verdict {
            Verdict::Unknown => None,
            Verdict::Wrong(_) => Some("this is no answer"),
            Verdict::Done { state, is_new } => match turn {
                // There was nothing to confirm. It may have ended since, before its state was read for the response.
                None if told.event == Event::Confirm && !was_reserved => {
                    let ended = life.since(*state).filter(|_| !state.is_live());
                    let is_honest = state.is_live()
                        || ended.is_some_and(|at| (told.sent..=told.ended).contains(&at));
                    (*is_new || !is_honest).then_some("it is not in the ledger")
                }
                None => Some("it is not in the ledger"),
                Some(turn) if turn.at > told.ended => Some("it was recorded later"),
                Some(turn) if *is_new && turn.at < told.sent => Some("it was recorded before"),
                Some(_) if state.step() < target.step() => Some("it has not come that far"),
                Some(_) => None,
            },
            Verdict::WrongState(state) => {
                let is_done = *state == target || (told.event == Event::Confirm && state.is_live());
                if state.may_become(target) || (is_done && *state != State::Reserved) {
                    Some("that state allows it")
                } else if turn.is_some_and(|turn| *state != State::Reserved || turn.at < told.sent)
                {
                    // A reservation may be confirmed and reach that state after the refusal.
                    Some("it is in the ledger")
                } else {
                    None
                }
            }
        }
    }

    /// Checks every state that a response showed: it was true at that time, and no later request saw an earlier state.
    pub fn check_sights(&self, objections: &mut Objections) {
        for (id, mut sights) in self.sights() {
            let Some(life) = self.lives.get(&id) else {
                continue;
            };
            sights.sort_by_key(|sight| sight.ended);
            // The latest known stage over time.
            let mut known: Vec<(Moment, u8)> = Vec::new();
            for sight in &sights {
                let Sight { sent, ended, state } = *sight;
                let was_so = life.since(state).is_some_and(|since| since <= ended);
                objections.unless(was_so, || {
                    format!("{id} was told to be {state:?}, never was")
                });
                let lapsed = life.reserved_until().is_some_and(|until| until < sent);
                objections.unless(!(lapsed && state == State::Reserved), || {
                    format!("{id} was told to be {state:?}, but had run out")
                });
                let earlier = known.partition_point(|(by, _)| *by < sent);
                let floor = earlier.checked_sub(1).map_or(0, |last| known[last].1);
                objections.unless(state.step() >= floor, || {
                    format!("{id} was told to be {state:?} after it had been more")
                });
                let furthest = known.last().map_or(0, |(_, step)| *step);
                known.push((ended, furthest.max(state.step())));
            }
        }
    }

    fn sights(&self) -> HashMap<Uuid, Vec<Sight>> {
        let of_calls = self.evidence.calls.iter().filter_map(|call| {
            let (id, state) = match &call.answer {
                Answer::Given(given) => (given.id, given.state),
                Answer::Ended(id, state) => (*id, *state),
                _ => return None,
            };
            Some((id, call.sent, call.ended, state))
        });
        let of_told = self.evidence.told.iter().filter_map(|told| {
            let (Verdict::Done { state, .. } | Verdict::WrongState(state)) = told.verdict else {
                return None;
            };
            Some((told.id, told.sent, told.ended, state))
        });
        let mut sights: HashMap<Uuid, Vec<Sight>> = HashMap::new();
        for (id, sent, ended, state) in of_calls.chain(of_told) {
            let sight = Sight { sent, ended, state };
            sights.entry(id).or_default().push(sight);
        }
        sights
    }

    /// Derives the times at which assignments were known to be over and their codes to be released. A reservation ends
    /// at its end time.
    pub fn note_ends(&mut self) {
        for (id, sights) in self.sights() {
            if let Some(life) = self.lives.get_mut(&id) {
                let told = sights.iter().filter(|sight| !sight.state.is_live());
                life.over = told.map(|sight| sight.ended).min();
            }
        }
        for life in self.lives.values_mut() {
            let lapsed = life.since(State::Expired);
            life.over = life.over.into_iter().chain(lapsed).min();
            if let (true, Some(known)) = (life.state().gives_back(), life.over) {
                self.returned[life.entry.served].push(known);
            }
        }
        for times in &mut self.returned {
            times.sort_unstable();
        }
    }

    /// The expected counters of a set.
    pub fn recount(&self, set: usize) -> Counters {
        let mut counters = Counters::default();
        for life in self.lives.values().filter(|life| life.entry.served == set) {
            match life.state() {
                State::Reserved => counters.reserved += 1,
                State::Assigned | State::Sent | State::Used => counters.assigned += 1,
                State::Void => counters.void += 1,
                State::Released | State::Expired => {}
            }
        }
        if SETS[set].is_deck {
            let quantity = self.evidence.delivered[set];
            let gone = counters.reserved + counters.assigned + counters.void;
            counters.quantity = Some(quantity);
            counters.available = quantity.checked_sub(gone);
        }
        counters
    }
}
