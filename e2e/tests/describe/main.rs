//! `capictl describe` names the right cause in its first line: one system for each thing that can be wrong.
//!
//! The table of all of them is `docs/causes.md`. When a line changed for the better, `UPDATE_DOCS=1` writes it anew; read
//! the difference before you commit it: the test cannot know whether a line is right.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of this is test code: a failure is a panic"
)]

mod broken;
mod configured;
mod leaving;
mod refused;

use std::{collections::VecDeque, fmt::Write as _, path::Path, sync::Mutex, thread, time::Duration};

use e2e::{
    scenario,
    simulation::{self, Simulation, Start},
};
use embedded_apiserver::Admission;
use futures::future::LocalBoxFuture;

/// Brings a system into trouble.
pub type Trouble = for<'a> fn(&'a Simulation) -> LocalBoxFuture<'a, Result<(), String>>;

/// One thing that can be wrong.
pub struct Case {
    /// What was done, for people.
    pub what: &'static str,
    /// How it is done.
    pub trouble: Trouble,
    /// How long until everybody who reports on it has done so, in simulated time.
    pub after: Duration,
    /// Admission of others that stands in the way.
    pub admission: Option<fn() -> std::sync::Arc<dyn Admission>>,
    /// What was stored before there were rules.
    pub stored: Option<String>,
}

/// A case that shows after two minutes.
pub fn case(what: &'static str, trouble: Trouble) -> Case {
    Case {
        what,
        trouble,
        after: Duration::from_secs(120),
        admission: None,
        stored: None,
    }
}

impl Case {
    /// Shows after so many seconds only.
    pub fn after(self, seconds: u64) -> Self {
        Self {
            after: Duration::from_secs(seconds),
            ..self
        }
    }

    /// What describe says: the cause, and what to do.
    fn lines(&self) -> Result<(String, String), String> {
        let start = Start {
            seed: 5,
            admission: self.admission.map(|admission| admission()),
            stored: self.stored.clone(),
            ..Start::default()
        };
        simulation::run(start, |simulation| async move {
            (self.trouble)(&simulation).await?;
            tokio::time::sleep(self.after).await;
            let description = simulation.described(scenario::CLUSTER).await;
            let cause = description.cause.ok_or("describe finds nothing wrong")?;
            if !description
                .text
                .lines()
                .next()
                .unwrap_or_default()
                .contains(&cause.to_string())
            {
                return Err(format!(
                    "the first line does not name the cause: {}",
                    description.text
                ));
            }
            Ok((anonymous(&cause.to_string()), anonymous(&cause.next)))
        })
    }
}

/// Without what differs from run to run: the random ends of names, and times.
fn anonymous(text: &str) -> String {
    let random = |word: &str| {
        word.len() == 5
            && word.bytes().all(|b| seams::NAME_ALPHABET.contains(&b))
            && word.bytes().any(|b| b.is_ascii())
    };
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if random(bare) && out.ends_with('-') {
            out.push('*');
            out.push_str(&word[bare.len()..]);
        } else {
            out.push_str(word);
        }
    }
    times(&tokens(&out))
}

/// The public part of bootstrap tokens is random too.
fn tokens(text: &str) -> String {
    let mut text = text.to_owned();
    for marker in ["bootstrap token ", "bootstrap-token-"] {
        let mut parts = text.split(marker);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let id = part.bytes().take_while(u8::is_ascii_alphanumeric).count();
            out.push_str(marker);
            out.push_str(if id == 6 { "*" } else { &part[..id] });
            out.push_str(&part[id..]);
        }
        text = out;
    }
    text
}

fn times(text: &str) -> String {
    let mut words = text.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        match bare.parse::<jiff::Timestamp>() {
            Ok(_) => word.replace(bare, "TIME"),
            Err(_) => word.to_owned(),
        }
    });
    let first = words.next().unwrap_or_default();
    words.fold(first, |all, word| all + " " + &word)
}

fn table(cases: &[Case], lines: &[Result<(String, String), String>]) -> String {
    let mut text = String::from(
        "# What `capictl describe` says\n\n\
         For each thing that can be wrong, the cause that `capictl describe cluster` puts first, and what it says to do.\n\
         Written by `UPDATE_DOCS=1 cargo test -p e2e -p unify --test describe`, which brings each of them about; the same\n\
         test fails when a line changes. `*` stands for the random end of a name or a token, `TIME` for a\n\
         time.\n\n\
         | what is wrong | what describe says | what to do |\n|---|---|---|\n",
    );
    for (case, line) in cases.iter().zip(lines) {
        let (cause, next) = match line {
            Ok(line) => line.clone(),
            Err(error) => (format!("NOTHING: {error}"), String::new()),
        };
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(text, "| {} | {} | {} |", case.what, cell(&cause), cell(&next));
    }
    text
}

#[test]
fn describe_names_the_cause_first() {
    let only = std::env::var("CAUSE").unwrap_or_default();
    let cases: Vec<Case> = [
        broken::cases(),
        configured::cases(),
        refused::cases(),
        leaving::cases(),
    ]
    .into_iter()
    .flatten()
    .filter(|case| case.what.contains(&only))
    .collect();
    let queue = Mutex::new((0..cases.len()).collect::<VecDeque<_>>());
    let lines = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(i) = { queue.lock().unwrap().pop_front() } {
                    let line = cases[i].lines();
                    lines.lock().unwrap().push((i, line));
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap();
    lines.sort_by_key(|(i, _)| *i);
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    let text = table(&cases, &lines);
    if !only.is_empty() {
        println!("{text}");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/causes.md");
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(&path, &text).unwrap();
    }
    let silent: Vec<_> = lines.iter().filter_map(|line| line.as_ref().err()).collect();
    assert!(silent.is_empty(), "{silent:#?}");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<_> = text
        .lines()
        .filter(|line| !written.lines().any(|w| w == *line))
        .collect();
    assert!(
        text == written,
        "docs/causes.md says otherwise about:\n{}",
        changed.join("\n")
    );
}
