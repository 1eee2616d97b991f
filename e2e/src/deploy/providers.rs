//! One description per provider: what its manager is called, where it runs, which flags it gets and how big it may be.

use std::sync::Arc;

use capi_runtime::{Manager, webhook::configuration::Names};
use cluster_pki::FreshKeys;
use infra_inmemory::World;
use seams::{SystemClock, SystemRandomness};

/// A provider as it is shipped.
pub struct Provider {
    /// Its folder below `deploy`, which is also the name of its program and its image.
    pub folder: &'static str,
    /// The name of its Deployment; other names follow from it as upstream has them.
    pub manager: &'static str,
    /// The namespace it runs in, unless the installer chooses another.
    pub namespace: &'static str,
    /// The value of the label `cluster.x-k8s.io/provider`, which is also its folder in a clusterctl repository.
    pub label: &'static str,
    /// What clusterctl calls the file with all its objects.
    pub components: &'static str,
    /// How its controllers and admission rules are registered.
    pub register: fn(&mut Manager),
    /// Flags, with the variable that sets each in the components file.
    pub flags: &'static [Flag],
    /// Whether replicas share the work; otherwise there is one.
    pub replicated: bool,
    /// Memory that is asked for and that is the limit.
    pub memory: (&'static str, &'static str),
}

/// A flag of a manager.
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Text before the value, for lists of pairs.
    pub prefix: &'static str,
    /// The variable that sets it in the components file.
    pub variable: &'static str,
    /// Its value if nobody sets the variable.
    pub default: &'static str,
}

const fn flag(name: &'static str, variable: &'static str, default: &'static str) -> Flag {
    Flag {
        name,
        prefix: "",
        variable,
        default,
    }
}

const DIAGNOSTICS: Flag = flag("diagnostics-address", "CAPI_DIAGNOSTICS_ADDRESS", ":8443");
const INSECURE: Flag = flag("insecure-diagnostics", "CAPI_INSECURE_DIAGNOSTICS", "false");

/// All of them, in the order of installation.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        folder: "capi-core",
        manager: "capi-controller-manager",
        namespace: "capi-system",
        label: "cluster-api",
        components: "core-components.yaml",
        register: capi_core::register,
        flags: &[DIAGNOSTICS, INSECURE],
        replicated: true,
        memory: ("64Mi", "1Gi"),
    },
    Provider {
        folder: "bootstrap-kubeadm",
        manager: "capi-kubeadm-bootstrap-controller-manager",
        namespace: "capi-kubeadm-bootstrap-system",
        label: "bootstrap-kubeadm",
        components: "bootstrap-components.yaml",
        register: bootstrap_kubeadm::register,
        flags: &[
            DIAGNOSTICS,
            INSECURE,
            Flag {
                name: "feature-gates",
                prefix: "KubeadmBootstrapFormatIgnition=",
                variable: "EXP_KUBEADM_BOOTSTRAP_FORMAT_IGNITION",
                default: "false",
            },
            flag("bootstrap-token-ttl", "KUBEADM_BOOTSTRAP_TOKEN_TTL", "15m"),
        ],
        replicated: true,
        memory: ("48Mi", "512Mi"),
    },
    Provider {
        folder: "controlplane-kubeadm",
        manager: "capi-kubeadm-control-plane-controller-manager",
        namespace: "capi-kubeadm-control-plane-system",
        label: "control-plane-kubeadm",
        components: "control-plane-components.yaml",
        register: controlplane_kubeadm::register,
        flags: &[DIAGNOSTICS, INSECURE],
        replicated: true,
        memory: ("64Mi", "1Gi"),
    },
    Provider {
        folder: "infra-inmemory",
        manager: "infra-inmemory-controller-manager",
        namespace: "infra-inmemory-system",
        label: "infrastructure-inmemory",
        components: "infrastructure-components.yaml",
        register: register_inmemory,
        flags: &[DIAGNOSTICS, INSECURE],
        // The simulated clusters live in its memory.
        replicated: false,
        memory: ("128Mi", "4Gi"),
    },
    Provider {
        folder: "infra-openstack",
        manager: "capo-controller-manager",
        namespace: "capo-system",
        label: "infrastructure-openstack",
        components: "infrastructure-components.yaml",
        register: infra_openstack::register,
        flags: &[
            flag("diagnostics-address", "CAPO_DIAGNOSTICS_ADDRESS", ":8443"),
            flag("insecure-diagnostics", "CAPO_INSECURE_DIAGNOSTICS", "false"),
        ],
        replicated: true,
        memory: ("64Mi", "512Mi"),
    },
];

fn register_inmemory(manager: &mut Manager) {
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
    let world = World::listening(clock, randomness, Arc::new(FreshKeys), "127.0.0.1");
    infra_inmemory::register(manager, world);
}

impl Provider {
    /// The names of its webhook Service and configurations.
    pub fn names(&self) -> Names {
        Names::of(self.manager, self.namespace)
    }

    /// What the names of its objects begin with.
    pub fn prefix(&self) -> &'static str {
        self.manager
            .strip_suffix("-controller-manager")
            .unwrap_or(self.manager)
    }

    /// The ServiceAccount that it runs as.
    pub fn service_account(&self) -> String {
        format!("{}-manager", self.prefix())
    }
}
