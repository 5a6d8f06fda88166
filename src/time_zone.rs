//! Time zones, and the moments that dates name in them.
//!
//! A date without a time means the end of that day: the first instant of the next one, which on some days of clock
//! changes is not midnight.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use delivery_reader::{first_instant, parse_timestamp};
use serde_json::Value;

use crate::extract::FieldValue;

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

    /// Reads an RFC 3339 time; or a time without an offset, which is by the clocks of this zone; or a date, which means
    /// its end. The error says what it should be.
    pub(crate) fn read_moment(self, text: &str) -> Result<DateTime<Utc>, String> {
        parse_timestamp(text, self.0).ok_or_else(|| {
            "This must be a date as in \"2026-12-31\", or a time as in \"2026-12-31T18:00:00Z\".".to_owned()
        })
    }

    /// What the clocks of this zone show.
    pub(crate) fn clock(self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.0).naive_local()
    }

    /// The first instant of a day.
    pub(crate) fn start_of(self, day: NaiveDate) -> Option<DateTime<Utc>> {
        first_instant(day.and_time(NaiveTime::MIN), self.0)
    }
}

impl FieldValue for Zone {
    fn from_value(value: Value) -> Result<Self, String> {
        value
            .as_str()
            .and_then(Self::parse)
            .ok_or_else(|| "This must be a time zone's name as in \"Europe/Madrid\".".to_owned())
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
