//! The objects around a manager: Namespace, permissions, Service, PodDisruptionBudget and Deployment; and the files beside
//! them. Names and labels are upstream's, so that either can take the other's place.

use serde_json::{Value, json};

use super::{
    Hooks,
    providers::{Flag, Provider},
    rbac::{self, Rule},
};

/// Says which provider an object belongs to.
const PROVIDER: &str = "cluster.x-k8s.io/provider";
/// Where images are.
const REGISTRY: &str = "ghcr.io/capi-rs";
/// The version of everything that is built here.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
/// Who owns what runs in the image: `nonroot` of distroless.
const USER: i64 = 65532;

/// All objects but definitions and webhook configurations, in the order of installation; `value` gives the value of each
/// flag of the manager.
pub fn objects(provider: &Provider, hooks: &Hooks, value: fn(&Flag) -> String) -> Vec<Value> {
    let mut objects = vec![namespace(provider), service_account(provider)];
    objects.extend(permissions(provider, hooks));
    if hooks.any() {
        objects.push(webhook_service(provider));
    }
    objects.push(disruption_budget(provider));
    objects.push(deployment(provider, hooks, value));
    objects
}

fn labels(provider: &Provider) -> Value {
    json!({PROVIDER: provider.label})
}

/// The labels of the manager's pods.
fn pod_labels(provider: &Provider) -> Value {
    json!({PROVIDER: provider.label, "control-plane": "controller-manager"})
}

fn metadata_of(provider: &Provider, name: &str) -> Value {
    json!({"name": name, "namespace": provider.namespace, "labels": labels(provider)})
}

fn namespace(provider: &Provider) -> Value {
    let mut labels = pod_labels(provider);
    labels["pod-security.kubernetes.io/enforce"] = json!("restricted");
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": provider.namespace, "labels": labels}})
}

fn service_account(provider: &Provider) -> Value {
    let name = provider.service_account();
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata_of(provider, &name)})
}

fn permissions(provider: &Provider, hooks: &Hooks) -> Vec<Value> {
    let prefix = provider.prefix();
    let api = "rbac.authorization.k8s.io/v1";
    let group = "rbac.authorization.k8s.io";
    let rules = |rules: Vec<Rule>| -> Vec<Value> { rules.iter().map(Rule::to_json).collect() };
    let subjects = json!([{"kind": "ServiceAccount", "name": provider.service_account(), "namespace": provider.namespace}]);
    let mut objects = Vec::new();
    let mut role = format!("{prefix}-manager-role");
    let mut role_labels = labels(provider);
    if rbac::aggregates(provider) {
        let selector = aggregation_label(provider);
        role_labels[selector] = json!("true");
        let aggregated = format!("{prefix}-aggregated-manager-role");
        objects.push(json!({
            "apiVersion": api, "kind": "ClusterRole",
            "metadata": {"name": aggregated, "labels": labels(provider)},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {selector: "true"}}]},
        }));
        objects.push(json!({
            "apiVersion": api, "kind": "ClusterRole", "metadata": {"name": role, "labels": role_labels},
            "rules": rules(rbac::cluster_rules(provider, hooks)),
        }));
        role = aggregated;
    } else {
        objects.push(json!({
            "apiVersion": api, "kind": "ClusterRole", "metadata": {"name": role, "labels": role_labels},
            "rules": rules(rbac::cluster_rules(provider, hooks)),
        }));
    }
    objects.push(json!({
        "apiVersion": api, "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{prefix}-manager-rolebinding"), "labels": labels(provider)},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": subjects.clone(),
    }));
    let own = rbac::own_rules(provider, hooks);
    if !own.is_empty() {
        let role = format!("{prefix}-own-namespace-role");
        objects.push(json!({
            "apiVersion": api, "kind": "Role", "metadata": metadata_of(provider, &role), "rules": rules(own),
        }));
        objects.push(json!({
            "apiVersion": api, "kind": "RoleBinding",
            "metadata": metadata_of(provider, &format!("{prefix}-own-namespace-rolebinding")),
            "roleRef": {"apiGroup": group, "kind": "Role", "name": role},
            "subjects": subjects,
        }));
    }
    objects
}

/// The label of ClusterRoles of others that extend what a provider may do: upstream's.
fn aggregation_label(provider: &Provider) -> &'static str {
    match provider.folder {
        "capi-core" => "cluster.x-k8s.io/aggregate-to-manager",
        _ => "kubeadm.controlplane.cluster.x-k8s.io/aggregate-to-manager",
    }
}

fn webhook_service(provider: &Provider) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": metadata_of(provider, &provider.names().service()),
        "spec": {
            "ports": [{"port": 443, "targetPort": "webhook-server"}],
            "selector": pod_labels(provider),
        },
    })
}

fn disruption_budget(provider: &Provider) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata_of(provider, provider.manager),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": pod_labels(provider)}},
    })
}

