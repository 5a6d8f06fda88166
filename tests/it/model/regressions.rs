//! Histories that once exposed a bug.

use super::history::{CodeRequest, Event, History, Kind, NewSet, Policy, SetChange, Step, Subject};
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

fn request(contact: u8, key: Option<u8>) -> CodeRequest {
    CodeRequest {
        contact,
        key,
        reserve: None,
    }
}

fn assign(set: u8, contact: u8) -> Step {
    Step::Assign {
        set,
        request: request(contact, None),
        child: None,
    }
}

fn reserve(set: u8, contact: u8) -> Step {
    let mut request = request(contact, None);
    request.reserve = Some(1_800);
    Step::Assign {
        set,
        request,
        child: None,
    }
}

#[tokio::test]
async fn the_first_of_two_items_of_a_contact_is_assigned_also_as_a_whole_and_with_a_child() {
    let batch = Step::Batch {
        set: 1,
        requests: vec![request(0, None), request(0, None)],
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
    let recorded = |first: Event| {
        let events = [first].into_iter().chain(events);
        Step::RecordMany(events.map(|event| (event, Subject::Id(0))).collect())
    };
    let confirm_late = [Event::Sent, Event::Confirm, Event::Sent, Event::Confirm];
    let confirm_late = confirm_late.map(|event| (event, Subject::Id(0))).to_vec();
    let steps = vec![
        assign(0, 0),
        recorded(Event::Sent),
        reserve(0, 0),
        Step::RecordMany(confirm_late),
    ];
    expect_as_the_model_says(vec![set(2, None, &[])], steps).await;
}

#[tokio::test]
async fn a_batch_as_a_whole_says_what_became_of_a_key_whose_assignment_has_ended() {
    let batch = |all| Step::Batch {
        set: 0,
        requests: vec![request(2, Some(3)), request(1, None)],
        child: None,
        key: None,
        all,
    };
    let steps = vec![batch(false), Step::Record(Event::Release, 1), batch(true)];
    expect_as_the_model_says(vec![set(3, None, &[])], steps).await;
}

#[tokio::test]
async fn a_key_that_was_refused_to_one_contact_for_want_of_codes_is_asked_for_the_next() {
    let batch = Step::Batch {
        set: 0,
        requests: vec![request(1, None), request(1, Some(2)), request(2, Some(2))],
        child: None,
        key: None,
        all: false,
    };
    let steps = vec![
        assign(0, 2),
        Step::Patch(0, SetChange::Policy(Policy::ExpiresAt(Some(-1)))),
        batch,
    ];
    let refuse = Policy::OnRepeat("refuse");
    expect_as_the_model_says(vec![set(3, None, &[refuse])], steps).await;
}

#[tokio::test]
async fn the_items_of_a_batch_are_served_in_their_order_while_codes_are_scarce() {
    let batch = |set, requests| Step::Batch {
        set,
        requests,
        child: None,
        key: None,
        all: false,
    };
    let (one, other) = (request(1, None), request(0, None));
    // The second item of a contact, one whose contact has had a code, and one whose contact was merged are not plain.
    let limit = Policy::PerContact(Some(2));
    let sets = vec![set(2, None, &[]), set(2, None, &[limit]), set(1, None, &[])];
    let steps = vec![
        batch(0, vec![one, one, other]),
        assign(1, 1),
        batch(1, vec![one, other]),
        Step::Merge(1, 2),
        batch(2, vec![one, other]),
    ];
    expect_as_the_model_says(sets, steps).await;
}

#[tokio::test]
async fn a_code_whose_reservation_has_expired_and_whose_import_was_undone_is_imported_as_a_new_one()
{
    let steps = vec![
        reserve(0, 0),
        Step::Undo(0, false),
        Step::Hours(1),
        Step::Import(0, vec![(0, None)]),
    ];
    expect_as_the_model_says(vec![set(1, None, &[])], steps).await;
}
