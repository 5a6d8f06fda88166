//! The checker: compares the clients' observations with the service's records. Both are consistent only if each code
//! was held by at most one contact at a time.

use std::collections::HashMap;
use std::fmt::Display;

use uuid::Uuid;

use super::history::{
    AssignedCode, Call, CodeAnswer, ENDLESS_CODE, Evidence, LogEntry, Moment, OnRepeat, Outcome,
    SETS, chain, code, contact_text, key_hash,
};
use super::lifecycles::Lifecycle;

/// Objections of one kind that are kept as text.
const EXAMPLES: usize = 3;

/// Violations that were found.
#[derive(Debug, Default)]
pub struct Objections {
    pub count: usize,
    pub examples: Vec<String>,
    /// Objections of one kind differ only in their numbers.
    by_kind: HashMap<String, usize>,
}

impl Objections {
    pub fn raise(&mut self, objection: impl Display) {
        self.count += 1;
        let text = objection.to_string();
        let words = text.split_whitespace();
        let sort: Vec<&str> = words
            .filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
            .collect();
        let seen = self.by_kind.entry(sort.join(" ")).or_default();
        *seen += 1;
        if *seen <= EXAMPLES {
            self.examples.push(text);
        }
    }

    pub fn unless(&mut self, holds: bool, objection: impl FnOnce() -> String) {
        if !holds {
            self.raise(objection());
        }
    }
}

/// Checks all evidence.
pub fn check(evidence: &Evidence) -> Objections {
    let mut objections = Objections::default();
    let mut record = Record::new(evidence, &mut objections);
    record.derive_ends();
    record.check_log(&mut objections);
    record.check_lifecycles(&mut objections);
    record.check_holders(&mut objections);
    record.check_events(&mut objections);
    record.check_observations(&mut objections);
    record.check_counters(&mut objections);
    let mut by_key: HashMap<(usize, u64), Vec<&Call>> = HashMap::new();
    for call in &evidence.calls {
        record.check_call(call, &mut objections);
        by_key.entry((call.set, call.key)).or_default().push(call);
    }
    for calls in by_key.values_mut() {
        calls.sort_by_key(|call| call.sent);
        check_key(calls, &mut objections);
    }
    record.check_origin(&by_key, &mut objections);
    objections
}

/// The service's records, indexed for the checks.
pub struct Record<'a> {
    pub evidence: &'a Evidence,
    pub lifecycles: HashMap<Uuid, Lifecycle<'a>>,
    /// Times at which codes of a set were known to be released, in order.
    pub returned: Vec<Vec<Moment>>,
    by_id: HashMap<Uuid, &'a LogEntry>,
    by_place: HashMap<(usize, i64), &'a LogEntry>,
    /// Times at which codes of a set were assigned, in order.
    dealt: Vec<Vec<Moment>>,
    /// Known supply of codes of a set over time.
    supply: Vec<Vec<(Moment, u64)>>,
}

impl<'a> Record<'a> {
    fn new(evidence: &'a Evidence, objections: &mut Objections) -> Self {
        let mut by_id = HashMap::new();
        let mut by_place = HashMap::new();
        let mut dealt = vec![Vec::new(); SETS.len()];
        for entry in &evidence.log {
            if by_id.insert(entry.id, entry).is_some()
                || by_place
                    .insert((entry.served, entry.number), entry)
                    .is_some()
            {
                objections.raise(format!("two assignments are {}", entry.id));
            }
            dealt[entry.served].push(entry.at);
        }
        let mut lifecycles: HashMap<Uuid, Lifecycle> = by_id
            .iter()
            .map(|(id, entry)| (*id, Lifecycle::new(entry)))
            .collect();
        let mut changes: Vec<_> = evidence.changes.iter().collect();
        changes.sort_by_key(|change| change.number);
        for change in changes {
            let entry = by_place.get(&(change.served, change.of));
            match entry.and_then(|entry| lifecycles.get_mut(&entry.id)) {
                Some(life) => life.changes.push(change),
                None => objections.raise(format!("of no assignment is {change:?}")),
            }
        }
        for times in &mut dealt {
            times.sort_unstable();
        }
        let mut refills = evidence.refills.clone();
        refills.sort_by_key(|refill| refill.known);
        let mut supply = vec![Vec::new(); SETS.len()];
        for refill in refills {
            let of_set: &mut Vec<(Moment, u64)> = &mut supply[refill.set];
            let before = of_set.last().map_or(0, |(_, sum)| *sum);
            of_set.push((refill.known, before + refill.codes));
        }
        Self {
            evidence,
            lifecycles,
            returned: vec![Vec::new(); SETS.len()],
            by_id,
            by_place,
            dealt,
            supply,
        }
    }

