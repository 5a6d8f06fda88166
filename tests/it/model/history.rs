//! Random histories: sequences of steps of a shop and its workflows.
//!
//! Steps name sets, contacts, keys and assignments by small numbers. So a step stays meaningful when earlier steps are
//! removed, and a failing history shrinks.

use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A day, counted from the start of the history. Expiry times are on such days, half an hour later.
pub type Day = i8;

/// A code and its expiry.
pub type Row = (u8, Option<Day>);

#[derive(Debug, Clone)]
pub struct NewSet {
    pub kind: Kind,
    /// The child is `child + 1` sets before this one.
    pub child: Option<u8>,
    pub policies: Vec<Policy>,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Multiple(Vec<Row>),
    Single(Option<u8>),
}

#[derive(Debug, Clone, Copy)]
pub enum Policy {
    OnRepeat(&'static str),
    SameCodeUntil(&'static str),
    PerContact(Option<u8>),
    ExpiresAt(Option<Day>),
    Timezone(&'static str),
    ValidForDays(Option<u16>),
}

#[derive(Debug, Clone, Copy)]
pub enum SetChange {
    Policy(Policy),
    Quantity(Option<u8>),
    Child(Option<u8>),
}

#[derive(Debug, Clone, Copy)]
pub struct CodeRequest {
    pub contact: u8,
    pub key: Option<u8>,
    pub reserve: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Confirm,
    Sent,
    Used,
    Release,
    Void,
}

/// An assignment, counted back from the latest; by its id or by its set and code.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    Id(u8),
    Code(u8),
    /// A code that may never have been assigned.
    AnyCode(u8, u8),
}

#[derive(Debug, Clone)]
pub enum Step {
    Assign {
        set: u8,
        request: CodeRequest,
        child: Option<u8>,
    },
    Batch {
        set: u8,
        requests: Vec<CodeRequest>,
        child: Option<u8>,
        key: Option<u8>,
        all: bool,
    },
    Import(u8, Vec<Row>),
    Record(Event, u8),
    RecordMany(Vec<(Event, Subject)>),
    Patch(u8, SetChange),
    Hours(u16),
    /// Merges a contact into another one.
    Merge(u8, u8),
    Sweep,
    DryRun {
        set: u8,
        request: CodeRequest,
        child: Option<u8>,
        outcome: Option<&'static str>,
    },
    Available {
        set: u8,
        count: u8,
        child: Option<u8>,
    },
    /// Withdraws codes of a set by name.
    Withdraw(u8, Vec<u8>),
    /// Undoes an import, counted back from the latest; true for a dry run.
    Undo(u8, bool),
    /// Lists the codes of a set with their status.
    Coupons(u8),
    Find(u8),
    List {
        contact: Option<u8>,
        set: Option<u8>,
        code: Option<u8>,
    },
}

#[derive(Clone)]
pub struct History {
    pub sets: Vec<NewSet>,
    pub steps: Vec<Step>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, set) in self.sets.iter().enumerate() {
            writeln!(f, "  set {index}: {set:?}")?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "  step {index}: {step:?}")?;
        }
        Ok(())
    }
}

fn day() -> impl Strategy<Value = Option<Day>> {
    option::weighted(0.4, prop_oneof![1 => Just(-1), 8 => 1..5_i8])
}

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    vec((0..16_u8, day()), 1..=most)
}

fn on_repeat() -> impl Strategy<Value = Policy> {
    prop_oneof![Just("newCode"), Just("sameCode"), Just("refuse")].prop_map(Policy::OnRepeat)
}

fn same_code_until() -> impl Strategy<Value = Policy> {
    prop_oneof![Just("always"), Just("used"), Just("expired")].prop_map(Policy::SameCodeUntil)
}

fn policy() -> impl Strategy<Value = Policy> {
    let most = prop_oneof![3 => Just(1_u8), 2 => Just(2), 1 => Just(3)];
    let zone = prop_oneof![
        Just("Europe/Madrid"),
        Just("America/New_York"),
        Just("Asia/Kathmandu"),
    ];
    let days = prop_oneof![Just(1_u16), Just(3), Just(200)];
    prop_oneof![
        2 => on_repeat(),
        2 => same_code_until(),
        4 => option::weighted(0.9, most).prop_map(Policy::PerContact),
        2 => day().prop_map(Policy::ExpiresAt),
        1 => zone.prop_map(Policy::Timezone),
        2 => option::weighted(0.8, days).prop_map(Policy::ValidForDays),
    ]
}

