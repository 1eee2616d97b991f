//! The table at the end: a row per measure, a column per server, and how many times better the embedded one is.

use std::collections::BTreeMap;

use crate::target::Target;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

pub struct Report {
    columns: Vec<&'static str>,
    rows: Vec<(String, Better)>,
    values: BTreeMap<(String, &'static str), Vec<f64>>,
}

fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

impl Report {
    pub fn new(targets: &[Target]) -> Self {
        Self {
            columns: targets.iter().map(|target| target.name).collect(),
            rows: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, name: &str, better: Better, target: &Target, value: f64) {
        eprintln!("{}: {name}: {}", target.name, number(value));
        if !self.rows.iter().any(|(row, _)| row == name) {
            self.rows.push((name.to_owned(), better));
        }
        self.values
            .entry((name.to_owned(), target.name))
            .or_default()
            .push(value);
    }

    /// The median of what was measured.
    fn value(&self, row: &str, column: &'static str) -> Option<f64> {
        let mut values = self.values.get(&(row.to_owned(), column))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// How many times better a column is than the first one.
    fn ratio(&self, row: &str, better: Better, column: &'static str) -> Option<f64> {
        let (oracle, own) = (self.value(row, self.columns[0])?, self.value(row, column)?);
        Some(match better {
            Better::More => own / oracle,
            Better::Less => oracle / own,
        })
    }

    /// Whether the second column is worse than the first anywhere.
    pub fn is_worse(&self) -> bool {
        let column = self.columns.get(1).copied().unwrap_or_default();
        let ratios = self
            .rows
            .iter()
            .filter_map(|(row, better)| self.ratio(row, *better, column));
        ratios.into_iter().any(|ratio| ratio < 1.0)
    }

    #[allow(clippy::print_stdout, reason = "this is what the program is for")]
    pub fn print(&self) {
        println!("| measure | {} |", self.columns.join(" | "));
        println!("|{}", "---|".repeat(self.columns.len() + 1));
        for (row, better) in &self.rows {
            let cells = self.columns.iter().enumerate().map(|(index, column)| {
                let value = self.value(row, column).map_or("-".to_owned(), number);
                match self.ratio(row, *better, column).filter(|_| index > 0) {
                    Some(ratio) => format!("{value} ({ratio:.1}x)"),
                    None => value,
                }
            });
            println!("| {row} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }
}
