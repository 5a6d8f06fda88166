//! Checks of the lifecycle after the assignment: a code has one holder at a time, and every result that a client saw
//! agrees with the ledger.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::checker::{Objections, Record};
use super::history::{
    CodeAnswer, Counters, Event, EventAnswer, EventCall, LogEntry, Moment, OnRepeat, SETS, State,
    StateChange,
};

/// An assignment with its events, in the order of its ledger.
pub struct Lifecycle<'a> {
    pub entry: &'a LogEntry,
    pub changes: Vec<&'a StateChange>,
    /// Time from which every reader must see that it is over, if known.
    pub over: Option<Moment>,
}

impl<'a> Lifecycle<'a> {
    pub fn new(entry: &'a LogEntry) -> Self {
        Self {
            entry,
            changes: Vec::new(),
            over: None,
        }
    }

    fn change(&self, state: State) -> Option<&'a StateChange> {
        self.changes
            .iter()
            .copied()
            .find(|change| change.state == state)
    }

    fn state(&self) -> State {
        self.changes
            .last()
            .map_or(State::Assigned, |change| change.state)
    }

    fn reserved_until(&self) -> Option<Moment> {
        self.change(State::Reserved).and_then(|change| change.until)
    }

    /// Start of this state, if it was ever reached. A reservation ends at its end time, not when the end was recorded.
    fn since(&self, state: State) -> Option<Moment> {
        match state {
            State::Assigned if self.change(State::Reserved).is_none() => Some(self.entry.at),
            State::Expired => self.change(state).and(self.reserved_until()),
            _ => self.change(state).map(|change| change.at),
        }
    }

    /// True if this assignment was over before `other` of the same set was made.
    fn ends_before(&self, other: &LogEntry) -> bool {
        match self.changes.last() {
            Some(last) if last.state == State::Expired => {
                self.reserved_until().is_some_and(|until| until <= other.at)
            }
            Some(last) => !last.state.is_live() && last.number < other.number,
            None => false,
        }
    }
}

/// A state of an assignment that a response showed.
struct Observation {
    sent: Moment,
    ended: Moment,
    state: State,
}

