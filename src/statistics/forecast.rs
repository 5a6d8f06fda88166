//! Forecast of the day on which a set runs out, from its recent consumption.
//!
//! Consumption is net: assigned codes less released ones. The history is the last 28 whole days in the set's time zone,
//! starting on the day after its first assignment. With at least two weeks of history each day of the week has its own
//! mean, so that quiet weekends stay quiet. With less, all days share one mean. The forecast subtracts the means day by
//! day until nothing is left.
//!
//! The range contains that day with a probability of four fifths, if future days vary around their means as past days
//! did. It includes the error of the means, so it widens with the distance of the day.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::{MAX_LAG, db};
use crate::ids::TenantId;
use crate::time_zone::Zone;

/// Days of history: four of each day of the week.
const HISTORY_DAYS: u16 = 28;
/// Minimum number of days of history for a forecast.
const MIN_HISTORY_DAYS: usize = 3;
/// Minimum number of days of history for one mean per day of the week.
const MIN_DAYS_FOR_WEEKDAY_MEANS: usize = 14;
/// Maximum distance of a forecast day: ten years.
const HORIZON_DAYS: u32 = 3653;
/// Standard deviations around the mean of a normal distribution that contain four fifths of it.
const DEVIATIONS: f64 = 1.281_6;

/// Forecast of the day on which a set runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Forecast {
    pub runs_out_on: NaiveDate,
    pub earliest: NaiveDate,
    /// Null if the set may last for more than ten years.
    pub latest: Option<NaiveDate>,
}

/// Computes a forecast. `taken` is the consumption of each of the last whole days up to yesterday. `now` is the local time
/// of the set. `None` if there is too little history, if nothing is left, or if the rest lasts for more than ten years.
#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate does not need the exact number of codes"
)]
fn forecast(available: i64, taken: &[i64], now: NaiveDateTime) -> Option<Forecast> {
    if available <= 0 || taken.len() < MIN_HISTORY_DAYS {
        return None;
    }
    let today = now.date();
    let weekday = |days_ago: usize| {
        let day = today.checked_sub_days(Days::new(days_ago as u64))?;
        Some(day.weekday().num_days_from_monday() as usize)
    };
    let means = means(taken, |place| weekday(taken.len() - place))?;
    if means.iter().all(|mean| *mean <= 0.0) {
        return None;
    }

    let groups = if taken.len() < MIN_DAYS_FOR_WEEKDAY_MEANS {
        1
    } else {
        7
    };
    let mut squares = 0.0;
    for (place, count) in taken.iter().enumerate() {
        squares += (*count as f64 - means[weekday(taken.len() - place)?]).powi(2);
    }
    let variance = squares / (taken.len() - groups) as f64;
    let history = taken.len() as f64;

    let left = available as f64;
    let mut expected = 0.0;
    let mut span = 0.0;
    let (mut middle, mut earliest, mut latest) = (None, None, None);
    for ahead in 0..HORIZON_DAYS {
        let day = today.checked_add_days(Days::new(u64::from(ahead)))?;
        let share = if ahead == 0 {
            1.0 - f64::from(now.num_seconds_from_midnight()) / 86_400.0
        } else {
            1.0
        };
        span += share;
        expected += share * means[day.weekday().num_days_from_monday() as usize].max(0.0);
        let spread = DEVIATIONS * (variance * (span + span * span / history)).sqrt();
        if expected + spread >= left {
            earliest = earliest.or(Some(day));
        }
        if expected >= left {
            middle = middle.or(Some(day));
        }
        if expected - spread >= left {
            latest = Some(day);
            break;
        }
    }
    Some(Forecast {
        runs_out_on: middle?,
        earliest: earliest?,
        latest,
    })
}

/// Computes the mean consumption of each day of the week, from Monday.
#[expect(clippy::cast_precision_loss, reason = "as for the forecast as a whole")]
fn means(taken: &[i64], weekday: impl Fn(usize) -> Option<usize>) -> Option<[f64; 7]> {
    if taken.len() < MIN_DAYS_FOR_WEEKDAY_MEANS {
        return Some([taken.iter().sum::<i64>() as f64 / taken.len() as f64; 7]);
    }
    let mut sums = [0.0; 7];
    let mut counts = [0.0; 7];
    for (place, count) in taken.iter().enumerate() {
        let weekday = weekday(place)?;
        sums[weekday] += *count as f64;
        counts[weekday] += 1.0;
    }
    Some(std::array::from_fn(|day| sums[day] / counts[day]))
}

