//! The recorded documents before those who read them in earnest: kubeadm and cloud-init, where they are installed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A skip is said on standard error itself, past the test harness, so that it can be counted.
fn skip(why: &str) {
    let mut unseen_by_the_harness = std::io::stderr();
    writeln!(unseen_by_the_harness, "\nSKIPPED {why}").unwrap();
}

fn recorded(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn find(program: &str, variable: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|file| file.is_file())
    })
}

#[track_caller]
fn assert_accepts(command: &mut Command, what: &Path) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {said}{}",
        what.display(),
        String::from_utf8_lossy(&output.stdout)
    );
}

/// kubeadm 1.31 to 1.36 reads both versions; `KUBEADM` names one that is not in the path.
#[test]
fn kubeadm_accepts_every_recorded_configuration() {
    let Some(kubeadm) = find("kubeadm", "KUBEADM") else {
        return skip("kubeadm's verdict: there is no kubeadm (set KUBEADM)");
    };
    let folder = tempfile::tempdir().unwrap();
    for path in recorded("kubeadm") {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut document = std::fs::read_to_string(&path).unwrap();
        if let Some(version) = name.strip_suffix("-cluster") {
            let init = std::fs::read_to_string(path.with_file_name(format!("{version}-init.yaml"))).unwrap();
            document = format!("---\n{document}\n---\n{init}");
        }
        let file = folder.path().join(&name);
        std::fs::write(&file, document).unwrap();
        assert_accepts(
            Command::new(&kubeadm)
                .args(["config", "validate", "--config"])
                .arg(&file),
            &path,
        );
    }
}

/// cloud-init checks what is left when its template engine has run, so the first line goes.
#[test]
fn cloud_init_accepts_every_recorded_document() {
    let Some(cloud_init) = find("cloud-init", "CLOUD_INIT") else {
        return skip("cloud-init's verdict: there is no cloud-init (Debian package cloud-init)");
    };
    let folder = tempfile::tempdir().unwrap();
    for path in recorded("cloud-init") {
        let document = std::fs::read_to_string(&path).unwrap();
        let rendered = document.strip_prefix("## template: jinja\n").unwrap();
        let file = folder.path().join(path.file_name().unwrap());
        std::fs::write(&file, rendered).unwrap();
        assert_accepts(Command::new(&cloud_init).args(["schema", "-c"]).arg(&file), &path);
    }
}
