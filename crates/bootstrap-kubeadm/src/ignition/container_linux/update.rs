//! The updater and the reboot manager of Container Linux, which share one file.

use super::convert::node;
use super::language as clc;
use crate::ignition::Reports;
use crate::ignition::types::{Contents, File, data_url};

/// The file that the updater and the reboot manager read.
pub(super) fn update_file(config: &clc::ContainerLinux, reports: &mut Reports) -> Option<File> {
    let mut contents = String::new();
    if let Some(update) = &config.update {
        let group = update.group.to_lowercase();
        if !matches!(group.as_str(), "stable" | "beta" | "alpha") && update.server.is_empty() {
            reports.warning(
                "update.group",
                "is none of stable, beta and alpha, and there is no server that may know it",
            );
        }
        if !group.is_empty() {
            contents.push_str(&format!("GROUP={group}"));
        }
        for (key, value) in [
            ("SERVER", &update.server),
            ("PCR_POLICY_SERVER", &update.pcr_policy_server),
            ("DOWNLOAD_USER", &update.download_user),
            ("DOWNLOAD_PASSWORD", &update.download_password),
            ("MACHINE_ALIAS", &update.machine_alias),
        ] {
            if !value.is_empty() {
                contents.push_str(&format!("\n{key}={value}"));
            }
        }
    }
    if let Some(locksmith) = &config.locksmith {
        check_locksmith(locksmith, reports);
        for (key, value) in [
            ("REBOOT_STRATEGY", &locksmith.reboot_strategy),
            ("LOCKSMITHD_REBOOT_WINDOW_START", &locksmith.window_start),
            ("LOCKSMITHD_REBOOT_WINDOW_LENGTH", &locksmith.window_length),
            ("LOCKSMITHD_GROUP", &locksmith.group),
            ("LOCKSMITHD_ENDPOINT", &locksmith.etcd_endpoints),
            ("LOCKSMITHD_ETCD_CAFILE", &locksmith.etcd_cafile),
            ("LOCKSMITHD_ETCD_CERTFILE", &locksmith.etcd_certfile),
            ("LOCKSMITHD_ETCD_KEYFILE", &locksmith.etcd_keyfile),
        ] {
            if let Some(value) = value {
                contents.push_str(&format!("\n{key}={}", crate::yaml::double_quoted(value)));
            }
        }
    }
    (!contents.is_empty()).then(|| File {
        node: node("root", "/etc/coreos/update.conf", (None, None), None),
        contents: Contents {
            source: data_url(contents.as_bytes()),
            ..Contents::default()
        },
        mode: Some(0o644),
        append: false,
    })
}

fn check_locksmith(locksmith: &clc::Locksmith, reports: &mut Reports) {
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let strategy = given(&locksmith.reboot_strategy).map(|strategy| strategy.to_lowercase());
    if strategy.is_some_and(|strategy| !matches!(strategy.as_str(), "reboot" | "etcd-lock" | "off")) {
        reports.error(
            "locksmith.reboot_strategy",
            "is none of reboot, etcd-lock and off",
        );
    }
    let (start, length) = (given(&locksmith.window_start), given(&locksmith.window_length));
    if start.is_some() != length.is_some() {
        reports.error("locksmith", "window_start and window_length belong together");
    }
    if start.is_some_and(|start| !is_window_start(&start)) {
        reports.error("locksmith.window_start", "is no time such as 04:00 or Sun 04:00");
    }
    if length.is_some_and(|length| !is_duration(&length)) {
        reports.error("locksmith.window_length", "is no duration such as 1h30m");
    }
}

fn is_window_start(text: &str) -> bool {
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let mut words = text.split_whitespace();
    let time = match (words.next(), words.next()) {
        (Some(day), Some(time)) if days.contains(&day.to_lowercase().as_str()) => time,
        (Some(time), None) => time,
        _ => return false,
    };
    let Some((hours, minutes)) = time.split_once(':') else {
        return false;
    };
    let below =
        |text: &str, limit: u8| text.len() <= 2 && text.parse::<u8>().is_ok_and(|number| number < limit);
    below(hours, 24) && minutes.len() == 2 && below(minutes, 60)
}

/// Whether Go reads `text` as a duration: numbers with units, such as `1h30m`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"]
            .iter()
            .find_map(|unit| after.strip_prefix(unit));
        match unit {
            Some(tail) if after.len() < rest.len() => rest = tail,
            _ => return false,
        }
        parts += 1;
    }
    parts > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_durations_are_read_as_in_go() {
        for (text, want) in [
            ("04:00", true),
            ("Sun 4:05", true),
            ("Sunday 04:00", false),
            ("24:00", false),
            ("4", false),
        ] {
            assert_eq!(is_window_start(text), want, "{text}");
        }
        for (text, want) in [
            ("1h30m", true),
            ("1.5h", true),
            ("0", true),
            ("1", false),
            ("h", false),
            ("", false),
        ] {
            assert_eq!(is_duration(text), want, "{text}");
        }
    }
}
