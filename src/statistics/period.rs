//! The period of a request, and the boundaries of its hours, days or weeks.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};

use crate::http::csv_export::Format;
use crate::http::error::{Error, Fault};
use crate::time_zone::Zone;

/// Maximum number of points of a series.
const MAX_POINTS: usize = 10_000;
/// Days of a series without `from`.
const DEFAULT_DAYS: u64 = 30;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeriodQuery {
    pub from: Option<String>,
    pub to: Option<String>,
    pub interval: Option<Interval>,
    pub timezone: Option<String>,
    pub format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Interval {
    Hour,
    Day,
    /// Weeks begin on Monday.
    Week,
}

/// An end of a period. `None` if it is open.
type PeriodEnd = Option<DateTime<Utc>>;

/// A period of whole hours, days or weeks in a time zone.
#[derive(Debug)]
pub(super) struct Period {
    pub zone: Zone,
    pub interval: Interval,
    /// Start of each interval, and the end of the last one: at least two, ascending. Only the last may be in the future.
    pub boundaries: Vec<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

impl PeriodQuery {
    /// Returns the requested time zone, or the default.
    pub(super) fn zone(&self, default: Zone) -> Result<Zone, Error> {
        self.timezone.as_deref().map_or(Ok(default), |name| {
            Zone::parse(name).ok_or_else(|| {
                Error::invalid(
                    "timezone",
                    "This must be the name of a time zone, such as \"Europe/Madrid\".",
                )
            })
        })
    }

    /// Returns the requested ends. A date means its start as `from` and its end as `to`.
    pub(super) fn ends(&self, zone: Zone) -> Result<(PeriodEnd, PeriodEnd), Error> {
        let mut faults = Vec::new();
        let mut read = |name: &str, text: Option<&str>| {
            text.and_then(|text| {
                zone.read_moment(text)
                    .map_err(|detail| faults.push(Fault::new(name, detail)))
                    .ok()
            })
        };
        let from = read("from", self.from.as_deref());
        let to = read("to", self.to.as_deref());
        let from = from.and_then(|end| {
            let date = NaiveDate::parse_from_str(self.from.as_deref()?, "%Y-%m-%d").ok();
            date.map_or(Some(end), |day| zone.start_of(day))
        });
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            faults.push(Fault::new("to", "This must be after `from`."));
        }
        if faults.is_empty() {
            Ok((from, to))
        } else {
            Err(Error::Invalid(faults))
        }
    }

    /// Returns the period of the whole hours, days or weeks that the request touches. Without ends it is the last 30 days.
    /// It ends at the latest with the interval that contains `now`.
    pub(super) fn period(&self, default: Zone, now: DateTime<Utc>) -> Result<Period, Error> {
        let zone = self.zone(default)?;
        let interval = self.interval.unwrap_or(Interval::Day);
        let (from, to) = self.ends(zone)?;
        let to = to.map_or(now, |to| to.min(now));
        let from = from
            .or_else(|| {
                let day = zone.clock(to - TimeDelta::microseconds(1)).date();
                zone.start_of(day.checked_sub_days(Days::new(DEFAULT_DAYS - 1))?)
            })
            .ok_or_else(|| Error::invalid("to", "This date is too early."))?;
        if from >= now {
            return Err(Error::invalid("from", "This is in the future."));
        }

        let out_of_range = || Error::invalid("from", "This date is too early.");
        let mut boundaries = vec![interval.begin(zone, from).ok_or_else(out_of_range)?];
        loop {
            let last = boundaries[boundaries.len() - 1];
            // The current interval may begin at `now` itself, so there is at least one interval.
            if last >= to && boundaries.len() > 1 {
                break;
            }
            if boundaries.len() > MAX_POINTS {
                let detail = format!(
                    "A series can have at most {MAX_POINTS} points. Choose a shorter period or a longer `interval`."
                );
                return Err(Error::invalid("from", detail));
            }
            boundaries.push(interval.next(zone, last).ok_or_else(out_of_range)?);
        }
        Ok(Period {
            zone,
            interval,
            boundaries,
            now,
        })
    }
}

impl Interval {
    /// Returns the start of the interval that contains a time.
    fn begin(self, zone: Zone, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let day = zone.clock(at).date();
        match self {
            // Time zones change by whole quarters of an hour, so each hour begins at one.
            Self::Hour => {
                let quarter = TimeDelta::seconds(at.timestamp().rem_euclid(900));
                let at = at.with_nanosecond(0)?.checked_sub_signed(quarter)?;
                quarters(at, -1).find(|at| zone.clock(*at).minute() == 0)
            }
            Self::Day => zone.start_of(day),
            Self::Week => {
                let days = Days::new(u64::from(day.weekday().num_days_from_monday()));
                zone.start_of(day.checked_sub_days(days)?)
            }
        }
    }

    /// Returns the start of the interval after the one that starts at `begin`.
    fn next(self, zone: Zone, begin: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let days = match self {
            Self::Hour => {
                return quarters(begin, 1)
                    .skip(1)
                    .find(|at| zone.clock(*at).minute() == 0);
            }
            Self::Day => 1,
            Self::Week => 7,
        };
        // A day that a time zone skipped has no start.
        let day = zone.clock(begin).date();
        (1..=2)
            .filter_map(|times| zone.start_of(day.checked_add_days(Days::new(days * times))?))
            .find(|next| *next > begin)
    }
}

/// Returns a time and the quarters of an hour after it, or before it if `direction` is negative, for four hours.
fn quarters(at: DateTime<Utc>, direction: i64) -> impl Iterator<Item = DateTime<Utc>> {
    (0..=16)
        .filter_map(move |count| at.checked_add_signed(TimeDelta::minutes(15 * count * direction)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(from: &str, to: &str, interval: &str, zone: &str) -> Result<Vec<String>, Error> {
        let query = PeriodQuery {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            interval: serde_json::from_value(interval.into()).expect("an interval"),
            timezone: Some(zone.to_owned()),
            ..PeriodQuery::default()
        };
        let now = "2027-01-01T00:00:00Z".parse().expect("a time");
        let period = query.period(Zone::UTC, now)?;
        Ok(period
            .boundaries
            .iter()
            .map(|at| at.format("%m-%dT%H:%M").to_string())
            .collect())
    }

    #[test]
    fn days_are_those_of_the_zone_and_of_their_own_length() {
        let days = |from: &str, to: &str| period(from, to, "day", "Europe/Madrid").expect("days");
        assert_eq!(
            days("2026-03-28", "2026-03-30"),
            ["03-27T23:00", "03-28T23:00", "03-29T22:00", "03-30T22:00"]
        );
        assert_eq!(
            days("2026-10-24", "2026-10-26"),
            ["10-23T22:00", "10-24T22:00", "10-25T23:00", "10-26T23:00"]
        );
        // A day that is touched counts as a whole.
        assert_eq!(
            days("2026-10-24T12:00:00", "2026-10-25T00:00:01"),
            ["10-23T22:00", "10-24T22:00", "10-25T23:00"]
        );
        assert_eq!(
            days("2026-10-24T12:00:00", "2026-10-25T00:00:00"),
            ["10-23T22:00", "10-24T22:00"]
        );
    }

    #[test]
    fn weeks_begin_on_mondays() {
        assert_eq!(
            period("2026-10-21", "2026-10-27", "week", "Europe/Madrid").expect("weeks"),
            ["10-18T22:00", "10-25T23:00", "11-01T23:00"]
        );
    }

    #[test]
    fn an_hour_that_comes_twice_is_two_and_one_that_is_skipped_is_none() {
        let hours =
            |from: &str, to: &str, zone: &str| period(from, to, "hour", zone).expect("hours");
        assert_eq!(
            hours("2026-10-25", "2026-10-25", "Europe/Madrid").len(),
            25 + 1
        );
        assert_eq!(
            hours("2026-03-29", "2026-03-29", "Europe/Madrid").len(),
            23 + 1
        );
        assert_eq!(
            hours(
                "2026-06-01T10:20:00Z",
                "2026-06-01T12:20:00Z",
                "Asia/Kathmandu"
            ),
            ["06-01T10:15", "06-01T11:15", "06-01T12:15", "06-01T13:15"]
        );
        // A change of half an hour makes one hour of 90 minutes.
        assert_eq!(
            hours(
                "2026-04-04T14:00:00Z",
                "2026-04-04T17:00:00Z",
                "Australia/Lord_Howe"
            ),
            ["04-04T14:00", "04-04T15:30", "04-04T16:30", "04-04T17:30"]
        );
    }

    #[test]
    fn what_makes_no_series_is_refused_by_name() {
        let refused = |from: &str, to: &str, interval: &str| match period(from, to, interval, "UTC")
        {
            Err(Error::Invalid(faults)) => faults[0].pointer.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("2026-05-02", "2026-05-01", "day"), "to");
        assert_eq!(refused("yesterday", "2026-05-01", "day"), "from");
        assert_eq!(refused("2026-05-01", "soon", "day"), "to");
        assert_eq!(refused("2027-05-01", "2027-05-02", "day"), "from");
        // 10,000 hours are 416 days and 16 hours.
        assert_eq!(
            refused("2025-01-01T00:00:00Z", "2026-02-21T16:00:01Z", "hour"),
            "from"
        );
        assert_eq!(
            period(
                "2025-01-01T00:00:00Z",
                "2026-02-21T16:00:00Z",
                "hour",
                "UTC"
            )
            .expect("10,000 hours")
            .len(),
            10_001
        );
    }

    #[test]
    fn without_ends_it_is_the_last_thirty_days_up_to_now() {
        let now = "2026-06-15T12:00:00Z".parse().expect("a time");
        let period = PeriodQuery::default()
            .period(Zone::UTC, now)
            .expect("a period");
        assert_eq!(period.boundaries.len(), 31);
        assert_eq!(
            period.boundaries[30],
            "2026-06-16T00:00:00Z"
                .parse::<DateTime<Utc>>()
                .expect("a time")
        );
    }
}
