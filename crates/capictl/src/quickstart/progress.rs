//! Shows how clusters come up: in a terminal a tree that is redrawn in place, in a pipe one line per event.

use std::time::Duration;

use console::{Term, style};

use crate::{
    inventory::{Inventory, Object},
    quickstart::{
        Subject,
        timeline::{Moment, Step, Timeline},
    },
    tree::{self, Item, Node},
};

/// Where progress is shown.
#[derive(Debug)]
pub struct Progress {
    term: Term,
    drawn: usize,
}

impl Progress {
    /// Shows progress on standard output.
    pub fn new() -> Self {
        Self {
            term: Term::stdout(),
            drawn: 0,
        }
    }

    /// Shows the state of things; `new` is what has happened since the last call.
    pub fn show(&mut self, view: &View<'_>, new: &[Moment]) {
        // A display that cannot be written (a closed pipe) must not stop the clusters.
        let _ = if self.term.is_term() {
            self.redraw(view)
        } else {
            self.lines(new)
        };
    }

    fn lines(&self, new: &[Moment]) -> std::io::Result<()> {
        new.iter().try_for_each(|m| {
            self.term
                .write_line(&format!("{:>7}  {}: {}", seconds(m.at), m.subject, m.phase))
        })
    }

    fn redraw(&mut self, view: &View<'_>) -> std::io::Result<()> {
        self.clear()?;
        let (height, width) = self.term.size();
        let mut lines = view.lines();
        // What does not fit cannot be erased again.
        lines.truncate(usize::from(height).saturating_sub(2).max(5));
        for line in &lines {
            self.term
                .write_line(&console::truncate_str(line, usize::from(width), "…"))?;
        }
        self.drawn = lines.len();
        Ok(())
    }

    /// Takes the tree away, to make place for the final answer.
    pub fn clear(&mut self) -> std::io::Result<()> {
        let drawn = std::mem::take(&mut self.drawn);
        if drawn > 0 {
            self.term.clear_last_lines(drawn)
        } else {
            Ok(())
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// What is shown.
#[derive(Debug)]
pub struct View<'a> {
    /// The clusters to wait for.
    pub clusters: &'a [Subject],
    /// The objects, by namespace of the clusters (one inventory per cluster, in the same order).
    pub inventories: &'a [Inventory],
    /// What happened when.
    pub timeline: &'a Timeline,
    /// Time since the start.
    pub elapsed: Duration,
}

impl View<'_> {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (subject, inventory) in self.clusters.iter().zip(self.inventories) {
            let Some(cluster) = inventory.cluster(&subject.name) else {
                continue;
            };
            let tree = tree::of_cluster(inventory, cluster, true);
            self.node(&tree, "", "", &mut lines);
        }
        lines.push(
            style(format!("{} elapsed", seconds(self.elapsed)))
                .dim()
                .to_string(),
        );
        lines
    }

    fn node(&self, node: &Node<'_>, lead: &str, follow: &str, lines: &mut Vec<String>) {
        let text = match &node.item {
            Item::Object(object) => self.object(object),
            Item::Missing(reference, _) => {
                format!("{}/{} {}", reference.kind, reference.name, style("missing").red())
            }
            Item::Folded(machines) => format!("{} Machines {}", machines.len(), style("ready").green()),
            Item::Heading(heading) => (*heading).to_owned(),
        };
        lines.push(format!("{lead}{text}"));
        // A Machine's line already tells what its parts have reached.
        let children: &[Node<'_>] = if matches!(&node.item, Item::Object(o) if o.kind == "Machine") {
            &[]
        } else {
            &node.children
        };
        for (i, child) in children.iter().enumerate() {
            let (branch, trunk) = if i + 1 == children.len() {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            self.node(
                child,
                &format!("{follow}{branch}"),
                &format!("{follow}{trunk}"),
                lines,
            );
        }
    }

    fn object(&self, object: &Object) -> String {
        let name = object.name();
        let well = object.headline().is_some_and(|c| c.status == "True")
            || object.at("/status/initialization/provisioned") == Some(&true.into());
        let mark = if well {
            style("✔").green()
        } else {
            style("·").yellow()
        };
        let replicas = match object.number("/spec/replicas") {
            Some(desired) => format!(
                " {}/{desired}",
                object.number("/status/readyReplicas").unwrap_or(0)
            ),
            None => String::new(),
        };
        let mut phases = self.timeline.of(&object.kind, &object.namespace(), &name);
        if object.kind == "Machine" {
            let parts = object.text("/spec/infrastructureRef/name").unwrap_or(&name);
            phases.extend(
                self.timeline
                    .of("DevMachine", &object.namespace(), parts)
                    .into_iter()
                    .filter(|(phase, _)| *phase != "node"),
            );
            phases.sort_by_key(|(_, at)| *at);
        }
        let phases: Vec<_> = phases
            .iter()
            .map(|(phase, at)| format!("{phase} {}", seconds(*at)))
            .collect();
        format!(
            "{mark} {}/{name}{replicas}  {}",
            object.kind,
            style(phases.join("  ")).dim()
        )
    }
}

/// The critical path as lines of text, with what was not simulated at its end.
pub fn critical_path(steps: &[Step]) -> String {
    let mut text = format!("{}\n", style("Critical path").bold());
    for step in steps {
        let simulated = if step.simulated.is_zero() {
            String::new()
        } else {
            format!("  (simulated {})", seconds(step.simulated))
        };
        text += &format!("  {:>7}  {}{simulated}\n", seconds(step.took), step.what);
    }
    let total: Duration = steps.iter().map(|s| s.took).sum();
    let simulated: Duration = steps.iter().map(|s| s.simulated).sum();
    let own = total.saturating_sub(simulated);
    text += &format!(
        "  {:>7}  in total; {} beyond the simulated delays\n",
        seconds(total),
        seconds(own)
    );
    text
}

/// `12.3s`.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}
