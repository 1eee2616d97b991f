//! systemd's unit files, as far as their form is checked: sections, options, comments.

/// The names of the sections of a unit file, or what is wrong with its form.
pub(super) fn sections(text: &str) -> Result<Vec<&str>, String> {
    /// systemd reads no longer lines.
    const LONGEST: usize = 2048;
    let mut names = Vec::new();
    let mut continues = false;
    for line in text.lines() {
        if line.len() > LONGEST {
            return Err(format!("a line is longer than {LONGEST} bytes"));
        }
        let line = line.trim();
        let continued = std::mem::replace(&mut continues, line.ends_with('\\'));
        if continued || line.is_empty() || line.starts_with(['#', ';']) {
            continues &= continued || !line.starts_with(['#', ';']);
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            match name.split_once(']') {
                Some((name, "")) => names.push(name),
                Some((name, _)) => return Err(format!("something follows the name of section {name}")),
                None => return Err("the name of a section does not end".to_owned()),
            }
        } else if !names.is_empty() && !line.contains('=') {
            // Text before the first section is skipped by systemd's readers.
            return Err("an option has no value (there is a line without =)".to_owned());
        }
    }
    Ok(names)
}

/// The name that a unit for `path` must have, without its extension: systemd finds mounts by it.
pub(super) fn escaped(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut out = String::new();
    for (position, byte) in parts.join("/").bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if position == 0 => out.push_str("\\x2e"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b':' | b'_' | b'.' => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_named_as_systemd_escapes_their_path() {
        for (path, name) in [
            ("/var/lib/etcd", "var-lib-etcd"),
            ("/var/lib/etcd/", "var-lib-etcd"),
            ("/var/lib/my-disk", "var-lib-my\\x2ddisk"),
            ("/.snapshots", "\\x2esnapshots"),
            ("/", "-"),
        ] {
            assert_eq!(escaped(path), name);
        }
    }

    #[test]
    fn a_malformed_unit_file_is_found() {
        let good = "# c\n[Unit]\nDescription=a\n\n[Service]\nExecStart=/bin/x \\\n  --flag\n; c\n[Install]\nWantedBy=y\n";
        assert_eq!(sections(good), Ok(vec!["Unit", "Service", "Install"]));
        assert_eq!(sections(""), Ok(vec![]));
        for bad in ["[Unit\nA=b", "[Unit] x\n", "[Unit]\nDescription\n"] {
            assert!(sections(bad).is_err(), "{bad}");
        }
    }
}