/// Computes the forecasts of these sets. Sets whose roll-up lags far behind have none, so that a request does not wait for
/// their ledgers.
pub(crate) async fn forecasts(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
) -> sqlx::Result<HashMap<i32, Forecast>> {
    let set_nos = db::list_least_lagging_sets(connection, tenant, set_nos, MAX_LAG).await?;
    read_forecasts(connection, tenant, &set_nos, &set_nos).await
}

/// Computes the forecasts of these sets. `lagging` are sets of which the ledgers may not be rolled up to their ends.
pub(super) async fn read_forecasts(
    connection: &mut PgConnection,
    tenant: TenantId,
    set_nos: &[i32],
    lagging: &[i32],
) -> sqlx::Result<HashMap<i32, Forecast>> {
    let sets = sqlx::query!(
        r#"select s.set_no, s.timezone, c.available as "available!", first.assigned_at as "first!", now() as "now!"
             from coupon_sets s
             join coupon_set_counters c on c.tenant_id = s.tenant_id and c.set_no = s.set_no
            cross join lateral (
              select a.assigned_at
                from assignments a
               where a.tenant_id = s.tenant_id and a.set_no = s.set_no
               order by a.number
               limit 1
            ) first
            where s.tenant_id = $1 and s.set_no = any ($2) and c.available > 0"#,
        tenant as TenantId,
        set_nos
    )
    .fetch_all(&mut *connection)
    .await?;

    let mut histories = Vec::new();
    let mut history_days = HistoryDays::default();
    // Most sets share a zone, and the calendar of zones is slow.
    let mut days_of_zones: HashMap<String, Vec<(NaiveDate, DateTime<Utc>)>> = HashMap::new();
    for set in sets {
        // The name was validated when it was stored.
        let zone = Zone::parse(&set.timezone).unwrap_or(Zone::UTC);
        let days = days_of_zones
            .entry(set.timezone)
            .or_insert_with(|| last_days(zone, set.now));
        let days = whole_days(days, zone.clock(set.first).date());
        histories.push((set.set_no, set.available, zone.clock(set.now), days.len()));
        history_days.add(set.set_no, days);
    }
    let levels = Levels::read(connection, tenant, lagging, &history_days).await?;

    let mut forecasts = HashMap::new();
    let mut done = 0;
    for (set_no, available, now, days) in histories {
        let totals: Vec<i64> = (done..done + days)
            .map(|place| levels.before(set_no, place, history_days.times[place]))
            .collect();
        done += days;
        let taken: Vec<i64> = totals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if let Some(forecast) = forecast(available, &taken, now) {
            forecasts.insert(set_no, forecast);
        }
    }
    Ok(forecasts)
}

/// The days of history of sets.
#[derive(Default)]
struct HistoryDays {
    set_nos: Vec<i32>,
    /// Index in `times` of the first day of each set, from 1 as in SQL.
    firsts: Vec<i32>,
    /// Index of the last day of each set.
    lasts: Vec<i32>,
    times: Vec<DateTime<Utc>>,
}

impl HistoryDays {
    fn add(&mut self, set_no: i32, days: Vec<DateTime<Utc>>) {
        let index = |length: usize| i32::try_from(length).expect("a page of sets is small");
        self.set_nos.push(set_no);
        self.firsts.push(index(self.times.len() + 1));
        self.times.extend(days);
        self.lasts.push(index(self.times.len()));
    }
}

/// The codes that were taken from sets before times.
#[derive(Default)]
struct Levels {
    /// By the place of the time, as far as sets changed after it.
    past: HashMap<usize, i64>,
    /// The last rolled-up change of each set, and the codes taken since then.
    last: HashMap<i32, (DateTime<Utc>, i64)>,
    /// Changes of each set that are not rolled up.
    ledger_tails: HashMap<i32, Vec<(DateTime<Utc>, i64)>>,
}

