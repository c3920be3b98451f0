//! When a request must be answered.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::config::Limits;

/// A coordinator answers a little before the caller gives up, so that the caller learns what
/// became of its request: this share of the time it gave, but at most [`MARGIN_MAX`].
const MARGIN_SHARE: u32 = 10;
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// The deadline that a request's headers ask for, within the limits.
pub(crate) fn of(headers: &HeaderMap, limits: &Limits) -> Instant {
    Instant::now() + allowed(headers, limits)
}

fn allowed(headers: &HeaderMap, limits: &Limits) -> Duration {
    let most = Duration::from_millis(limits.deadline_ms_max);
    match timeout(headers) {
        Some(asked) => (asked - (asked / MARGIN_SHARE).min(MARGIN_MAX)).min(most),
        None => Duration::from_millis(limits.deadline_ms_default),
    }
}

/// The `grpc-timeout` header: at most eight digits and a unit. None: absent or malformed.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        allowed(&headers, &Limits::default())
    }

    #[test]
    fn the_callers_deadline_counts_within_the_limits() {
        let ms = Duration::from_millis;
        assert_eq!(allowed(&HeaderMap::new(), &Limits::default()), ms(5_000));
        assert_eq!(of_text("100m"), ms(90));
        assert_eq!(of_text("2S"), ms(1_950));
        assert_eq!(of_text("1H"), ms(60_000));
        assert_eq!(of_text("1000u"), Duration::from_micros(900));
        assert_eq!(of_text("0n"), Duration::ZERO);
    }

    #[test]
    fn malformed_timeouts_are_none() {
        for text in ["", "5", "S", "5x", "-5S", "123456789S", "5.0S"] {
            assert_eq!(of_text(text), Duration::from_millis(5_000), "{text}");
        }
    }
}
