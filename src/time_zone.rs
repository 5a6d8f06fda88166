//! Time zones, and the conversion of dates and times to instants.
//!
//! A date without a time means the end of that day: the first instant of the next one. On some days of clock changes that
//! is not midnight.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use delivery_reader::{first_instant, parse_timestamp};

/// Returns true if PostgreSQL can store the moment: its calendar is shorter than chrono's.
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

    pub(crate) fn tz(self) -> Tz {
        self.0
    }

    /// Parses an RFC 3339 time, a time without an offset in this zone, or a date, which means its end. The error is a
    /// sentence for the caller of the API.
    pub(crate) fn read_moment(self, text: &str) -> Result<DateTime<Utc>, String> {
        parse_timestamp(text, self.0).ok_or_else(|| {
            "This must be a date such as \"2026-12-31\" or a time such as \"2026-12-31T18:00:00Z\".".to_owned()
        })
    }

    /// Returns the local time of this zone.
    pub(crate) fn clock(self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.0).naive_local()
    }

    /// Returns the first instant of a day; `None` if it is outside of the calendar.
    pub(crate) fn start_of(self, day: NaiveDate) -> Option<DateTime<Utc>> {
        first_instant(day.and_time(NaiveTime::MIN), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_by_the_clocks_of_the_zone_unless_it_has_an_offset() {
        let moment = |zone: &str, text| {
            let zone = Zone::parse(zone).expect("a zone");
            zone.read_moment(text).map(|moment| moment.to_rfc3339())
        };
        for (zone, text, instant) in [
            ("UTC", "2026-12-31", "2027-01-01T00:00:00+00:00"),
            ("Europe/Madrid", "2026-12-31", "2026-12-31T23:00:00+00:00"),
            (
                "Europe/Madrid",
                "2026-07-01 12:00",
                "2026-07-01T10:00:00+00:00",
            ),
            (
                "Europe/Madrid",
                "2026-07-01T12:00:00Z",
                "2026-07-01T12:00:00+00:00",
            ),
        ] {
            assert_eq!(moment(zone, text).as_deref(), Ok(instant), "{zone} {text}");
        }
        let refused = moment("UTC", "tomorrow").expect_err("no date");
        assert!(refused.starts_with("This must be"), "{refused}");
    }

    #[test]
    fn an_unknown_zone_is_none() {
        assert_eq!(Zone::parse("Mars/Olympus"), None);
    }
}
