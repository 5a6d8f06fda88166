//! Plays a history against the service and the model, and compares the two after each step.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::client::{Player, child_of_new, code, key};
use super::history::{CodeRequest, History, Kind, Policy, Row, SetChange, Step};
use super::reference::{Card, Model, Set, Time};
use super::withdrawing::Withdrawn;
use crate::support::TestApp;
use crate::support::client::Answer;

/// Counters of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub quantity: Option<usize>,
    pub available: Option<usize>,
    pub reserved: usize,
    pub assigned: usize,
    pub sent: usize,
    pub used: usize,
    pub void: usize,
    pub expired: usize,
}

/// Description of a mismatch.
pub type Check<T = ()> = Result<T, String>;

#[expect(
    clippy::needless_pass_by_value,
    reason = "most are made for the comparison"
)]
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Check {
    if seen == expected {
        Ok(())
    } else {
        Err(format!(
            "{what} is {seen:?}, but the model says {expected:?}"
        ))
    }
}

pub fn time(value: &Value) -> Option<Time> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).expect("a time");
    Some(time.with_timezone(&Utc))
}

fn zone(name: &str) -> Tz {
    name.parse().expect("a zone")
}

/// Status and code of a problem; otherwise the whole response.
pub fn refusal(answer: &Answer) -> String {
    let code = &answer.body["code"];
    format!(
        "{} {}",
        answer.status.as_u16(),
        code.as_str().unwrap_or(&answer.text)
    )
}

/// A history in progress, in the service and in the model.
pub struct Run<'a> {
    app: &'a TestApp,
    pub player: Player,
    pub model: Model,
}

/// Plays a history in a new shop.
pub async fn play(app: &TestApp, history: &History) -> Check {
    let base = Utc::now().trunc_subsecs(6);
    let player = Player::open(app.shop().await, base, &history.sets).await;
    let mut run = Run {
        app,
        player,
        model: Model::default(),
    };
    for (index, new) in history.sets.iter().enumerate() {
        let (code, quantity) = match new.kind {
            Kind::Multiple(_) => (None, None),
            Kind::Single(quantity) => (Some(format!("S{index}")), quantity.map(usize::from)),
        };
        run.model.sets.push(Set {
            code,
            quantity,
            child: child_of_new(index, new),
            on_repeat: "newCode",
            same_code_until: "always",
            per_contact: None,
            expires_at: None,
            timezone: Tz::UTC,
            valid_for_days: None,
            deck: Vec::new(),
            returned: Vec::new(),
            codes: Vec::new(),
            withdrawn: Withdrawn::default(),
        });
        for policy in &new.policies {
            run.adopt(index, *policy);
        }
        if let Kind::Multiple(rows) = &new.kind {
            run.import(index, rows).await?;
        }
    }
    for (index, step) in history.steps.iter().enumerate() {
        run.step(step)
            .await
            .map_err(|fault| format!("at step {index}: {fault}"))?;
    }
    run.replay_all()
        .await
        .map_err(|fault| format!("at the end: {fault}"))
}

