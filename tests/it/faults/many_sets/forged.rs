//! Forged evidence, which must be noticed.

use std::collections::HashMap;

use super::{AssignedKeys, Given, Item, Log, contact_text, objections};

#[test]
fn objections_are_raised_against_each_kind_of_forgery() {
    let given = |key, set, contact, number, code: &str| {
        let item = Item { set, key, contact };
        let code = code.to_owned();
        (key, (item, Given { number, code }))
    };
    let entry = |set: usize, number: u64, code: &str, contact: u64| {
        ((set, number), (code.to_owned(), contact_text(contact)))
    };
    let keys = HashMap::from([
        given(1, 1, 7, 1, "A"),
        given(2, 1, 8, 2, "B"),
        given(3, 5, 7, 1, "A"),
        given(4, 5, 7, 1, "A"),
    ]);
    let log = Log::from([
        entry(1, 1, "A", 7),
        entry(1, 2, "B", 8),
        entry(5, 1, "A", 7),
    ]);
    assert_eq!(objections(&keys, &log), [""; 0]);

    let forged = |change: &dyn Fn(&mut AssignedKeys, &mut Log)| {
        let (mut keys, mut log) = (keys.clone(), log.clone());
        change(&mut keys, &mut log);
        objections(&keys, &log).len()
    };
    assert_eq!(
        forged(&|_, log| drop(log.remove(&(1, 2)))),
        1,
        "a lost assignment"
    );
    assert_eq!(
        forged(&|keys, _| drop(keys.remove(&2))),
        1,
        "an assignment that nobody asked for"
    );
    assert_eq!(
        forged(&|_, log| log.extend([entry(1, 2, "B", 9)])),
        1,
        "another contact"
    );
    assert_eq!(
        forged(&|_, log| log.extend([entry(1, 2, "C", 8)])),
        1,
        "another code"
    );
    let twice = forged(&|keys, log| {
        keys.extend([given(2, 1, 8, 2, "A")]);
        log.extend([entry(1, 2, "A", 8)]);
    });
    assert_eq!(twice, 1, "a code that was assigned twice");
    assert_eq!(
        forged(&|keys, _| keys.extend([given(9, 1, 7, 1, "A")])),
        1,
        "two keys with one assignment"
    );
}