impl Record<'_> {
    /// Checks each lifecycle by itself, and compares it with the API's lists and the open reservations.
    pub fn check_lifecycles(&self, objections: &mut Objections) {
        for life in self.lifecycles.values() {
            let (id, entry) = (life.entry.id, life.entry);
            let mut before = None;
            let mut last = (entry.number, entry.at);
            for change in &life.changes {
                let follows = match (before, change.state) {
                    (None, State::Reserved) => true,
                    (before, next) => before.unwrap_or(State::Assigned).may_become(next),
                };
                objections.unless(follows, || {
                    format!("{id} became {:?} after {before:?}", change.state)
                });
                objections.unless(change.number > last.0 && change.at >= last.1, || {
                    format!("{id} was {:?} before its time", change.state)
                });
                if let (Some(State::Reserved), Some(until)) = (before, life.reserved_until()) {
                    let in_time = (change.at >= until) == (change.state == State::Expired);
                    objections.unless(in_time, || {
                        format!("{id} was {:?} on the other side of its end", change.state)
                    });
                }
                before = Some(change.state);
                last = (change.number, change.at);
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
        let mut of_code: HashMap<(usize, &str), BTreeMap<i64, &Lifecycle>> = HashMap::new();
        let mut of_contact: HashMap<(usize, &str), BTreeMap<i64, &Lifecycle>> = HashMap::new();
        for life in self.lifecycles.values() {
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
                let last = life.changes.last();
                let came_back = last.is_some_and(|change| {
                    change.state.gives_back() && change.number < next.entry.number
                });
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
    pub fn check_events(&self, objections: &mut Objections) {
        let mut answered: HashMap<(Uuid, Event), (Moment, bool)> = HashMap::new();
        let mut recorded: HashMap<(Uuid, Event), u32> = HashMap::new();
        for call in &self.evidence.event_calls {
            let fault = self.fault_of(call);
            if let Some(fault) = fault {
                objections.raise(format!("{call:?}: {fault}"));
            }
            let item = (call.id, call.event);
            if matches!(call.answer, EventAnswer::Done { is_new: true, .. }) {
                *recorded.entry(item).or_default() += 1;
            }
            let last = answered.entry(item).or_insert((call.sent, false));
            let is_answered = call.answer != EventAnswer::Unknown;
            if call.sent >= last.0 {
                *last = (call.sent, is_answered);
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

    fn fault_of(&self, call: &EventCall) -> Option<&'static str> {
        let Some(life) = self.lifecycles.get(&call.id) else {
            return Some("it is lost");
        };
        let target = call.event.leads_to();
        let change = life.change(target);
        let was_reserved = life.change(State::Reserved).is_some();
        match &call.answer {
            EventAnswer::Unknown => None,
            EventAnswer::Wrong(_) => Some("this is no answer"),
            EventAnswer::Done { state, is_new } => match change {
                // There was nothing to confirm. It may have ended since, before its state was read for the response.
                None if call.event == Event::Confirm && !was_reserved => {
                    let ended = life.since(*state).filter(|_| !state.is_live());
                    let is_honest = state.is_live()
                        || ended.is_some_and(|at| (call.sent..=call.ended).contains(&at));
                    (*is_new || !is_honest).then_some("it is not in the ledger")
                }
                None => Some("it is not in the ledger"),
                Some(change) if change.at > call.ended => Some("it was recorded later"),
                Some(change) if *is_new && change.at < call.sent => Some("it was recorded before"),
                Some(_) if state.step() < target.step() => Some("it has not come that far"),
                Some(_) => None,
            },
            EventAnswer::WrongState(state) => {
                let is_done = *state == target || (call.event == Event::Confirm && state.is_live());
                if state.may_become(target) || (is_done && *state != State::Reserved) {
                    Some("that state allows it")
                } else if change
                    .is_some_and(|change| *state != State::Reserved || change.at < call.sent)
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
    pub fn check_observations(&self, objections: &mut Objections) {
        for (id, mut observations) in self.observations() {
            let Some(life) = self.lifecycles.get(&id) else {
                continue;
            };
            observations.sort_by_key(|observation| observation.ended);
            // The latest known stage over time.
            let mut known: Vec<(Moment, u8)> = Vec::new();
            for observation in &observations {
                let Observation { sent, ended, state } = *observation;
                let was_so = life.since(state).is_some_and(|since| since <= ended);
                objections.unless(was_so, || {
                    format!("{id} was reported as {state:?}, never was")
                });
                let lapsed = life.reserved_until().is_some_and(|until| until < sent);
                objections.unless(!(lapsed && state == State::Reserved), || {
                    format!("{id} was reported as {state:?}, but had run out")
                });
                let earlier = known.partition_point(|(by, _)| *by < sent);
                let floor = earlier.checked_sub(1).map_or(0, |last| known[last].1);
                objections.unless(state.step() >= floor, || {
                    format!("{id} was reported as {state:?} after it had been more")
                });
                let furthest = known.last().map_or(0, |(_, step)| *step);
                known.push((ended, furthest.max(state.step())));
            }
        }
    }

    fn observations(&self) -> HashMap<Uuid, Vec<Observation>> {
        let of_calls = self.evidence.calls.iter().filter_map(|call| {
            let (id, state) = match &call.answer {
                CodeAnswer::Assigned(given) => (given.id, given.state),
                CodeAnswer::Ended(id, state) => (*id, *state),
                _ => return None,
            };
            Some((id, call.sent, call.ended, state))
        });
        let of_events = self.evidence.event_calls.iter().filter_map(|call| {
            let (EventAnswer::Done { state, .. } | EventAnswer::WrongState(state)) = call.answer
            else {
                return None;
            };
            Some((call.id, call.sent, call.ended, state))
        });
        let mut observations: HashMap<Uuid, Vec<Observation>> = HashMap::new();
        for (id, sent, ended, state) in of_calls.chain(of_events) {
            let observation = Observation { sent, ended, state };
            observations.entry(id).or_default().push(observation);
        }
        observations
    }

    /// Derives the times at which assignments were known to be over and their codes to be released. A reservation ends
    /// at its end time.
    pub fn derive_ends(&mut self) {
        for (id, observations) in self.observations() {
            if let Some(life) = self.lifecycles.get_mut(&id) {
                let over = observations
                    .iter()
                    .filter(|observation| !observation.state.is_live());
                life.over = over.map(|observation| observation.ended).min();
            }
        }
        for life in self.lifecycles.values_mut() {
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
        for life in self
            .lifecycles
            .values()
            .filter(|life| life.entry.served == set)
        {
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
