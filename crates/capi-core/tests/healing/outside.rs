//! Machines that somebody outside remediates, asked by a request made from a template.

use super::*;

const GROUP: &str = "remediation.example.com";

fn remediation_api(world: &World, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: GROUP.into(),
        version: "v1".into(),
        api_version: format!("{GROUP}/v1"),
        kind: kind.into(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    Api::namespaced_with(world.client.clone(), "default", &resource)
}

/// The kinds of a remediation controller that knows nothing of contracts, or one that does.
async fn remediation_kinds(world: &World, labelled: bool) {
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    for kind in ["FakeRemediation", "FakeRemediationTemplate"] {
        let plural = format!("{}s", kind.to_lowercase());
        let labels = if labelled {
            json!({ "cluster.x-k8s.io/v1beta2": "v1" })
        } else {
            json!({})
        };
        let definition: CustomResourceDefinition = serde_json::from_value(json!({
            "metadata": { "name": format!("{plural}.{GROUP}"), "labels": labels },
            "spec": { "group": GROUP, "scope": "Namespaced",
                "names": { "plural": plural, "kind": kind, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
                "versions": [{ "name": "v1", "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }] } }))
        .unwrap();
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
    }
}

async fn create_template(world: &World) {
    let template: DynamicObject = serde_json::from_value(json!({ "apiVersion": format!("{GROUP}/v1"),
        "kind": "FakeRemediationTemplate", "metadata": { "name": "t", "namespace": "default" },
        "spec": { "template": { "spec": { "how": "reboot" } } } }))
    .unwrap();
    remediation_api(world, "FakeRemediationTemplate")
        .create(&PostParams::default(), &template)
        .await
        .unwrap();
}

async fn remediated_outside(seed: u64, labelled: bool) {
    let world = up(seed, 2).await;
    remediation_kinds(&world, labelled).await;
    let reference =
        json!({ "apiVersion": format!("{GROUP}/v1"), "kind": "FakeRemediationTemplate", "name": "t" });
    checked(&world, json!({ "templateRef": reference })).await;
    let before = names(&world).await;
    set_ready(&world, &before[0], "False").await;
    // The template is missed first.
    eventually("the missing template is named", || async {
        let machine: Machine = world.get(&before[0]).await;
        get(&machine, "ExternallyRemediated").is_some_and(|c| c.reason == "RemediationTemplateNotFound")
    })
    .await;
    create_template(&world).await;
    let requests = remediation_api(&world, "FakeRemediation");
    eventually("there is a request", || async {
        requests.get_opt(&before[0]).await.unwrap().is_some()
    })
    .await;
    let request = requests.get(&before[0]).await.unwrap();
    assert_eq!(request.data["spec"]["how"], "reboot");
    assert_eq!(request.labels()["cluster.x-k8s.io/cluster-name"], "c");
    assert_eq!(request.annotations()[annotations::CLONED_FROM_NAME], "t");
    let owner = &request.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str()),
        ("Machine", before[0].as_str())
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    let machine: Machine = world.get(&before[0]).await;
    let condition = get(&machine, "ExternallyRemediated").unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("False", "WaitingForRemediation")
    );
    assert!(get(&machine, "OwnerRemediated").is_none() && machine.metadata.deletion_timestamp.is_none());
    world.requests.take_writes();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.requests.take_writes(), Vec::<String>::new());
    set_ready(&world, &before[0], "True").await;
    eventually("the request is taken back", || async {
        requests.get_opt(&before[0]).await.unwrap().is_none()
            && is_true(&world.get::<Machine>(&before[0]).await, "HealthCheckSucceeded")
    })
    .await;
    assert_eq!(names(&world).await, before);
}

#[tokio::test(start_paused = true)]
async fn somebody_outside_is_asked_by_a_request_that_is_taken_back_when_the_machine_is_well() {
    remediated_outside(28, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_remediation_kind_needs_no_contract_labels() {
    remediated_outside(29, false).await;
}
