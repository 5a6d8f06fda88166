//! Time zones, and the moments that dates name in them.
//!
//! A date without a time means the end of that day: the first instant of the next one, which on some days of clock
//! changes is not midnight.

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, SubsecRound, TimeDelta,
    TimeZone, Utc,
};
use chrono_tz::Tz;

/// Whether PostgreSQL can store a moment: its calendar is shorter than ours.
pub(crate) fn is_storable(moment: DateTime<Utc>) -> bool {
    (1..=9999).contains(&moment.year())
}

/// A time zone of the IANA database, as in "Europe/Madrid".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone(Tz);

impl Zone {
    pub(crate) const UTC: Self = Self(Tz::UTC);

    pub(crate) fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.name()
    }

    /// Reads an RFC 3339 time; or a time without an offset, which is by the clocks of this zone; or a date, which means
    /// its end. The error says what it should be.
    pub(crate) fn read_moment(self, text: &str) -> Result<DateTime<Utc>, String> {
        // The parser would also take "31-12-26", for a day in the year 31.
        let begins_with_date = text
            .bytes()
            .take(10)
            .enumerate()
            .all(|(place, byte)| match place {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let moment = if !begins_with_date {
            None
        } else if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            Some(moment.to_utc())
        } else if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            date.checked_add_days(Days::new(1))
                .and_then(|next| self.first_instant(next.and_time(NaiveTime::MIN)))
        } else {
            [
                "%Y-%m-%dT%H:%M:%S%.f",
                "%Y-%m-%d %H:%M:%S%.f",
                "%Y-%m-%dT%H:%M",
                "%Y-%m-%d %H:%M",
            ]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .and_then(|local| self.first_instant(local))
        };
        moment
            .filter(|moment| is_storable(*moment))
            .ok_or_else(|| {
                "This must be a date as in \"2026-12-31\", or a time as in \"2026-12-31T18:00:00Z\".".to_owned()
            })
    }

    /// What the clocks of this zone show.
    pub(crate) fn clock(self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.0).naive_local()
    }

    /// The first instant of a day.
    pub(crate) fn start_of(self, day: NaiveDate) -> Option<DateTime<Utc>> {
        self.first_instant(day.and_time(NaiveTime::MIN))
    }

    /// The first instant at which clocks of this zone show this time; where they skip it, the instant of the skip.
    fn first_instant(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        if let Some(instant) = self.0.from_local_datetime(&local).earliest() {
            return Some(instant.to_utc());
        }
        // No clock has ever skipped more than a day. The last minute that was shown is followed by the jump.
        let last = (1..=24 * 60).find_map(|minutes| {
            let before = local.checked_sub_signed(TimeDelta::minutes(minutes))?;
            self.0.from_local_datetime(&before).latest()
        })?;
        let offset = last.offset().fix();
        (1..=60)
            .filter_map(|seconds| last.checked_add_signed(TimeDelta::seconds(seconds)))
            .find(|instant| instant.offset().fix() != offset)
            .map(|instant| instant.to_utc().trunc_subsecs(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(zone: &str, text: &str) -> String {
        let zone = Zone::parse(zone).expect("a zone");
        zone.read_moment(text)
            .map_or_else(|error| error, |moment| moment.to_rfc3339())
    }

    #[test]
    fn a_date_means_the_end_of_that_day() {
        assert_eq!(moment("UTC", "2026-12-31"), "2027-01-01T00:00:00+00:00");
        assert_eq!(
            moment("Europe/Madrid", "2026-12-31"),
            "2026-12-31T23:00:00+00:00"
        );
        assert_eq!(
            moment("Pacific/Kiritimati", "2026-12-31"),
            "2026-12-31T10:00:00+00:00"
        );
    }

    #[test]
    fn days_of_clock_changes_have_their_own_length() {
        // 23 hours and 25 hours long.
        assert_eq!(
            moment("Europe/Madrid", "2026-03-28"),
            "2026-03-28T23:00:00+00:00"
        );
        assert_eq!(
            moment("Europe/Madrid", "2026-03-29"),
            "2026-03-29T22:00:00+00:00"
        );
        assert_eq!(
            moment("Europe/Madrid", "2026-10-24"),
            "2026-10-24T22:00:00+00:00"
        );
        assert_eq!(
            moment("Europe/Madrid", "2026-10-25"),
            "2026-10-25T23:00:00+00:00"
        );
    }

    #[test]
    fn a_midnight_that_is_skipped_or_comes_twice_still_ends_the_day() {
        // In Cairo the clocks went from 00:00 to 01:00 as the 26th of April 2024 began.
        assert_eq!(
            moment("Africa/Cairo", "2024-04-25"),
            "2024-04-25T22:00:00+00:00"
        );
        // In Havana they go from 01:00 back to 00:00 on the 1st of November 2026: its first midnight counts.
        assert_eq!(
            moment("America/Havana", "2026-10-31"),
            "2026-11-01T04:00:00+00:00"
        );
        // Samoa skipped the whole of the 30th of December 2011.
        assert_eq!(
            moment("Pacific/Apia", "2011-12-29"),
            "2011-12-30T10:00:00+00:00"
        );
    }

    #[test]
    fn a_time_without_an_offset_is_by_the_clocks_of_the_zone() {
        assert_eq!(
            moment("Europe/Madrid", "2026-07-01T12:00:00"),
            "2026-07-01T10:00:00+00:00"
        );
        assert_eq!(
            moment("Europe/Madrid", "2026-07-01 12:00"),
            "2026-07-01T10:00:00+00:00"
        );
        assert_eq!(
            moment("Europe/Madrid", "2026-07-01T12:00:00Z"),
            "2026-07-01T12:00:00+00:00"
        );
        // 02:30 does not exist on this day: the clocks go from 02:00 to 03:00, at 01:00 UTC.
        assert_eq!(
            moment("Europe/Madrid", "2026-03-29T02:30:00"),
            "2026-03-29T01:00:00+00:00"
        );
    }

    #[test]
    fn what_names_no_moment_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-02-30",
            "31/12/2026",
            "31-12-26",
            "2026-1-5",
            " 2026-12-31",
            "+2026-12-31",
            "2026-12-31T25:00:00Z",
            "9999-12-31",
            "0000-01-01",
        ] {
            assert!(moment("UTC", text).starts_with("This must be"), "{text}");
        }
        assert_eq!(Zone::parse("Mars/Olympus"), None);
    }
}
