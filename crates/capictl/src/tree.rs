//! The objects of one cluster as a tree, in the order in which a cluster comes up. Pure.

use crate::inventory::{Inventory, Object, Reference};

/// One line of the tree.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// What the object is to its parent, for example `ControlPlane`; empty where the kind says it.
    pub role: &'static str,
    /// What stands there.
    pub item: Item<'a>,
    /// What belongs to it.
    pub children: Vec<Node<'a>>,
}

/// What a line stands for.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// An object.
    Object(&'a Object),
    /// A reference to something that does not exist, and the field that holds it.
    Missing(Reference, &'static str),
    /// Several ready siblings, folded into one line.
    Folded(Vec<&'a Object>),
    /// A heading such as `Workers`.
    Heading(&'static str),
}

impl<'a> Node<'a> {
    fn object(role: &'static str, object: &'a Object, children: Vec<Node<'a>>) -> Self {
        Self {
            role,
            item: Item::Object(object),
            children,
        }
    }
}

/// The tree of a cluster. With `fold`, more than five ready Machines under one parent become one line.
pub fn of_cluster<'a>(inventory: &'a Inventory, cluster: &'a Object, fold: bool) -> Node<'a> {
    let mut children = Vec::new();
    children.extend(referenced(
        inventory,
        cluster,
        "ClusterInfrastructure",
        "/spec/infrastructureRef",
    ));
    let machines: Vec<&Object> = inventory
        .of_kind("Machine")
        .filter(|m| belongs_to(m, cluster))
        .collect();
    let is_control_plane = |m: &&&Object| m.label("cluster.x-k8s.io/control-plane").is_some();
    if let Some(mut control_plane) = referenced(inventory, cluster, "ControlPlane", "/spec/controlPlaneRef") {
        let members = machines.iter().filter(is_control_plane).copied().collect();
        control_plane.children = machine_nodes(inventory, members, fold);
        children.push(control_plane);
    }
    let workers = workers(inventory, cluster, &machines, fold);
    if !workers.is_empty() {
        children.push(Node {
            role: "",
            item: Item::Heading("Workers"),
            children: workers,
        });
    }
    Node::object("", cluster, children)
}

fn belongs_to(object: &Object, cluster: &Object) -> bool {
    let name = cluster.name();
    object.text("/spec/clusterName") == Some(&name)
        || object.label("cluster.x-k8s.io/cluster-name") == Some(&name)
}

fn workers<'a>(
    inventory: &'a Inventory,
    cluster: &'a Object,
    machines: &[&'a Object],
    fold: bool,
) -> Vec<Node<'a>> {
    let mut nodes = Vec::new();
    let sets: Vec<&Object> = inventory
        .of_kind("MachineSet")
        .filter(|s| belongs_to(s, cluster))
        .collect();
    let set_node = |set: &'a Object| {
        let members = machines.iter().filter(|m| m.is_owned_by(set)).copied().collect();
        Node::object("", set, machine_nodes(inventory, members, fold))
    };
    let deployments: Vec<&Object> = inventory
        .of_kind("MachineDeployment")
        .filter(|d| belongs_to(d, cluster))
        .collect();
    for deployment in &deployments {
        let own = sets
            .iter()
            .filter(|s| s.is_owned_by(deployment))
            .map(|s| set_node(s))
            .collect();
        nodes.push(Node::object("", deployment, own));
    }
    let standalone = sets
        .iter()
        .filter(|s| !deployments.iter().any(|d| s.is_owned_by(d)));
    nodes.extend(standalone.map(|s| set_node(s)));
    nodes.extend(
        inventory
            .of_kind("MachinePool")
            .filter(|p| belongs_to(p, cluster))
            .map(|p| {
                let parts = [
                    referenced(
                        inventory,
                        p,
                        "BootstrapConfig",
                        "/spec/template/spec/bootstrap/configRef",
                    ),
                    referenced(
                        inventory,
                        p,
                        "MachineInfrastructure",
                        "/spec/template/spec/infrastructureRef",
                    ),
                ];
                Node::object("", p, parts.into_iter().flatten().collect())
            }),
    );
    let loose = machines.iter().filter(|m| {
        m.label("cluster.x-k8s.io/control-plane").is_none() && !sets.iter().any(|s| m.is_owned_by(s))
    });
    nodes.extend(machine_nodes(inventory, loose.copied().collect(), fold));
    nodes
}

fn machine_nodes<'a>(inventory: &'a Inventory, machines: Vec<&'a Object>, fold: bool) -> Vec<Node<'a>> {
    let is_ready = |m: &&Object| m.headline().is_some_and(|c| c.status == "True") && !m.is_deleting();
    let (ready, other): (Vec<_>, Vec<_>) = machines.into_iter().partition(is_ready);
    let mut nodes: Vec<_> = other.into_iter().map(|m| machine_node(inventory, m)).collect();
    if fold && ready.len() > 5 {
        nodes.push(Node {
            role: "",
            item: Item::Folded(ready),
            children: Vec::new(),
        });
    } else {
        nodes.extend(ready.into_iter().map(|m| machine_node(inventory, m)));
    }
    nodes
}

fn machine_node<'a>(inventory: &'a Inventory, machine: &'a Object) -> Node<'a> {
    // In the order in which they come up: infrastructure needs the bootstrap data.
    let parts = [
        referenced(inventory, machine, "BootstrapConfig", "/spec/bootstrap/configRef"),
        referenced(
            inventory,
            machine,
            "MachineInfrastructure",
            "/spec/infrastructureRef",
        ),
    ];
    Node::object("", machine, parts.into_iter().flatten().collect())
}

fn referenced<'a>(
    inventory: &'a Inventory,
    from: &'a Object,
    role: &'static str,
    pointer: &'static str,
) -> Option<Node<'a>> {
    let reference = Reference::at(from, pointer)?;
    let item = match inventory.find(&reference) {
        Some(object) => Item::Object(object),
        None => Item::Missing(reference, pointer),
    };
    Some(Node {
        role,
        item,
        children: Vec::new(),
    })
}
