//! Progress of an import.

use chrono::TimeDelta;
use serde::Serialize;

use super::ImportStatus;

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportProgress {
    /// Rows that were applied or rejected.
    pub processed: i32,
    /// From 0 to 100; 100 only if the import is finished.
    pub percent: i64,
    /// Average since a worker first started the import, pauses for other tenants included; null before that.
    pub rows_per_second: Option<i64>,
    /// Estimate at that rate; null if there is no rate, or if the import was cancelled or failed.
    pub remaining_seconds: Option<i64>,
}

impl ImportProgress {
    /// `spent` is the time from the first start by a worker to the end of the import, or to now if it has not ended.
    pub(super) fn new(
        processed: i32,
        total: i32,
        status: ImportStatus,
        spent: Option<TimeDelta>,
    ) -> Self {
        let (rows, all) = (i64::from(processed), i64::from(total));
        let millis = spent.map(|spent| spent.num_milliseconds().max(1));
        Self {
            processed,
            percent: if status == ImportStatus::Finished {
                100
            } else {
                (rows * 100 / all.max(1)).min(99)
            },
            rows_per_second: millis.map(|millis| rows * 1000 / millis),
            remaining_seconds: match (status, millis) {
                (ImportStatus::Finished, _) => Some(0),
                (ImportStatus::Queued | ImportStatus::InProgress, Some(millis)) if rows > 0 => {
                    let scaled = rows * 1000;
                    Some(((all - rows) * millis + scaled - 1) / scaled)
                }
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(processed: i32, status: ImportStatus, millis: Option<i64>) -> [Option<i64>; 3] {
        let spent = millis.map(TimeDelta::milliseconds);
        let progress = ImportProgress::new(processed, 1000, status, spent);
        [
            Some(progress.percent),
            progress.rows_per_second,
            progress.remaining_seconds,
        ]
    }

    #[test]
    fn the_remaining_time_follows_from_the_average_rate_and_is_rounded_up() {
        assert_eq!(
            progress(250, ImportStatus::InProgress, Some(2_000)),
            [Some(25), Some(125), Some(6)]
        );
        assert_eq!(
            progress(300, ImportStatus::InProgress, Some(1_000)),
            [Some(30), Some(300), Some(3)]
        );
    }

    #[test]
    fn an_unknown_rate_gives_no_estimate() {
        assert_eq!(
            progress(10, ImportStatus::Queued, None),
            [Some(1), None, None]
        );
        assert_eq!(
            progress(0, ImportStatus::InProgress, Some(5_000)),
            [Some(0), Some(0), None]
        );
    }

    #[test]
    fn only_a_finished_import_reaches_100_percent() {
        assert_eq!(
            progress(1000, ImportStatus::InProgress, Some(1_000)),
            [Some(99), Some(1000), Some(0)]
        );
        assert_eq!(
            progress(1000, ImportStatus::Finished, Some(0)),
            [Some(100), Some(1_000_000), Some(0)]
        );
    }

    #[test]
    fn a_cancelled_import_has_no_remaining_time() {
        assert_eq!(
            progress(500, ImportStatus::Cancelled, Some(1_000)),
            [Some(50), Some(500), None]
        );
    }

    #[test]
    fn the_largest_import_overflows_nothing() {
        let year = TimeDelta::days(365);
        let progress = ImportProgress::new(1, 100_000_000, ImportStatus::InProgress, Some(year));
        assert_eq!(progress.remaining_seconds, Some(99_999_999 * 365 * 86_400));
    }
}
