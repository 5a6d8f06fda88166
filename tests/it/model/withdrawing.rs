//! Withdrawing codes, by name and by import, and listing all codes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::client::code;
use super::reference::{Card, Model, Set, State, is_over};
use super::run::{Check, Run, refusal, same};

/// Withdrawn codes of a set.
#[derive(Debug, Clone, Default)]
pub struct Withdrawn {
    /// Number of withdrawals.
    pub count: usize,
    /// Codes that were withdrawn, even if imported again.
    pub codes: BTreeSet<String>,
    /// The latest import of each code.
    pub origins: BTreeMap<String, usize>,
}

#[derive(Debug, Clone)]
pub struct Import {
    pub id: String,
    set: usize,
    success: usize,
    /// Codes of it that were withdrawn by name.
    named: usize,
    /// Result of its undo: `withdrawn`, `withdrawnBefore` and `kept`.
    undone: Option<[usize; 3]>,
}

impl Import {
    pub fn new(set: usize, success: usize) -> Self {
        Self {
            id: String::new(),
            set,
            success,
            named: 0,
            undone: None,
        }
    }
}

impl Set {
    /// Stores a new code with its import.
    pub fn take_in(&mut self, code: &str, import: usize) {
        self.codes.push(code.to_owned());
        self.withdrawn.origins.insert(code.to_owned(), import);
    }
}

impl Model {
    /// Releases a code, unless its import was undone.
    pub fn give_back(&mut self, set_index: usize, card: Card) {
        let set = &mut self.sets[set_index];
        let origin = set.withdrawn.origins.get(&card.code);
        let is_undone = origin.is_some_and(|origin| self.imports[*origin].undone.is_some());
        let code = card.code.clone();
        set.returned.push(card);
        if is_undone {
            self.remove(set_index, &code);
        }
    }

    /// Removes an available code from its set.
    fn remove(&mut self, set: usize, code: &str) {
        let set = &mut self.sets[set];
        for pile in [&mut set.deck, &mut set.returned] {
            pile.retain(|card| card.code != code);
        }
        set.codes.retain(|other| other != code);
        set.withdrawn.codes.insert(code.to_owned());
        set.withdrawn.count += 1;
    }

    fn is_free(&self, set: usize, code: &str) -> bool {
        let set = &self.sets[set];
        set.deck
            .iter()
            .chain(&set.returned)
            .any(|card| card.code == code)
    }

    /// The state in which a contact holds this code.
    fn held(&self, set: usize, code: &str) -> Option<State> {
        if self.is_free(set, code) || !self.sets[set].codes.iter().any(|other| other == code) {
            return None;
        }
        let is_of_code = |index: &&usize| {
            let assignment = &self.assignments[**index];
            assignment.set == set && assignment.card.code == code
        };
        let all: Vec<usize> = (0..self.assignments.len()).collect();
        all.iter()
            .rfind(is_of_code)
            .map(|index| self.assignments[*index].state)
    }

    /// Withdraws codes of a `multiple` set and returns the result of each.
    fn withdraw(&mut self, set: usize, codes: &[String]) -> Vec<Value> {
        let mut now = BTreeSet::new();
        let mut results = Vec::new();
        for code in codes {
            let held = self.held(set, code);
            let outcome = if held.is_some() {
                "handedOut"
            } else if self.is_free(set, code) {
                let origin = self.sets[set].withdrawn.origins[code];
                self.imports[origin].named += 1;
                self.remove(set, code);
                now.insert(code);
                "withdrawn"
            } else if now.contains(code) {
                "withdrawn"
            } else if self.sets[set].withdrawn.codes.contains(code) {
                "alreadyWithdrawn"
            } else {
                "notFound"
            };
            let state = held.map(State::as_str);
            results.push(json!({"code": code, "outcome": outcome, "state": state}));
        }
        results
    }

    /// The numbers of an undo, which is applied unless it is a dry run.
    fn undo(&mut self, index: usize, dry: bool) -> [usize; 3] {
        let import = self.imports[index].clone();
        if let Some(numbers) = import.undone {
            return numbers;
        }
        let is_of_it = |code: &&String| {
            self.sets[import.set].withdrawn.origins[*code] == index
                && self.is_free(import.set, code)
        };
        let codes: Vec<String> = self.sets[import.set]
            .codes
            .iter()
            .filter(is_of_it)
            .cloned()
            .collect();
        let kept = import.success - codes.len() - import.named;
        let numbers = [codes.len(), import.named, kept];
        if !dry {
            for code in codes {
                self.remove(import.set, &code);
            }
            self.imports[index].undone = Some(numbers);
        }
        numbers
    }
}

impl Run<'_> {
    pub async fn withdraw(&mut self, set: usize, codes: &[u8]) -> Check {
        let answer = self.player.withdraw(set, codes).await;
        if self.model.sets[set].code.is_some() {
            return same("the refusal", refusal(&answer).as_str(), "422 single-set");
        }
        let codes: Vec<String> = codes.iter().copied().map(code).collect();
        let expected = self.model.withdraw(set, &codes);
        same(
            "the results of the codes",
            answer.expect(200).results(),
            &expected,
        )
    }

    pub async fn undo(&mut self, which: u8, dry: bool) -> Check {
        let count = self.model.imports.len();
        let Some(index) = (count - usize::from(which) % count.max(1)).checked_sub(1) else {
            return Ok(());
        };
        let answer = self
            .player
            .undo(&self.model.imports[index].id, dry)
            .await
            .expect(200);
        let numbers = ["withdrawn", "withdrawnBefore", "kept"].map(|name| &answer.body[name]);
        let expected = self.model.undo(index, dry).map(|number| json!(number));
        same(
            "withdrawn, withdrawnBefore and kept",
            numbers,
            expected.each_ref(),
        )
    }

    /// Lists each code of a set once, with its status.
    pub async fn list_coupons(&mut self, set: usize) -> Check {
        // Until it is swept, an expired reservation is listed as reserved.
        self.sweep().await;
        let uri = format!("{}/coupons?limit=1000", self.player.sets[set].path());
        let answer = self.player.shop.client.get(&uri).await;
        let model = &self.model.sets[set];
        if model.code.is_some() {
            return same("the refusal", refusal(&answer).as_str(), "422 single-set");
        }
        let mut expected = BTreeMap::new();
        for code in &model.withdrawn.codes {
            expected.insert(code.as_str(), "withdrawn");
        }
        for code in &model.codes {
            let card = model
                .deck
                .iter()
                .chain(&model.returned)
                .find(|card| card.code == *code);
            let status = match (card, self.model.held(set, code)) {
                (Some(card), _) if is_over(card.expires_at, self.model.now) => "expired",
                (Some(_), _) if is_over(model.expires_at, self.model.now) => "expired",
                (Some(_), _) => "available",
                (None, Some(state)) => state.as_str(),
                (None, None) => return Err(format!("{code} is nowhere")),
            };
            expected.insert(code, status);
        }
        let answer = answer.expect(200);
        let text =
            |coupon: &Value, name: &str| coupon[name].as_str().unwrap_or_default().to_owned();
        let mut seen: Vec<_> = answer
            .results()
            .iter()
            .map(|coupon| (text(coupon, "code"), text(coupon, "status")))
            .collect();
        seen.sort();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(code, status)| (code.to_owned(), status.to_owned()))
            .collect();
        same("the codes of the set", seen, expected)
    }
}