impl Run<'_> {
    async fn step(&mut self, step: &Step) -> Check {
        self.model.set_time(Utc::now());
        match step {
            Step::Assign {
                set,
                request,
                child,
            } => {
                let set = self.player.set(*set);
                let key = request.key.map(key);
                self.assign(set, *request, *child, key.as_deref()).await?;
            }
            Step::Batch {
                set,
                requests,
                child,
                key,
                all,
            } => {
                let set = self.player.set(*set);
                self.batch(set, requests, *child, *key, *all).await?;
            }
            Step::Import(set, rows) => self.import(self.player.set(*set), rows).await?,
            Step::Record(event, which) => self.record(*event, *which).await?,
            Step::RecordMany(events) => self.record_many(events).await?,
            Step::Patch(set, change) => self.patch(self.player.set(*set), *change).await?,
            Step::Hours(hours) => self.pass(TimeDelta::hours((*hours).into())).await,
            Step::Merge(one, into) => self.merge(*one, *into).await?,
            Step::Sweep => self.sweep().await,
            Step::DryRun {
                set,
                request,
                child,
                outcome,
            } => {
                let set = self.player.set(*set);
                self.dry_run(set, *request, *child, *outcome).await?;
            }
            Step::Available { set, count, child } => {
                let set = self.player.set(*set);
                self.check_availability(set, *count, *child).await?;
            }
            Step::Withdraw(set, codes) => self.withdraw(self.player.set(*set), codes).await?,
            Step::Undo(which, dry) => self.undo(*which, *dry).await?,
            Step::Coupons(set) => self.list_coupons(self.player.set(*set)).await?,
            Step::Find(which) => {
                if let Some(index) = self.pick(*which) {
                    self.look_at(index, false).await?;
                }
            }
            Step::List {
                contact,
                set,
                code: number,
            } => self.list(*contact, *set, number.map(code)).await?,
        }
        match step {
            Step::Available { .. } | Step::Find(_) | Step::List { .. } => Ok(()),
            _ => self.check_sets().await,
        }
    }

    /// An assignment, counted back from the latest.
    pub fn pick(&self, which: u8) -> Option<usize> {
        let count = self.model.assignments.len();
        let back = usize::from(which) % count.max(1);
        (count - back).checked_sub(1)
    }

    fn adopt(&mut self, set: usize, policy: Policy) {
        let moment = |day| self.player.moment(day);
        let set = &mut self.model.sets[set];
        match policy {
            Policy::OnRepeat(what) => set.on_repeat = what,
            Policy::SameCodeUntil(until) => set.same_code_until = until,
            Policy::PerContact(most) => set.per_contact = most.map(usize::from),
            Policy::ExpiresAt(day) => set.expires_at = moment(day),
            Policy::Timezone(name) => set.timezone = zone(name),
            Policy::ValidForDays(days) => set.valid_for_days = days.map(u64::from),
        }
    }

    async fn import(&mut self, set: usize, rows: &[Row]) -> Check {
        if self.model.sets[set].code.is_some() {
            return Ok(());
        }
        // Until it is swept, an expired reservation holds its code.
        self.sweep().await;
        let import = self.player.import(set, rows).await;
        let card = |(number, day): &Row| Card {
            code: code(*number),
            expires_at: self.player.moment(*day),
        };
        let cards = rows.iter().map(card).collect();
        let success = self.model.import(set, cards);
        let id = import["id"].as_str().expect("an id").to_owned();
        self.model
            .imports
            .last_mut()
            .expect("it was just pushed")
            .id = id;
        let counts = [&import["success"], &import["duplicates"], &import["errors"]];
        let duplicates = json!(rows.len() - success);
        same(
            "success, duplicates and errors of the import",
            counts,
            [&json!(success), &duplicates, &duplicates],
        )
    }

    async fn patch(&mut self, set: usize, change: SetChange) -> Check {
        let answer = self.player.patch(set, change).await;
        let is_single = self.model.sets[set].code.is_some();
        let counters = self.model.counters(set);
        let taken = counters.reserved + counters.assigned + counters.void;
        let expected = match change {
            SetChange::Quantity(_) if !is_single => Some("422 validation-failed"),
            SetChange::Quantity(Some(quantity)) if usize::from(quantity) < taken => {
                same("what is assigned", &answer.body["assigned"], &json!(taken))?;
                Some("409 quantity-below-assigned")
            }
            SetChange::Child(Some(child))
                if self.model.closes_a_cycle(set, self.player.set(child)) =>
            {
                Some("422 child-set-cycle")
            }
            _ => None,
        };
        if let Some(expected) = expected {
            return same("the refusal", refusal(&answer).as_str(), expected);
        }
        answer.expect(200);
        match change {
            SetChange::Policy(policy) => self.adopt(set, policy),
            SetChange::Quantity(quantity) => {
                self.model.sets[set].quantity = quantity.map(usize::from);
            }
            SetChange::Child(child) => self.model.sets[set].child = self.player.child(child),
        }
        Ok(())
    }

    /// Lets time pass: moves every future time that the service has stored towards the present.
    async fn pass(&mut self, time: TimeDelta) {
        let tenant = format!(
            "(select t.tenant_id from tenants t where t.id = '{}')",
            self.player.shop.tenant_id
        );
        let columns = [
            ("coupon_sets", &["expires_at"][..]),
            ("lots", &["first_expires_at", "last_expires_at"]),
            ("cards", &["expires_at"]),
            ("assignments", &["expires_at"]),
            ("reservations", &["expires_at", "code_expires_at"]),
            ("ledger_entries", &["expires_at"]),
        ];
        let seconds = time.num_seconds();
        let moves: Vec<String> = columns
            .iter()
            .map(|(table, columns)| {
                let moves: Vec<String> = columns
                    .iter()
                    .map(|column| format!("{column} = {column} - make_interval(secs => {seconds})"))
                    .collect();
                format!(
                    "update {table} set {} where tenant_id = {tenant}",
                    moves.join(", ")
                )
            })
            .collect();
        // In one transaction: the sweeper sees all of it or nothing.
        self.app.database.execute(&moves.join("; ")).await;
        self.player.base -= time;
        self.model.pass(time);
        self.model.set_time(Utc::now());
    }

    pub async fn sweep(&mut self) {
        let sweep = format!(
            "select sweep_reservations(s.tenant_id, s.set_no)
               from coupon_sets s
               join tenants t on t.tenant_id = s.tenant_id
              where t.id = '{}'",
            self.player.shop.tenant_id
        );
        self.app.database.execute(&sweep).await;
        self.model.sweep();
    }

    async fn check_sets(&self) -> Check {
        if let Some(assignment) = self.model.twice_held() {
            return Err(format!("{} is held twice", assignment.card.code));
        }
        let uri = "/v1/coupon-sets?sort=createdAt";
        let sets = self.player.shop.client.get(uri).await.expect(200);
        for (index, seen) in sets.results().iter().enumerate() {
            let name = |what| format!("`{what}` of set {index}");
            let counters = self.model.counters(index);
            let numbers = [
                ("quantity", counters.quantity),
                ("available", counters.available),
                ("reserved", Some(counters.reserved)),
                ("assigned", Some(counters.assigned)),
                ("sent", Some(counters.sent)),
                ("used", Some(counters.used)),
                ("void", Some(counters.void)),
                ("expired", Some(counters.expired)),
                ("withdrawn", Some(self.model.sets[index].withdrawn.count)),
            ];
            for (counter, number) in numbers {
                same(&name(counter), &seen[counter], &json!(number))?;
            }
            let (least, most) = self.model.released(index);
            let released = seen["released"]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok());
            if !released.is_some_and(|released| (least..=most).contains(&released)) {
                return Err(format!(
                    "{} is {}, but the model says {least} to {most}",
                    name("released"),
                    seen["released"]
                ));
            }
            same(
                &name("state"),
                seen["state"].as_str(),
                Some(self.model.set_state(index)),
            )?;
            let expires_at = self.model.sets[index].expires_at;
            same(&name("expiresAt"), time(&seen["expiresAt"]), expires_at)?;
            let parts = ["available", "reserved", "assigned", "void", "expired"];
            let sum: Option<u64> = parts.iter().map(|part| seen[part].as_u64()).sum();
            if seen["quantity"].is_u64() {
                same(&name("quantity"), seen["quantity"].as_u64(), sum)?;
            }
        }
        Ok(())
    }

    /// Replays every key that has a result.
    async fn replay_all(&mut self) -> Check {
        self.sweep().await;
        self.check_sets().await?;
        let keys: Vec<_> = self.model.keys.clone().into_iter().collect();
        for ((set, key), index) in keys {
            self.model.set_time(Utc::now());
            let request = CodeRequest {
                contact: self.model.assignments[index].contact,
                key: None,
                reserve: None,
            };
            self.assign(set, request, None, Some(&key))
                .await
                .map_err(|fault| format!("key {key} of set {set} again: {fault}"))?;
        }
        self.check_sets().await
    }
}
