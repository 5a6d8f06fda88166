//! How far an import is.

use chrono::TimeDelta;
use serde::Serialize;

use super::Status;

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// Rows that are judged.
    pub processed: i32,
    /// From 0 to 100; 100 only when it is finished.
    pub percent: i64,
    /// Since a worker began, the time included in which others were served; null before.
    pub rows_per_second: Option<i64>,
    /// At that rate; null where there is none, or nothing more to come.
    pub remaining_seconds: Option<i64>,
}

impl Progress {
    /// `spent` is the time since a worker began, up to the end if there was one.
    pub(super) fn new(
        processed: i32,
        total: i32,
        status: Status,
        spent: Option<TimeDelta>,
    ) -> Self {
        let (rows, all) = (i64::from(processed), i64::from(total));
        let millis = spent.map(|spent| spent.num_milliseconds().max(1));
        Self {
            processed,
            percent: if status == Status::Finished {
                100
            } else {
                (rows * 100 / all.max(1)).min(99)
            },
            rows_per_second: millis.map(|millis| rows * 1000 / millis),
            remaining_seconds: match (status, millis) {
                (Status::Finished, _) => Some(0),
                (Status::Queued | Status::InProgress, Some(millis)) if rows > 0 => {
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

    fn progress(processed: i32, status: Status, millis: Option<i64>) -> [Option<i64>; 3] {
        let spent = millis.map(TimeDelta::milliseconds);
        let progress = Progress::new(processed, 1000, status, spent);
        [
            Some(progress.percent),
            progress.rows_per_second,
            progress.remaining_seconds,
        ]
    }

    #[test]
    fn what_remains_is_told_by_the_rate_so_far_and_rounded_up() {
        assert_eq!(
            progress(250, Status::InProgress, Some(2_000)),
            [Some(25), Some(125), Some(6)]
        );
        assert_eq!(
            progress(300, Status::InProgress, Some(1_000)),
            [Some(30), Some(300), Some(3)]
        );
    }

    #[test]
    fn nothing_is_told_of_a_rate_that_is_not_known() {
        assert_eq!(progress(10, Status::Queued, None), [Some(1), None, None]);
        assert_eq!(
            progress(0, Status::InProgress, Some(5_000)),
            [Some(0), Some(0), None]
        );
    }

    #[test]
    fn it_is_whole_when_it_is_finished_and_not_before() {
        assert_eq!(
            progress(1000, Status::InProgress, Some(1_000)),
            [Some(99), Some(1000), Some(0)]
        );
        assert_eq!(
            progress(1000, Status::Finished, Some(0)),
            [Some(100), Some(1_000_000), Some(0)]
        );
    }

    #[test]
    fn nothing_remains_of_one_that_was_cancelled() {
        assert_eq!(
            progress(500, Status::Cancelled, Some(1_000)),
            [Some(50), Some(500), None]
        );
    }

    #[test]
    fn the_largest_import_overflows_nothing() {
        let year = TimeDelta::days(365);
        let progress = Progress::new(1, 100_000_000, Status::InProgress, Some(year));
        assert_eq!(progress.remaining_seconds, Some(99_999_999 * 365 * 86_400));
    }
}