fn new_set() -> impl Strategy<Value = NewSet> {
    let kind = prop_oneof![
        4 => rows(10).prop_map(Kind::Multiple),
        1 => option::weighted(0.7, 1..5_u8).prop_map(Kind::Single),
    ];
    let child = option::weighted(0.6, 0..3_u8);
    let policies = (on_repeat(), same_code_until(), vec(policy(), 0..4));
    (kind, child, policies).prop_map(|(kind, child, (repeat, until, others))| NewSet {
        kind,
        child,
        policies: [vec![repeat, until], others].concat(),
    })
}

/// Usually the set's own child.
fn child() -> impl Strategy<Value = Option<u8>> {
    option::weighted(0.15, 0..4_u8)
}

fn contact() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0), 2 => Just(1), 1 => Just(2)]
}

fn request() -> impl Strategy<Value = CodeRequest> {
    let reserve = prop_oneof![Just(1_800_u32), Just(100_000), Just(604_800)];
    (
        contact(),
        option::weighted(0.4, 0..6_u8),
        option::weighted(0.3, reserve),
    )
        .prop_map(|(contact, key, reserve)| CodeRequest {
            contact,
            key,
            reserve,
        })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Confirm),
        2 => Just(Event::Sent),
        3 => Just(Event::Used),
        2 => Just(Event::Release),
        1 => Just(Event::Void),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        6 => (0..4_u8).prop_map(Subject::Id),
        3 => (0..4_u8).prop_map(Subject::Code),
        1 => (0..4_u8, 0..16_u8).prop_map(|(set, code)| Subject::AnyCode(set, code)),
    ]
}

fn change() -> impl Strategy<Value = SetChange> {
    prop_oneof![
        6 => policy().prop_map(SetChange::Policy),
        1 => option::weighted(0.8, 1..5_u8).prop_map(SetChange::Quantity),
        1 => option::weighted(0.7, 0..4_u8).prop_map(SetChange::Child),
    ]
}

/// A step that clients may take concurrently. Passing time affects all of them, so it is excluded.
pub fn client_step() -> impl Strategy<Value = Step> {
    let batch = (
        0..4_u8,
        vec(request(), 1..6),
        child(),
        option::weighted(0.3, 0..3_u8),
        any::<bool>(),
    );
    let outcome = option::weighted(
        0.7,
        prop_oneof![Just("exhausted"), Just("alreadyAssigned"), Just("expired")],
    );
    prop_oneof![
        10 => (0..4_u8, request(), child()).prop_map(|(set, request, child)| Step::Assign { set, request, child }),
        5 => batch.prop_map(|(set, requests, child, key, all)| Step::Batch { set, requests, child, key, all }),
        2 => (0..4_u8, rows(4)).prop_map(|(set, rows)| Step::Import(set, rows)),
        6 => (event(), 0..6_u8).prop_map(|(event, which)| Step::Record(event, which)),
        4 => vec((event(), subject()), 1..6).prop_map(Step::RecordMany),
        4 => (0..4_u8, change()).prop_map(|(set, change)| Step::Patch(set, change)),
        1 => (0..4_u8, request(), child(), outcome)
            .prop_map(|(set, request, child, outcome)| Step::DryRun { set, request, child, outcome }),
        1 => (0..4_u8, 1..9_u8, child())
            .prop_map(|(set, count, child)| Step::Available { set, count, child }),
        2 => (0..4_u8, vec(0..16_u8, 1..4)).prop_map(|(set, codes)| Step::Withdraw(set, codes)),
        1 => (0..4_u8, any::<bool>()).prop_map(|(which, dry)| Step::Undo(which, dry)),
        1 => (0..4_u8).prop_map(Step::Coupons),
        1 => (0..6_u8).prop_map(Step::Find),
        2 => (option::of(0..3_u8), option::of(0..4_u8), option::weighted(0.3, 0..16_u8))
            .prop_map(|(contact, set, code)| Step::List { contact, set, code }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => client_step(),
        2 => prop_oneof![Just(1_u16), Just(24), Just(72)].prop_map(Step::Hours),
        1 => Just(Step::Sweep),
        1 => (contact(), contact()).prop_map(|(one, into)| Step::Merge(one, into)),
    ]
}

pub fn sets() -> impl Strategy<Value = Vec<NewSet>> {
    prop_oneof![3 => vec(new_set(), 1..=2), 2 => vec(new_set(), 3..=4)]
}

pub fn histories() -> impl Strategy<Value = History> {
    (sets(), vec(step(), 1..50)).prop_map(|(sets, steps)| History { sets, steps })
}