impl Levels {
    /// Reads the levels of sets before their days. `lagging` are sets of which the ledgers may not be rolled up to their ends.
    async fn read(
        connection: &mut PgConnection,
        tenant: TenantId,
        lagging: &[i32],
        days: &HistoryDays,
    ) -> sqlx::Result<Self> {
        // A single statement sees each ledger entry exactly once, rolled up or not, while a roll-up runs. Past days are looked
        // up only up to the last change of a set, because most of many sets changed long ago.
        let rows = sqlx::query!(
            r#"with last as materialized (
                 select s.set_no, s.first, s.last, m.bucket, m.assigned + m.reserved + m.void as taken
                   from unnest($2::integer[], $3::integer[], $4::integer[]) as s (set_no, first, last)
                  cross join lateral (
                    select m.*
                      from statistics_checkpoints m
                     where m.tenant_id = $1 and m.set_no = s.set_no
                     order by m.bucket desc
                     limit 1
                  ) m
               )
               select i.place as "place?", false as "is_last!", l.set_no as "set_no!", l.bucket as "at!",
                      m.assigned + m.reserved + m.void as "taken!"
                 from last l
                cross join lateral generate_series(l.first, l.last) as i (place)
                cross join lateral (
                  select m.assigned, m.reserved, m.void
                    from statistics_checkpoints m
                   where m.tenant_id = $1 and m.set_no = l.set_no and m.bucket < ($5::timestamptz[])[i.place]
                   order by m.bucket desc
                   limit 1
                ) m
                where ($5::timestamptz[])[i.place] <= l.bucket
                union all
               select null, true, l.set_no, l.bucket, l.taken
                 from last l
                union all
               select null, false, t.set_no, statistics_bucket(f.at), sum(f.assigned + f.reserved + f.void)::bigint
                 from statistics_tails t
                cross join lateral ledger_flows(t.tenant_id, t.set_no, t.rolled_up, t.number) f
                where t.tenant_id = $1 and t.set_no = any ($6) and t.rolled_up < t.number
                group by t.set_no, statistics_bucket(f.at)"#,
            tenant as TenantId,
            &days.set_nos,
            &days.firsts,
            &days.lasts,
            &days.times,
            lagging
        )
        .fetch_all(connection)
        .await?;
        let mut levels = Levels::default();
        for row in rows {
            if let Some(place) = row.place {
                let place = usize::try_from(place - 1).expect("indexes in SQL are from 1");
                levels.past.insert(place, row.taken);
            } else if row.is_last {
                levels.last.insert(row.set_no, (row.at, row.taken));
            } else {
                let tail = levels.ledger_tails.entry(row.set_no).or_default();
                tail.push((row.at, row.taken));
            }
        }
        Ok(levels)
    }

    /// Returns the codes that were taken from a set before the time at `place`, which is `at`.
    fn before(&self, set_no: i32, place: usize, at: DateTime<Utc>) -> i64 {
        let rolled_up = match self.last.get(&set_no) {
            Some((bucket, taken)) if *bucket < at => *taken,
            _ => self.past.get(&place).copied().unwrap_or(0),
        };
        let tail = self.ledger_tails.get(&set_no).into_iter().flatten();
        let tail = tail.filter(|(bucket, _)| *bucket < at);
        rolled_up + tail.map(|(_, taken)| taken).sum::<i64>()
    }
}

/// Returns the days of history and today with their starts, in ascending order.
fn last_days(zone: Zone, now: DateTime<Utc>) -> Vec<(NaiveDate, DateTime<Utc>)> {
    let today = zone.clock(now).date();
    (0..=u64::from(HISTORY_DAYS))
        .rev()
        .filter_map(|ago| today.checked_sub_days(Days::new(ago)))
        .filter_map(|day| Some((day, zone.start_of(day)?)))
        .collect()
}

/// Returns the starts of the days after the day of the first assignment.
fn whole_days(days: &[(NaiveDate, DateTime<Utc>)], first: NaiveDate) -> Vec<DateTime<Utc>> {
    let days = days.iter().filter(|(day, _)| *day > first);
    days.map(|(_, start)| *start).collect()
}

