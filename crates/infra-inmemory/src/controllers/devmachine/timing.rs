//! How long a part of a simulated machine takes to start.
//!
//! The random part of a delay is drawn once per machine and part, from the machine's uid: the moment at which a part is
//! up is then known as soon as the part before it is, and is the same at every look.

use capi_api::names::hash_of;
use jiff::SignedDuration;

use crate::api::InMemoryComponent;

/// A setting that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Not a Go duration.
    #[error("startupDuration `{0}` is not a duration such as 10s or 1m30s")]
    Duration(String),
    /// Not a number.
    #[error("startupJitter `{0}` is not a decimal number")]
    Jitter(String),
}

/// The delay of `part` of the machine with this uid; none where the settings leave the part out.
pub fn startup_delay(
    component: Option<&InMemoryComponent>,
    uid: &str,
    part: &str,
) -> Result<SignedDuration, TimingError> {
    let Some(settings) = component.and_then(|component| component.provisioning.as_ref()) else {
        return Ok(SignedDuration::ZERO);
    };
    let duration = parse_go_duration(&settings.startup_duration)
        .ok_or_else(|| TimingError::Duration(settings.startup_duration.clone()))?;
    let jitter = match settings.startup_jitter.as_deref() {
        None | Some("") => 0.0,
        Some(text) => text
            .parse::<f64>()
            .ok()
            .filter(|jitter| jitter.is_finite())
            .ok_or_else(|| TimingError::Jitter(text.to_owned()))?,
    };
    let lengthened = duration.as_secs_f64() * (1.0 + fraction(uid, part) * jitter.max(0.0));
    SignedDuration::try_from_secs_f64(lengthened.max(0.0))
        .map_err(|_| TimingError::Duration(settings.startup_duration.clone()))
}

/// A number in `0.0..1.0` that belongs to this part of this machine.
fn fraction(uid: &str, part: &str) -> f64 {
    let hash = hash_of(&(uid, part)).parse::<u32>().unwrap_or_default();
    f64::from(hash) / (f64::from(u32::MAX) + 1.0)
}

/// Reads durations as Go's `time.ParseDuration` does: `1h15m30.5s`, `-2ms`, `0`.
pub(crate) fn parse_go_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut seconds = 0.0;
    let mut units = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = &rest[number_end..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number * unit;
        units += 1;
        rest = &rest[unit_end..];
    }
    (units > 0)
        .then(|| SignedDuration::try_from_secs_f64(if negative { -seconds } else { seconds }).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CommonProvisioningSettings;

    fn component(duration: &str, jitter: Option<&str>) -> InMemoryComponent {
        InMemoryComponent {
            provisioning: Some(CommonProvisioningSettings {
                startup_duration: duration.to_owned(),
                startup_jitter: jitter.map(str::to_owned),
            }),
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, want) in [
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("+2s", Some(2_000)),
            ("-2s", Some(-2_000)),
            ("", None),
            ("10", None),
            ("s", None),
            ("10 s", None),
            ("1d", None),
        ] {
            assert_eq!(parse_go_duration(text).map(|d| d.as_millis()), want, "{text:?}");
        }
    }

    #[test]
    fn jitter_is_bounded_and_drawn_once_per_machine_and_part() {
        let settings = component("10s", Some("0.2"));
        let delay = |uid: &str, part: &str| startup_delay(Some(&settings), uid, part).unwrap();
        for uid in 0..200 {
            let seconds = delay(&uid.to_string(), "vm").as_secs_f64();
            assert!((10.0..12.0).contains(&seconds), "{seconds}");
        }
        assert_eq!(delay("a", "vm"), delay("a", "vm"));
        assert_ne!(delay("a", "vm"), delay("b", "vm"));
        assert_ne!(delay("a", "vm"), delay("a", "node"));
    }

    #[test]
    fn missing_settings_mean_at_once_and_broken_ones_are_named() {
        assert_eq!(startup_delay(None, "a", "vm"), Ok(SignedDuration::ZERO));
        assert_eq!(
            startup_delay(Some(&InMemoryComponent::default()), "a", "vm"),
            Ok(SignedDuration::ZERO)
        );
        assert_eq!(
            startup_delay(Some(&component("-5s", None)), "a", "vm"),
            Ok(SignedDuration::ZERO)
        );
        assert_eq!(
            startup_delay(Some(&component("5s", Some("-1"))), "a", "vm"),
            Ok(SignedDuration::from_secs(5))
        );
        assert!(
            startup_delay(Some(&component("soon", None)), "a", "vm")
                .unwrap_err()
                .to_string()
                .contains("`soon`")
        );
        assert!(
            startup_delay(Some(&component("1s", Some("much"))), "a", "vm")
                .unwrap_err()
                .to_string()
                .contains("`much`")
        );
    }
}
