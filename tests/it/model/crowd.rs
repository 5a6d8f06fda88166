//! Several clients that act at random at two replicas at once. Their results are random too; the invariants are not.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{SubsecRound, Utc};
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::client::{Player, code, key, verb};
use super::history::{Kind, Step, Subject, client_step, sets};
use crate::support::TestApp;
use crate::support::client::Answer;
use crate::support::ledger::check_ledger;

/// Number of crowds, one after the other, and their size.
const CROWDS: usize = 6;
const CLIENTS: usize = 8;
const STEPS: usize = 40;

/// Observations of all clients of a crowd: assignments, imports, and the result of each key of each set.
#[derive(Default)]
struct CrowdLog {
    assignments: Vec<(String, usize, String)>,
    imports: Vec<String>,
    keys: HashMap<(usize, String), Value>,
}

struct CrowdClient<'a> {
    player: Player,
    log: &'a Mutex<CrowdLog>,
}

impl CrowdClient<'_> {
    /// An assignment of any client, counted back from the latest.
    fn pick(&self, which: u8) -> Option<(String, usize, String)> {
        let log = self.log.lock().unwrap();
        let back = usize::from(which) % log.assignments.len().max(1);
        let index = (log.assignments.len() - back).checked_sub(1)?;
        Some(log.assignments[index].clone())
    }

    /// Stores an assignment, and fails if a key got two different results.
    fn store(&self, set: usize, assigned: &Value) {
        let Some(key) = assigned["idempotencyKey"].as_str() else {
            return;
        };
        if assigned["couponCode"].is_null() || assigned["test"] == true {
            return;
        }
        let answer = json!([
            assigned["id"],
            assigned["couponCode"],
            assigned["contactId"]
        ]);
        let mut log = self.log.lock().unwrap();
        let known = log.keys.entry((set, key.to_owned()));
        let known = known.or_insert_with(|| answer.clone());
        assert_eq!(*known, answer, "a key has two answers");
        if assigned["outcome"] == "assigned" {
            let text = |name: &str| assigned[name].as_str().unwrap().to_owned();
            let served = text("couponSetId");
            let set = self.player.sets.iter().position(|set| set.id == served);
            let assignment = (text("id"), set.unwrap(), text("couponCode"));
            log.assignments.push(assignment);
        }
    }

    async fn step(&self, step: &Step) {
        let player = &self.player;
        let answer = match step {
            Step::Assign {
                set,
                request,
                child,
            } => {
                let set = player.set(*set);
                let key = request.key.map(key);
                let answer = player.assign(set, *request, *child, key.as_deref()).await;
                self.store(set, &answer.body);
                answer
            }
            Step::Batch {
                set,
                requests,
                child,
                key,
                all,
            } => {
                let set = player.set(*set);
                let answer = player.batch(set, requests, *child, *key, *all).await;
                for result in answer.body["results"].as_array().into_iter().flatten() {
                    assert!(result["status"].as_u64() < Some(500), "{result}");
                    self.store(set, &result["assignment"]);
                }
                answer
            }
            Step::Import(set, rows) => {
                let set = player.set(*set);
                if player.is_multiple(set).await {
                    let import = player.import(set, rows).await;
                    let id = import["id"].as_str().unwrap().to_owned();
                    self.log.lock().unwrap().imports.push(id);
                }
                return;
            }
            Step::Withdraw(set, codes) => player.withdraw(player.set(*set), codes).await,
            Step::Undo(which, dry) => {
                let import = self
                    .log
                    .lock()
                    .unwrap()
                    .imports
                    .iter()
                    .nth_back((*which).into())
                    .cloned();
                match import {
                    Some(import) => player.undo(&import, *dry).await,
                    None => return,
                }
            }
            Step::Coupons(set) => {
                let uri = format!("{}/coupons?limit=5", player.sets[player.set(*set)].path());
                player.shop.client.get(&uri).await
            }
            Step::Record(event, which) => match self.pick(*which) {
                Some((id, ..)) => player.record(&id, *event).await,
                None => return,
            },
            Step::RecordMany(events) => {
                let body = |(event, subject): &(_, _)| {
                    let mut body = match *subject {
                        Subject::Id(which) => json!({"assignmentId": self.pick(which)?.0}),
                        Subject::Code(which) => {
                            let (_, set, code) = self.pick(which)?;
                            json!({"couponSetId": player.sets[set].id, "code": code})
                        }
                        Subject::AnyCode(set, number) => {
                            json!({"couponSetId": player.sets[player.set(set)].id, "code": code(number)})
                        }
                    };
                    body["event"] = json!(verb(*event));
                    Some(body)
                };
                let bodies: Vec<Value> = events.iter().filter_map(body).collect();
                if bodies.is_empty() {
                    return;
                }
                player.record_many(bodies).await
            }
            Step::Patch(set, change) => player.patch(player.set(*set), *change).await,
            Step::Find(which) => match self.pick(*which) {
                Some((id, ..)) => {
                    player.find(&id).await;
                    return;
                }
                None => return,
            },
            _ => player.shop.client.get("/v1/coupon-sets").await,
        };
        expect_no_failure(&answer);
    }
}

fn expect_no_failure(answer: &Answer) {
    assert!(!answer.status.is_server_error(), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_at_two_replicas_leaves_the_ledger_in_order() {
    let app = TestApp::start().await;
    let replica = app.replica();
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..CROWDS {
        let crowd = (sets(), vec(vec(client_step(), STEPS), CLIENTS));
        let (sets, clients) = crowd.new_tree(&mut runner).unwrap().current();
        let base = Utc::now().trunc_subsecs(6);
        let player = Player::open(app.shop().await, base, &sets).await;
        for (index, new) in sets.iter().enumerate() {
            if let Kind::Multiple(rows) = &new.kind {
                player.import(index, rows).await;
            }
        }
        let log = Mutex::default();
        let playing = clients.iter().enumerate().map(|(index, steps)| {
            let app = if index % 2 == 0 { &app } else { &replica };
            let client = CrowdClient {
                player: player.at(app),
                log: &log,
            };
            async move {
                for step in steps {
                    client.step(step).await;
                }
            }
        });
        join_all(playing).await;
    }
    check_ledger(&app).await;
}
