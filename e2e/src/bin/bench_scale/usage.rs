//! What a process has used, by the kernel's count (`/proc`).

use std::{fs, time::Duration};

use anyhow::Context as _;

/// The unit of CPU times in `/proc`; Linux shows 100 a second on every architecture that we run on.
const TICKS: u64 = 100;

/// What a process has used so far, and holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user and kernel mode, of all threads.
    pub cpu: Duration,
    /// Memory in RAM, in KiB.
    pub resident: u64,
    /// The part of it that is the process's own: not files such as the program itself.
    pub anonymous: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Of the process with this id.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}: the process has ended"))
        };
        Self::parse(&read("stat")?, &read("status")?).context("cannot understand /proc")
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name may hold anything, blanks and brackets included.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':')
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        Some(Self {
            cpu: Duration::from_millis(ticks * 1000 / TICKS),
            resident: number("VmRSS")?,
            anonymous: number("RssAnon")?,
            threads: number("Threads")?,
        })
    }

    /// The resident memory in MiB.
    pub fn mebibytes(&self) -> f64 {
        self.resident as f64 / 1024.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100 1 2";
        let status = "Name:\ta\nVmRSS:\t  2048 kB\nRssAnon:\t 1024 kB\nThreads:\t4\n";
        let usage = Usage::parse(stat, status).unwrap();
        assert_eq!(
            (usage.cpu, usage.resident, usage.anonymous, usage.threads),
            (Duration::from_secs(3), 2048, 1024, 4)
        );
        assert_eq!(usage.mebibytes(), 2.0);
    }

    #[test]
    fn this_process_can_be_measured() {
        assert!(Usage::of(std::process::id()).unwrap().resident > 0);
    }
}
