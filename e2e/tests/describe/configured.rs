//! What users write wrong, and nobody could refuse.

use e2e::scenario::{self, NEW_VERSION, SMALL, WORKERS};
use e2e::simulation::Simulation;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{ListParams, Patch},
};
use serde_json::json;

use super::{Case, case};

/// An infrastructure cluster of somebody else's.
const OTHER_CLUSTER: &str = "apiVersion: infrastructure.cluster.x-k8s.io/v1beta2\nkind: OtherCluster\nmetadata: {name: quickstart}\nspec: {}\n";

/// The manifest with one text in it replaced.
fn with(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "the manifest has {from}");
    SMALL.replace(from, to)
}

/// The manifest with the reference of the MachineDeployment to a template replaced.
fn workers_with(kind: &str, other_kind: &str, name: &str) -> String {
    let from = format!("          kind: {kind}\n          name: {WORKERS}");
    let from = match SMALL.contains(&from) {
        true => from,
        false => format!("        kind: {kind}\n        name: {WORKERS}"),
    };
    let to = from.replace(kind, other_kind).replace(WORKERS, name);
    with(&from, &to)
}

/// The manifest with another version of the workers.
fn workers_of_version(version: &str) -> String {
    let own = "version: v1.35.0";
    let (before, after) = SMALL
        .rsplit_once(own)
        .unwrap_or_else(|| panic!("the manifest has {own}"));
    assert!(
        before.contains("kind: MachineDeployment"),
        "the workers come last in the manifest"
    );
    format!("{before}version: {version}{after}")
}

async fn files(s: &Simulation, files: serde_json::Value) -> Result<(), String> {
    scenario::create(s, SMALL, 3).await?;
    let change = json!({"spec": {"template": {"spec": {"files": files}}}});
    scenario::patch(s, "KubeadmConfigTemplate", WORKERS, change).await?;
    scenario::scale_workers(s, 3).await
}

