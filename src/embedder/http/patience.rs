//! How long to wait before the next attempt.

use std::time::{Duration, SystemTime};

use crate::Rng;
use rand_chacha::rand_core::Rng as _;

/// The wait before the second attempt; it doubles with each.
const FIRST: Duration = Duration::from_millis(500);

/// A server that names no time is not waited for longer than this at once.
const LONGEST: Duration = Duration::from_mins(1);

/// The wait before the attempt with this number, from 1: what the server asks for, or twice as long each time. A random
/// part of it keeps clients apart that were refused together.
pub(super) fn wait(attempt: u32, asked: Option<Duration>) -> Duration {
    let part = jitter();
    match asked {
        Some(asked) => asked + FIRST.mul_f64(part),
        None => {
            FIRST.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(LONGEST).mul_f64(0.5 + 0.5 * part)
        }
    }
}

/// Reads `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // a date that has passed means now
    Some(date.duration_since(now).unwrap_or_default())
}

/// From 0 to 1.
fn jitter() -> f64 {
    Rng::from_os().map_or(0.5, |mut rng| f64::from(rng.next_u32()) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_vary() {
        for attempt in 1..12 {
            let longest = FIRST.saturating_mul(1 << (attempt - 1)).min(LONGEST);
            let waits: Vec<Duration> = (0..20).map(|_| wait(attempt, None)).collect();
            assert!(waits.iter().all(|wait| *wait >= longest / 2 && *wait <= longest), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
        let asked = Duration::from_secs(7);
        let wait = wait(1, Some(asked));
        assert!(wait >= asked && wait <= asked + FIRST);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("3", Some(3.0)),
            (" 0.25 ", Some(0.25)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0.0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30.0)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0.0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now).map(|wait| wait.as_secs_f64()), seconds, "{value}");
        }
    }
}
