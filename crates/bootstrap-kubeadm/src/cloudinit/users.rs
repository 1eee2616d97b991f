//! The keys `users` and `ntp`.

use capi_api::bootstrap::v1beta2::{NTP, User};

use super::line;
use crate::yaml;

pub(super) fn write_users(out: &mut String, users: &[User]) {
    if users.is_empty() {
        return;
    }
    out.push_str("users:\n");
    for user in users {
        line(out, format_args!("  - name: {}", yaml::scalar(&user.name)));
        field(out, "passwd", user.passwd.as_deref());
        field(out, "gecos", user.gecos.as_deref());
        field(out, "groups", user.groups.as_deref());
        field(out, "homedir", user.home_dir.as_deref());
        flag(out, "inactive", user.inactive);
        flag(out, "lock_passwd", user.lock_password);
        field(out, "shell", user.shell.as_deref());
        field(out, "primary_group", user.primary_group.as_deref());
        field(out, "sudo", user.sudo.as_deref());
        if !user.ssh_authorized_keys.is_empty() {
            out.push_str("    ssh_authorized_keys:\n");
            for key in &user.ssh_authorized_keys {
                line(out, format_args!("      - {}", yaml::scalar(key)));
            }
        }
    }
}

pub(super) fn write_ntp(out: &mut String, ntp: &NTP) {
    if ntp.enabled.is_none() && ntp.servers.is_empty() {
        return;
    }
    out.push_str("ntp:\n");
    if let Some(enabled) = ntp.enabled {
        line(out, format_args!("  enabled: {enabled}"));
    }
    if !ntp.servers.is_empty() {
        out.push_str("  servers:\n");
        for server in &ntp.servers {
            line(out, format_args!("    - {}", yaml::scalar(server)));
        }
    }
}

fn field(out: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|v| !v.is_empty()) {
        line(out, format_args!("    {key}: {}", yaml::scalar(value)));
    }
}

fn flag(out: &mut String, key: &str, value: Option<bool>) {
    if let Some(value) = value {
        line(out, format_args!("    {key}: {value}"));
    }
}
