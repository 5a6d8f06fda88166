//! Dates and times in a time zone, as they stand in a delivery.
//!
//! A date without a time means the end of that day: the first instant of the next one, which is not midnight on some days
//! of clock changes.

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, SubsecRound, TimeDelta,
    TimeZone, Utc,
};
use chrono_tz::Tz;

/// Parses an RFC 3339 time, a time without an offset in `zone`, or a date, which means its end in `zone`.
///
/// Returns `None` for any other text, and for instants outside of the years 1 to 9999.
#[must_use]
pub fn parse_timestamp(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    // The parser would accept "31-12-26" as a day in the year 31.
    let begins_with_date = text
        .bytes()
        .take(10)
        .enumerate()
        .all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let instant = if !begins_with_date {
        None
    } else if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        Some(instant.to_utc())
    } else if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        date.checked_add_days(Days::new(1))
            .and_then(|next| first_instant(next.and_time(NaiveTime::MIN), zone))
    } else {
        [
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%d %H:%M:%S%.f",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M",
        ]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .and_then(|local| first_instant(local, zone))
    };
    // Databases have a shorter calendar than chrono.
    instant.filter(|instant| (1..=9999).contains(&instant.year()))
}

/// The first instant at which the clocks of the zone show this time; if they skip it, the instant of the skip.
#[must_use]
pub fn first_instant(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    if let Some(instant) = zone.from_local_datetime(&local).earliest() {
        return Some(instant.to_utc());
    }
    // No clock has ever skipped more than a day. The skip follows the last minute that was shown.
    let last = (1..=24 * 60).find_map(|minutes| {
        let before = local.checked_sub_signed(TimeDelta::minutes(minutes))?;
        zone.from_local_datetime(&before).latest()
    })?;
    let offset = last.offset().fix();
    (1..=60)
        .filter_map(|seconds| last.checked_add_signed(TimeDelta::seconds(seconds)))
        .find(|instant| instant.offset().fix() != offset)
        .map(|instant| instant.to_utc().trunc_subsecs(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(zone: &str, text: &str) -> String {
        parse_timestamp(text, zone.parse().expect("a zone"))
            .map_or_else(String::new, |instant| instant.to_rfc3339())
    }

    #[test]
    fn a_date_means_the_end_of_that_day() {
        assert_eq!(parsed("UTC", "2026-12-31"), "2027-01-01T00:00:00+00:00");
        assert_eq!(
            parsed("Europe/Madrid", "2026-12-31"),
            "2026-12-31T23:00:00+00:00"
        );
        assert_eq!(
            parsed("Pacific/Kiritimati", "2026-12-31"),
            "2026-12-31T10:00:00+00:00"
        );
    }

    #[test]
    fn days_of_clock_changes_have_their_own_length() {
        // 23 hours and 25 hours long.
        assert_eq!(
            parsed("Europe/Madrid", "2026-03-28"),
            "2026-03-28T23:00:00+00:00"
        );
        assert_eq!(
            parsed("Europe/Madrid", "2026-03-29"),
            "2026-03-29T22:00:00+00:00"
        );
        assert_eq!(
            parsed("Europe/Madrid", "2026-10-24"),
            "2026-10-24T22:00:00+00:00"
        );
        assert_eq!(
            parsed("Europe/Madrid", "2026-10-25"),
            "2026-10-25T23:00:00+00:00"
        );
    }

    #[test]
    fn a_midnight_that_is_skipped_or_comes_twice_still_ends_the_day() {
        // In Cairo the clocks went from 00:00 to 01:00 as the 26th of April 2024 began.
        assert_eq!(
            parsed("Africa/Cairo", "2024-04-25"),
            "2024-04-25T22:00:00+00:00"
        );
        // In Havana they go from 01:00 back to 00:00 on the 1st of November 2026: its first midnight counts.
        assert_eq!(
            parsed("America/Havana", "2026-10-31"),
            "2026-11-01T04:00:00+00:00"
        );
        // Samoa skipped the whole of the 30th of December 2011.
        assert_eq!(
            parsed("Pacific/Apia", "2011-12-29"),
            "2011-12-30T10:00:00+00:00"
        );
    }

    #[test]
    fn a_time_without_an_offset_is_by_the_clocks_of_the_zone() {
        assert_eq!(
            parsed("Europe/Madrid", "2026-07-01T12:00:00"),
            "2026-07-01T10:00:00+00:00"
        );
        assert_eq!(
            parsed("Europe/Madrid", "2026-07-01 12:00"),
            "2026-07-01T10:00:00+00:00"
        );
        assert_eq!(
            parsed("Europe/Madrid", "2026-07-01T12:00:00Z"),
            "2026-07-01T12:00:00+00:00"
        );
        // 02:30 does not exist on this day: the clocks go from 02:00 to 03:00, at 01:00 UTC.
        assert_eq!(
            parsed("Europe/Madrid", "2026-03-29T02:30:00"),
            "2026-03-29T01:00:00+00:00"
        );
    }

    #[test]
    fn a_text_that_is_no_date_or_time_is_rejected() {
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
            assert_eq!(parsed("UTC", text), "", "{text}");
        }
    }
}