    /// Checks the log by itself: no card, no code and no key twice, and no number missing.
    fn check_log(&self, objections: &mut Objections) {
        let mut cards = HashMap::new();
        let mut keys = HashMap::new();
        let mut numbers = vec![Vec::new(); SETS.len()];
        for change in &self.evidence.changes {
            numbers[change.served].push(change.number);
        }
        for (set, number) in &self.evidence.unlisted {
            objections.raise(format!(
                "number {number} of {} is not listed",
                SETS[*set].name
            ));
        }
        for entry in &self.evidence.log {
            let plan = &SETS[entry.served];
            let name = plan.name;
            numbers[entry.served].push(entry.number);
            if let Some(other) = cards.insert((entry.served, entry.lot, entry.ordinal), entry.id) {
                let card = format!("{}:{}", entry.lot, entry.ordinal);
                objections.raise(format!(
                    "card {card} of {name} is in {other} and in {}",
                    entry.id
                ));
            }
            if let Some(other) = keys.insert((entry.requested, entry.key_hash), entry.id) {
                objections.raise(format!("one key made {other} and {}", entry.id));
            }
            objections.unless(
                chain(entry.requested).any(|set| set == entry.served),
                || {
                    format!(
                        "{name} served {}, of which it is no child",
                        SETS[entry.requested].name
                    )
                },
            );
            if !plan.is_deck {
                objections.unless(&*entry.code == ENDLESS_CODE, || {
                    format!("{} is no code of {name}", entry.code)
                });
                continue;
            }
            let number = entry.code.rsplit('-').next().and_then(|n| n.parse().ok());
            let is_delivered = number.is_some_and(|number| {
                number < self.evidence.delivered[entry.served]
                    && *entry.code == code(entry.served, number)
            });
            objections.unless(is_delivered, || {
                format!("{} was never delivered to {name}", entry.code)
            });
        }
        for (set, mut numbers) in numbers.into_iter().enumerate() {
            numbers.sort_unstable();
            let dense = (1..).zip(&numbers).all(|(place, number)| place == *number);
            objections.unless(dense, || format!("the log of {} has gaps", SETS[set].name));
        }
    }

    /// Checks that nothing is lost: the delivered codes equal the imported ones, and these equal the sum of assigned,
    /// void and available codes.
    fn check_counters(&self, objections: &mut Objections) {
        for (set, plan) in SETS.iter().enumerate() {
            let counters = self.evidence.counters[set];
            let recount = self.recount(set);
            objections.unless(counters == recount, || {
                format!(
                    "{} counts {counters:?}, but a recount gives {recount:?}",
                    plan.name
                )
            });
            if !plan.is_deck {
                continue;
            }
            let delivered = self.evidence.delivered[set];
            let imported = self.evidence.imported[set];
            objections.unless(imported == delivered, || {
                format!(
                    "{delivered} codes were delivered to {}, but {imported} were imported",
                    plan.name
                )
            });
        }
    }

    /// Checks one result by itself: a returned assignment is on record, and a refusal was justified.
    fn check_call(&self, call: &Call, objections: &mut Objections) {
        let Call { set, key, .. } = *call;
        match &call.answer {
            CodeAnswer::Unknown => {}
            CodeAnswer::Wrong(what) => {
                objections.raise(format!("{} key-{key} was answered {what}", self.time(call)));
            }
            CodeAnswer::Assigned(given) => {
                let fault = self.fault(call, given);
                if let Some(fault) = fault {
                    let time = self.time(call);
                    objections.raise(format!("{time} key-{key} was answered {given:?}: {fault}"));
                }
                if given.outcome == Outcome::Assigned {
                    let passed = chain(set).take_while(|other| *other != given.served);
                    self.check_passed(call, passed, objections);
                }
            }
            CodeAnswer::Exhausted => self.check_passed(call, chain(set), objections),
            CodeAnswer::Ended(id, state) => {
                let entry = self.by_id.get(id);
                let fits = entry.is_some_and(|entry| {
                    self.is_of(call, entry) && *entry.contact == contact_text(call.contact)
                });
                objections.unless(fits && !state.is_live(), || {
                    let time = self.time(call);
                    format!("{time} key-{key} got {state:?} of {id}, which is {entry:?}")
                });
            }
            CodeAnswer::Refused(id) => {
                let entry = self.by_id.get(id);
                let holds = entry.is_some_and(|entry| {
                    *entry.contact == contact_text(call.contact)
                        && entry.requested == set
                        && entry.key_hash != key_hash(key)
                        && entry.at <= call.ended
                }) && !self.was_over(*id, call.sent);
                objections.unless(holds && SETS[set].on_repeat == OnRepeat::Refuse, || {
                    let time = self.time(call);
                    format!("{time} key-{key} was refused for {id}, which is {entry:?}")
                });
            }
        }
    }

    /// Time of a request's response, in milliseconds since the load began, like the times of the faults.
    fn time(&self, call: &Call) -> String {
        format!("{} ms:", (call.ended - self.evidence.began) / 1000)
    }

    fn was_over(&self, id: Uuid, at: Moment) -> bool {
        let life = self.lifecycles.get(&id);
        life.and_then(|life| life.over)
            .is_some_and(|over| over < at)
    }