/// Lets three more workers boot, and does something to every bootstrap token before they use it.
async fn tokens(
    s: &Simulation,
    each: impl AsyncFn(&Api<Secret>, &str) -> Result<(), kube::Error>,
) -> Result<(), String> {
    scenario::create(s, SMALL, 3).await?;
    scenario::scale_workers(s, 3).await?;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let client = scenario::workload(s).ok_or("no workload cluster")?;
    let secrets: Api<Secret> = Api::namespaced(client, "kube-system");
    let all = secrets.list(&ListParams::default()).await;
    let all = all.map_err(|e| e.to_string())?;
    let tokens = all
        .iter()
        .filter(|secret| secret.type_.as_deref() == Some("bootstrap.kubernetes.io/token"));
    for token in tokens {
        let name = token.metadata.name.clone().unwrap_or_default();
        each(&secrets, &name).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// A manifest that no admission rule has seen.
fn stored(what: &'static str, manifest: String) -> Case {
    Case {
        stored: Some(manifest),
        ..case(what, |_| Box::pin(async { Ok(()) }))
    }
}

pub fn cases() -> Vec<Case> {
    vec![
        case("the Cluster refers to a DevCluster that does not exist", |s| {
            Box::pin(async {
                let text = with(
                    "    kind: DevCluster\n    name: quickstart",
                    "    kind: DevCluster\n    name: other",
                );
                scenario::apply(s, &text).await
            })
        }),
        case("the Cluster refers to a control plane that does not exist", |s| {
            Box::pin(async {
                let from = "    kind: KubeadmControlPlane\n    name: quickstart-control-plane";
                let to = "    kind: KubeadmControlPlane\n    name: other";
                scenario::apply(s, &with(from, to)).await
            })
        }),
        case(
            "the infrastructure template of the control plane does not exist",
            |s| {
                Box::pin(async {
                    let from = "        kind: DevMachineTemplate\n        name: quickstart-control-plane";
                    let to = "        kind: DevMachineTemplate\n        name: other";
                    scenario::apply(s, &with(from, to)).await
                })
            },
        ),
        case("the infrastructure template of the workers does not exist", |s| {
            Box::pin(async {
                scenario::apply(
                    s,
                    &workers_with("DevMachineTemplate", "DevMachineTemplate", "other"),
                )
                .await
            })
        }),
        case("the bootstrap template of the workers does not exist", |s| {
            Box::pin(async {
                let text = workers_with("KubeadmConfigTemplate", "KubeadmConfigTemplate", "other");
                scenario::apply(s, &text).await
            })
        }),
        case("the workers refer to a kind that no provider serves", |s| {
            Box::pin(async {
                scenario::apply(
                    s,
                    &workers_with("DevMachineTemplate", "OtherMachineTemplate", WORKERS),
                )
                .await
            })
        }),
        case("the Cluster refers to a kind that no provider serves", |s| {
            Box::pin(async {
                let text = with(
                    "    kind: DevCluster\n    name: quickstart",
                    "    kind: OtherCluster\n    name: quickstart",
                );
                scenario::apply(s, &text).await
            })
        }),
        case(
            "the Cluster refers to a kind whose definition lacks the contract label",
            |s| {
                Box::pin(async {
                    foreign(s, false).await?;
                    scenario::apply(s, OTHER_CLUSTER).await?;
                    let text = with(
                        "    kind: DevCluster\n    name: quickstart",
                        "    kind: OtherCluster\n    name: quickstart",
                    );
                    scenario::apply(s, &text).await
                })
            },
        ),
        case("no provider runs for the infrastructure of the Cluster", |s| {
            Box::pin(async {
                foreign(s, true).await?;
                let text = with(
                    "    kind: DevCluster\n    name: quickstart",
                    "    kind: OtherCluster\n    name: quickstart",
                );
                scenario::apply(s, &text).await?;
                scenario::apply(s, OTHER_CLUSTER).await
            })
        }),
        case("the Cluster is paused", |s| {
            Box::pin(async {
                scenario::apply(s, SMALL).await?;
                scenario::patch(s, "Cluster", scenario::CLUSTER, json!({"spec": {"paused": true}})).await
            })
        }),
        case("the MachineDeployment is paused by an annotation", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                let key = "cluster.x-k8s.io/paused";
                scenario::annotate(s, "MachineDeployment", WORKERS, key, Some("")).await?;
                scenario::scale_workers(s, 3).await
            })
        }),
        case(
            "the workers want a newer Kubernetes than the control plane has",
            |s| {
                Box::pin(async {
                    scenario::create(s, SMALL, 3).await?;
                    scenario::upgrade_workers(s, NEW_VERSION).await
                })
            },
        ),
        case("a file comes from a Secret that does not exist", |s| {
            Box::pin(async {
                let from =
                    json!([{"path": "/etc/x", "contentFrom": {"secret": {"name": "absent", "key": "x"}}}]);
                files(s, from).await
            })
        }),
        case("a file comes from a key that its Secret does not have", |s| {
            Box::pin(async {
                scenario::apply(
                    s,
                    "apiVersion: v1\nkind: Secret\nmetadata: {name: present}\nstringData: {y: z}\n",
                )
                .await?;
                let from =
                    json!([{"path": "/etc/x", "contentFrom": {"secret": {"name": "present", "key": "x"}}}]);
                files(s, from).await
            })
        }),
        case(
            "the bootstrap tokens of the workload cluster are deleted while workers boot",
            |s| {
                Box::pin(tokens(s, async |secrets, name| {
                    secrets.delete(name, &Default::default()).await.map(drop)
                }))
            },
        ),
        case(
            "the bootstrap token expired before the machine asked for its Node",
            |s| {
                Box::pin(tokens(s, async |secrets, name| {
                    let past = json!({"stringData": {"expiration": "2026-01-01T00:00:00Z"}});
                    let past = Patch::Merge(past);
                    secrets.patch(name, &Default::default(), &past).await.map(drop)
                }))
            },
        ),
        stored(
            "a bad CIDR that was stored before it was refused",
            with("[192.168.0.0/16]", "[192.168.0.0]"),
        ),
        stored(
            "a version of the control plane that was stored before it was refused",
            SMALL.replacen("version: v1.35.0", "version: v1.35", 1),
        ),
        stored(
            "a version of the workers that was stored before it was refused",
            workers_of_version("v1.35"),
        ),
        case("the CA Secret was deleted", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                scenario::delete_one(s, "Secret", "quickstart-ca").await?;
                scenario::scale_workers(s, 3).await
            })
        }),
        case("the CA Secret holds no certificate", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                let data = json!({"data": {"tls.crt": "bm9uc2Vuc2U="}});
                scenario::patch(s, "Secret", "quickstart-ca", data).await?;
                scenario::scale_workers(s, 3).await
            })
        }),
        case(
            "the kubeconfig was deleted, and the CA Secret holds no key to make another",
            |s| {
                Box::pin(async {
                    scenario::create(s, SMALL, 3).await?;
                    let keyless = json!({"data": {"tls.key": null}});
                    scenario::patch(s, "Secret", "quickstart-ca", keyless).await?;
                    scenario::delete_one(s, "Secret", "quickstart-kubeconfig").await
                })
            },
        )
        .after(400),
        case("the kubeconfig leads to another address", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                kubeconfig(s, |text| text.replace("https://127.0.0.1:", "https://10.0.0.1:")).await
            })
        })
        .after(400),
        case("the kubeconfig is not readable", |s| {
            Box::pin(async {
                scenario::create(s, SMALL, 3).await?;
                kubeconfig(s, |_| "nonsense".to_owned()).await
            })
        })
        .after(400),
        case(
            "a ClusterResourceSet names a ConfigMap that does not exist",
            |s| {
                Box::pin(async {
                    scenario::create(s, SMALL, 3).await?;
                    let key = json!({"metadata": {"labels": {"addons": "yes"}}});
                    scenario::patch(s, "Cluster", scenario::CLUSTER, key).await?;
                    scenario::apply(s, "apiVersion: addons.cluster.x-k8s.io/v1beta2\nkind: ClusterResourceSet\nmetadata: {name: addons}\nspec:\n  clusterSelector: {matchLabels: {addons: \"yes\"}}\n  resources: [{kind: ConfigMap, name: absent}]\n").await
                })
            },
        ),
    ]
}

