//! Durations and ages in kubectl's short form.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The age of something in kubectl's short form (`5m3s`, `3d4h`); `now` minus `then`.
#[must_use]
pub fn human_age(then: Timestamp, now: Timestamp) -> String {
    human_duration(now.as_nanosecond().saturating_sub(then.as_nanosecond()) / 1_000_000_000)
}

/// A number of seconds in kubectl's short form, with two or three significant figures.
#[must_use]
pub fn human_duration(seconds: i128) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let pair = |whole: i64, unit: char, rest: i64, small: char| {
        if rest == 0 {
            format!("{whole}{unit}")
        } else {
            format!("{whole}{unit}{rest}{small}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => pair(s / MINUTE, 'm', s % MINUTE, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => pair(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => pair(s / DAY, 'd', s % DAY / HOUR, 'h'),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => pair(s / YEAR, 'y', s % YEAR / DAY, 'd'),
        s => format!("{}y", s / YEAR),
    }
}

/// The cell for a time: its age, `<unknown>` when there is none.
pub(super) fn cell(time: Option<&str>, now: Timestamp) -> String {
    match time {
        None | Some("" | "null") => "<unknown>".to_owned(),
        Some(text) => text
            .parse::<Timestamp>()
            .map_or_else(|_| "<invalid>".to_owned(), |then| human_age(then, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_kubectl() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (303, "5m3s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (7 * 3600 + 60, "7h1m"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (50 * 3600, "2d2h"),
            (8 * 86400, "8d"),
            (2 * 365 * 86400, "2y"),
            (2 * 365 * 86400 + 86400, "2y1d"),
            (9 * 365 * 86400, "9y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
        let now: Timestamp = "2024-01-01T00:05:03Z".parse().unwrap();
        assert_eq!(human_age("2024-01-01T00:00:00Z".parse().unwrap(), now), "5m3s");
    }
}