    /// True if the key made the assignment, or returned it from an earlier one.
    fn is_of(&self, call: &Call, entry: &LogEntry) -> bool {
        let hash = key_hash(call.key);
        let place = (entry.served, entry.number);
        entry.requested == call.set
            && (entry.key_hash == hash
                || self.evidence.shared.get(&(call.set, hash)) == Some(&place))
    }

    /// The contradiction between the result and the log, if there is one.
    fn fault(&self, call: &Call, given: &AssignedCode) -> Option<&'static str> {
        let Some(entry) = self.by_id.get(&given.id) else {
            return Some("it is lost");
        };
        let is_own = entry.key_hash == key_hash(call.key);
        if entry.code != given.code || entry.served != given.served || entry.requested != call.set {
            Some("the log has another code")
        } else if *entry.contact != contact_text(call.contact) {
            Some("the log has another contact")
        } else if entry.at > call.ended {
            Some("it was made later")
        } else if given.outcome == Outcome::Assigned && !(is_own && entry.at >= call.sent) {
            Some("it was made by another request")
        } else if !self.is_of(call, entry) {
            Some("the log has another key")
        } else if given.outcome == Outcome::AlreadyAssigned
            && SETS[call.set].on_repeat != OnRepeat::SameCode
        {
            Some("the set gives new codes")
        } else if !given.state.is_live() && given.outcome != Outcome::Assigned {
            Some("it is over")
        } else {
            None
        }
    }

    /// Checks that each of these sets may have been without codes at some time during the request.
    fn check_passed(
        &self,
        call: &Call,
        sets: impl Iterator<Item = usize>,
        objections: &mut Objections,
    ) {
        for set in sets {
            let supply = &self.supply[set];
            let known = supply.partition_point(|(known, _)| *known <= call.sent);
            let came = known.checked_sub(1).map_or(0, |last| supply[last].1);
            let returned = self.returned[set].partition_point(|known| *known < call.sent) as u64;
            let came = came + returned;
            // Upper bound of the codes that had been assigned at any time of the request.
            let gone = self.dealt[set].partition_point(|at| *at <= call.ended) as u64;
            objections.unless(SETS[set].is_deck && came <= gone, || {
                let name = SETS[set].name;
                format!(
                    "{} key-{} got no code of {name}, which had {came} less {gone}",
                    self.time(call),
                    call.key
                )
            });
        }
    }

    /// Checks that everything in the log was requested.
    fn check_origin(
        &self,
        by_key: &HashMap<(usize, u64), Vec<&Call>>,
        objections: &mut Objections,
    ) {
        let asked: HashMap<(usize, Uuid), &Call> = by_key
            .iter()
            .map(|((set, key), calls)| ((*set, key_hash(*key)), calls[0]))
            .collect();
        for entry in &self.evidence.log {
            let call = asked.get(&(entry.requested, entry.key_hash));
            let wanted = call.is_some_and(|call| *entry.contact == contact_text(call.contact));
            objections.unless(wanted, || {
                format!("{} was given to {} unasked", entry.code, entry.contact)
            });
        }
        for ((requested, hash), place) in &self.evidence.shared {
            let call = asked.get(&(*requested, *hash));
            let entry = self.by_place.get(place);
            let fits = call.zip(entry).is_some_and(|(call, entry)| {
                *entry.contact == contact_text(call.contact) && entry.requested == *requested
            });
            objections.unless(fits, || {
                format!("a key was promised {place:?}, which is {entry:?}")
            });
        }
    }
}

/// Checks all results of one key, in the order of sending: always the same assignment, and a result at the end.
fn check_key(calls: &[&Call], objections: &mut Objections) {
    let key = calls[0].key;
    let mut first: Option<(Uuid, Moment)> = None;
    let mut made = 0;
    for call in calls {
        let id = match &call.answer {
            CodeAnswer::Assigned(given) => {
                made += usize::from(given.outcome == Outcome::Assigned);
                given.id
            }
            CodeAnswer::Ended(id, _) => *id,
            _ => continue,
        };
        let (before, ended) = first.get_or_insert((id, call.ended));
        objections.unless(*before == id, || {
            format!("key-{key} was answered {before} and {id}")
        });
        *ended = call.ended.min(*ended);
    }
    objections.unless(made <= 1, || {
        format!("key-{key} got a new code {made} times")
    });
    let last = calls.last().expect("a key was sent");
    objections.unless(last.answer != CodeAnswer::Unknown, || {
        format!("key-{key} got no answer in the end")
    });
    let Some((id, ended)) = first else { return };
    for call in calls {
        let forgotten = matches!(call.answer, CodeAnswer::Exhausted | CodeAnswer::Refused(_));
        objections.unless(!(forgotten && call.sent > ended), || {
            format!("key-{key} was answered {id} and later {:?}", call.answer)
        });
    }
}