/// Changes the text of the cluster's kubeconfig.
async fn kubeconfig(s: &Simulation, change: impl Fn(String) -> String) -> Result<(), String> {
    let secrets: Api<Secret> = Api::namespaced(s.client(), "default");
    let secret = secrets
        .get("quickstart-kubeconfig")
        .await
        .map_err(|e| e.to_string())?;
    let text = secret
        .data
        .unwrap_or_default()
        .remove("value")
        .unwrap_or_default();
    let text = change(String::from_utf8(text.0).map_err(|e| e.to_string())?);
    scenario::patch(
        s,
        "Secret",
        "quickstart-kubeconfig",
        json!({"stringData": {"value": text}}),
    )
    .await
}

/// Installs the definition of a foreign kind, with or without the label of the contract.
async fn foreign(s: &Simulation, labelled: bool) -> Result<(), String> {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let labels = match labelled {
        true => {
            json!({"cluster.x-k8s.io/v1beta2": "v1beta2", "cluster.x-k8s.io/provider": "infrastructure-other"})
        }
        false => json!({}),
    };
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "otherclusters.infrastructure.cluster.x-k8s.io", "labels": labels},
        "spec": {"group": "infrastructure.cluster.x-k8s.io", "scope": "Namespaced",
            "names": {"kind": "OtherCluster", "listKind": "OtherClusterList", "plural": "otherclusters", "singular": "othercluster"},
            "versions": [{"name": "v1beta2", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let definition: CustomResourceDefinition =
        serde_json::from_value(definition).map_err(|e| e.to_string())?;
    let api: Api<CustomResourceDefinition> = Api::all(s.client());
    let created = api.create(&Default::default(), &definition).await;
    created.map(drop).map_err(|e| e.to_string())
}
