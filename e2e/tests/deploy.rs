//! What is shipped is what the code says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: a failure is a panic"
)]

use std::{fs, path::Path};

use capictl::{
    components::{Components, documents},
    repository::{ProviderId, Repository},
};
use e2e::deploy::providers::PROVIDERS;

#[tokio::test]
async fn the_generated_files_are_up_to_date() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let files = e2e::deploy::files().await.unwrap();
    for (path, expected) in &files {
        let found = fs::read_to_string(deploy.join(path)).unwrap_or_default();
        assert!(
            found == *expected,
            "deploy/{path} is not what the code makes; run `make crds`"
        );
    }
    for provider in PROVIDERS {
        for entry in fs::read_dir(deploy.join(provider.folder).join("crds")).unwrap() {
            let path = format!(
                "{}/crds/{}",
                provider.folder,
                entry.unwrap().file_name().to_string_lossy()
            );
            assert!(files.contains_key(&path), "deploy/{path} belongs to no kind");
        }
    }
}

/// Objects of a release folder, as they are installed when nobody sets a variable.
fn installed(place: &Path, label: &str) -> Components {
    let repository = Repository::open(place).unwrap();
    let release = repository.find(&ProviderId::of_label(label), None).unwrap();
    assert_eq!(release.contract().unwrap(), "v1beta2");
    Components::of(release, None, &|_| None).unwrap()
}

#[tokio::test]
async fn a_release_without_variables_set_is_what_deploy_holds() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in e2e::deploy::release::release().await.unwrap() {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for provider in PROVIDERS {
        let (released, plain) = (
            installed(folder.path(), provider.label),
            installed(&deploy, provider.label),
        );
        assert_eq!(released.version, plain.version);
        assert_eq!(released.objects, plain.objects, "{}", provider.label);
        assert!(released.misnamed_definitions().is_empty());
    }
}

#[tokio::test]
async fn every_container_is_locked_down_and_watched() {
    for (path, text) in e2e::deploy::files().await.unwrap() {
        if !path.ends_with("/manager.yaml") {
            continue;
        }
        let objects = documents(&text).unwrap();
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true, "{path}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{path}");
        assert_eq!(security["capabilities"]["drop"][0], "ALL", "{path}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{path}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{path}"
        );
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert!(container[probe].is_object(), "{path}: {probe}");
        }
        assert!(container["resources"]["limits"]["memory"].is_string(), "{path}");
        // Nobody may do everything.
        for object in objects
            .iter()
            .filter(|object| object["kind"].as_str().unwrap().ends_with("Role"))
        {
            let rules = object["rules"].as_array().into_iter().flatten();
            for rule in rules {
                assert!(!rule["verbs"].as_array().unwrap().contains(&"*".into()), "{path}");
                assert!(
                    !rule["apiGroups"].as_array().unwrap().contains(&"*".into()),
                    "{path}"
                );
            }
        }
    }
}
