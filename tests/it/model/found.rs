//! Histories that once exposed a bug.

use super::history::{Ask, Change, Event, History, Kind, NewSet, Policy, Step, Subject};
use super::run::play;
use crate::support::TestApp;

async fn expect_as_the_model_says(sets: Vec<NewSet>, steps: Vec<Step>) {
    let app = TestApp::start().await;
    let played = play(&app, &History { sets, steps }).await;
    played.unwrap_or_else(|fault| panic!("{fault}"));
}

/// A set with `codes` codes and perhaps a child.
fn set(codes: u8, child: Option<u8>, policies: &[Policy]) -> NewSet {
    NewSet {
        kind: Kind::Multiple((0..codes).map(|code| (code, None)).collect()),
        child,
        policies: policies.to_vec(),
    }
}

fn ask(contact: u8, key: Option<u8>) -> Ask {
    Ask {
        contact,
        key,
        reserve: None,
    }
}

fn assign(set: u8, contact: u8) -> Step {
    Step::Assign {
        set,
        ask: ask(contact, None),
        child: None,
    }
}

#[tokio::test]
async fn the_first_of_two_items_of_a_contact_is_assigned_also_as_a_whole_and_with_a_child() {
    let batch = Step::Batch {
        set: 1,
        asks: vec![ask(0, None), ask(0, None)],
        child: None,
        key: None,
        all: true,
    };
    let sets = vec![
        set(1, None, &[]),
        set(3, Some(0), &[Policy::OnRepeat("sameCode")]),
    ];
    expect_as_the_model_says(sets, vec![batch]).await;
}

#[tokio::test]
async fn a_repeated_event_is_evaluated_by_the_events_in_between() {
    let events = [
        Event::Used,
        Event::Sent,
        Event::Used,
        Event::Sent,
        Event::Sent,
    ];
    let told = |first: Event| {
        let events = [first].into_iter().chain(events);
        Step::TellMany(events.map(|event| (event, Subject::Id(0))).collect())
    };
    let mut reserve = ask(0, None);
    reserve.reserve = Some(1_800);
    let reserved = Step::Assign {
        set: 0,
        ask: reserve,
        child: None,
    };
    let confirm_late = [Event::Sent, Event::Confirm, Event::Sent, Event::Confirm];
    let confirm_late = confirm_late.map(|event| (event, Subject::Id(0))).to_vec();
    let steps = vec![
        assign(0, 0),
        told(Event::Sent),
        reserved,
        Step::TellMany(confirm_late),
    ];
    expect_as_the_model_says(vec![set(2, None, &[])], steps).await;
}

#[tokio::test]
async fn a_batch_as_a_whole_says_what_became_of_a_key_whose_assignment_has_ended() {
    let batch = |all| Step::Batch {
        set: 0,
        asks: vec![ask(2, Some(3)), ask(1, None)],
        child: None,
        key: None,
        all,
    };
    let steps = vec![batch(false), Step::Tell(Event::Release, 1), batch(true)];
    expect_as_the_model_says(vec![set(3, None, &[])], steps).await;
}

#[tokio::test]
async fn a_key_that_was_refused_to_one_contact_for_want_of_codes_is_asked_for_the_next() {
    let batch = Step::Batch {
        set: 0,
        asks: vec![ask(1, None), ask(1, Some(2)), ask(2, Some(2))],
        child: None,
        key: None,
        all: false,
    };
    let steps = vec![
        assign(0, 2),
        Step::Patch(0, Change::Policy(Policy::ExpiresAt(Some(-1)))),
        batch,
    ];
    let refuse = Policy::OnRepeat("refuse");
    expect_as_the_model_says(vec![set(3, None, &[refuse])], steps).await;
}