fn deployment(provider: &Provider, hooks: &Hooks, value: fn(&Flag) -> String) -> Value {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "healthz"}, "periodSeconds": 10});
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut ports = vec![
        json!({"containerPort": 9440, "name": "healthz", "protocol": "TCP"}),
        json!({"containerPort": 8443, "name": "metrics", "protocol": "TCP"}),
    ];
    if hooks.any() {
        ports.insert(
            0,
            json!({"containerPort": 9443, "name": "webhook-server", "protocol": "TCP"}),
        );
    }
    let mut startup = probe("/readyz");
    startup["periodSeconds"] = json!(2);
    startup["failureThreshold"] = json!(150);
    let (request, limit) = provider.memory;
    let container = json!({
        "name": "manager",
        "image": format!("{REGISTRY}/{}:{VERSION}", provider.folder),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/manager"],
        "args": arguments(provider, value),
        "env": [
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_NAME", "metadata.name"),
            field("POD_IP", "status.podIP"),
        ],
        "ports": ports,
        "startupProbe": startup,
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        "resources": {"requests": {"cpu": "20m", "memory": request}, "limits": {"cpu": "2", "memory": limit}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": USER,
            "runAsUser": USER,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    let tolerated = |key: &str| json!({"effect": "NoSchedule", "key": key});
    let (replicas, strategy) = match provider.replicated {
        true => {
            let rolling = json!({"maxSurge": 1, "maxUnavailable": 0});
            (2, json!({"type": "RollingUpdate", "rollingUpdate": rolling}))
        }
        false => (1, json!({"type": "Recreate"})),
    };
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": provider.manager, "namespace": provider.namespace, "labels": pod_labels(provider),
        },
        "spec": {
            "replicas": replicas,
            "strategy": strategy,
            "selector": {"matchLabels": pod_labels(provider)},
            "template": {
                "metadata": {
                    "labels": pod_labels(provider),
                    "annotations": {"kubectl.kubernetes.io/default-container": "manager"},
                },
                "spec": {
                    "containers": [container],
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "serviceAccountName": provider.service_account(),
                    // Longer than a manager waits for reconciles in flight.
                    "terminationGracePeriodSeconds": 30,
                    "tolerations": [
                        tolerated("node-role.kubernetes.io/control-plane"),
                        tolerated("node-role.kubernetes.io/master"),
                    ],
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": pod_labels(provider)},
                    }],
                },
            },
        },
    })
}

/// The value of a flag that nobody sets.
pub fn default_value(flag: &Flag) -> String {
    flag.default.to_owned()
}

/// The value of a flag as a variable of the components file.
pub fn variable(flag: &Flag) -> String {
    format!("${{{}:={}}}", flag.variable, flag.default)
}

/// The arguments of a manager.
fn arguments(provider: &Provider, value: fn(&Flag) -> String) -> Vec<String> {
    let shared = provider.replicated.then(|| "--leader-elect".to_owned());
    let flag = |flag: &Flag| format!("--{}={}{}", flag.name, flag.prefix, value(flag));
    shared
        .into_iter()
        .chain(provider.flags.iter().map(flag))
        .collect()
}

/// Which contract each release series follows.
pub fn metadata() -> Value {
    let mut numbers = env!("CARGO_PKG_VERSION")
        .split('.')
        .map(|number| number.parse::<i32>().unwrap_or_default());
    let (major, minor) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    json!({
        "apiVersion": "clusterctl.cluster.x-k8s.io/v1alpha3", "kind": "Metadata",
        "releaseSeries": [{"major": major, "minor": minor, "contract": "v1beta2"}],
    })
}

/// For `kubectl apply -k`.
pub fn kustomization(resources: Vec<String>) -> Value {
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": resources,
    })
}

/// How the image is built: a static program on distroless, the same bytes from the same commit.
pub fn container_file(provider: &Provider) -> String {
    let program = provider.folder;
    format!(
        r#"# The image of the {program} manager; build it from the root of the repository:
#
#   docker buildx build -f deploy/{program}/Containerfile -t {REGISTRY}/{program}:{VERSION} \
#     --build-arg BUILDER=rust:1.95-alpine@sha256:... --build-arg BASE=gcr.io/distroless/static:nonroot@sha256:... \
#     --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) --output type=image,rewrite-timestamp=true .
#
# One commit and the same two digests give the same bytes: dependencies are locked, paths and build ids are taken out.
ARG BUILDER=rust:1.95-alpine
ARG BASE=gcr.io/distroless/static:nonroot

FROM ${{BUILDER}} AS build
RUN apk add --no-cache build-base cmake perl linux-headers
WORKDIR /source
COPY . .
ARG SOURCE_DATE_EPOCH=0
# musl links statically; one codegen unit keeps the order of what is linked.
ENV CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_INCREMENTAL=0 \
    RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,--build-id=none --remap-path-prefix=/source=. --remap-path-prefix=/usr/local/cargo=cargo"
RUN cargo build --locked --release -p {program} --bin {program} && cp target/release/{program} /manager

FROM ${{BASE}}
COPY --from=build --chmod=0755 /manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
"#
    )
}