#[cfg(test)]
mod tests {
    use chrono::NaiveTime;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    /// Computes a forecast at the start of Monday, 5 October 2026.
    fn on_monday(available: i64, taken: &[i64]) -> Option<Forecast> {
        forecast(
            available,
            taken,
            date("2026-10-05").and_time(NaiveTime::MIN),
        )
    }

    #[test]
    fn a_steady_rate_tells_the_day() {
        let forecast = on_monday(50, &[10; 5]).expect("a forecast");
        assert_eq!(forecast.runs_out_on, date("2026-10-09"));
        // Equal days have no variance.
        assert_eq!(forecast.earliest, forecast.runs_out_on);
        assert_eq!(forecast.latest, Some(forecast.runs_out_on));
    }

    #[test]
    fn what_is_left_of_today_counts() {
        let at = |time: &str| {
            let now = date("2026-10-05").and_time(time.parse().expect("a time"));
            forecast(10, &[10; 5], now).expect("a forecast").runs_out_on
        };
        assert_eq!(at("00:00:00"), date("2026-10-05"));
        assert_eq!(at("00:00:01"), date("2026-10-06"));
        assert_eq!(at("23:00:00"), date("2026-10-06"));
    }

    #[test]
    fn weekends_stay_quiet_once_two_weeks_are_known() {
        // Starts on a Monday.
        let week = [20, 20, 20, 20, 20, 0, 0];
        // At 20 per working day, 120 last until the Monday after the weekend.
        let rhythm = on_monday(120, &week.repeat(2)).expect("a forecast");
        assert_eq!(rhythm.runs_out_on, date("2026-10-12"));
        assert_eq!(rhythm.latest, Some(date("2026-10-12")));
        // One week has a single mean: 100 in 7 days.
        let mean = on_monday(120, &week).expect("a forecast");
        assert_eq!(mean.runs_out_on, date("2026-10-13"));
    }

    #[test]
    fn the_range_widens_with_the_spread_of_the_days() {
        let calm = on_monday(300, &[9, 11, 10, 9, 11, 10, 10]).expect("a forecast");
        let wild = on_monday(300, &[0, 20, 2, 28, 0, 20, 0]).expect("a forecast");
        assert_eq!(calm.runs_out_on, wild.runs_out_on);
        assert!(wild.earliest < calm.earliest && calm.earliest <= calm.runs_out_on);
        assert!(calm.latest < wild.latest || wild.latest.is_none());
        assert!(calm.latest >= Some(calm.runs_out_on));
    }

    #[test]
    fn what_came_back_is_not_taken() {
        let forecast = on_monday(10, &[10, -5, 10, -5, 10, -5]).expect("a forecast");
        assert_eq!(forecast.runs_out_on, date("2026-10-08"));
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(on_monday(10, &[5, 5]), None);
        assert_eq!(on_monday(10, &[0; 28]), None);
        assert_eq!(on_monday(10, &[5, -9, 1, 1]), None);
        assert_eq!(on_monday(0, &[5; 28]), None);
        // Enough for thirty years at one per day.
        assert_eq!(on_monday(11_000, &[1; 28]), None);
    }

    #[test]
    fn an_end_that_may_lie_beyond_ten_years_has_no_latest_day() {
        let forecast = on_monday(2_000, &[0, 0, 5, 0, 0]).expect("a forecast");
        assert_eq!(forecast.latest, None);
    }

    #[test]
    fn history_is_of_whole_days_by_the_clocks_of_the_zone() {
        let zone = Zone::parse("Europe/Madrid").expect("a zone");
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let last_days = last_days(zone, at("2026-10-26T23:30:00Z"));
        let days = |first| whole_days(&last_days, zone.clock(at(first)).date());
        // Summer time ended on 25 October. The first assignment was on the 23rd in local time.
        assert_eq!(
            days("2026-10-22T22:30:00Z"),
            [
                "2026-10-23T22:00:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
                "2026-10-26T23:00:00Z"
            ]
            .map(at)
        );
        assert_eq!(days("2020-01-01T00:00:00Z").len(), 29);
    }
}
