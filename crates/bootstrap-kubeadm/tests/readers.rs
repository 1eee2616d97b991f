//! Documents before those who read them in earnest: kubeadm and cloud-init, where they are installed. Both the recorded
//! ones and whole machines of every kind, rendered here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bootstrap_kubeadm::kubeadm::{
    ClusterValues, ConfigVersion, cluster_configuration, init_configuration, join_configuration,
};
use bootstrap_kubeadm::machine_setup::{Action, MachineSetup, NodeFile};
use bootstrap_kubeadm::{cloudinit, ignition};
use capi_api::bootstrap::v1beta2::{InitConfiguration, JoinConfiguration, KubeadmConfigSpec};
use serde_json::{Value, json};

/// A skip is said on standard error itself, past the test harness, so that it can be counted.
fn skip(why: &str) {
    let mut unseen_by_the_harness = std::io::stderr();
    writeln!(unseen_by_the_harness, "\nSKIPPED {why}").unwrap();
}

fn recorded(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The program that `KUBEADM` names, the one in the path, or the newest that hack/kubeadm/build made.
fn kubeadm() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KUBEADM").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    in_path("kubeadm").or_else(|| {
        let kept = std::env::var_os("KUBEADM_CACHE").map(PathBuf::from);
        let kept =
            kept.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache/capi-rs/kubeadm")))?;
        let mut built: Vec<PathBuf> = std::fs::read_dir(kept)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path().join("kubeadm")))
            .filter(|program| program.is_file())
            .collect();
        built.sort();
        built.pop()
    })
}

#[track_caller]
fn assert_accepts(command: &mut Command, what: &str, document: &str) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what}: {said}{}\n{document}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn spec(value: Value) -> KubeadmConfigSpec {
    serde_json::from_value(value).unwrap()
}

/// What a user can say, from nothing to nearly everything.
fn specs() -> Vec<(&'static str, KubeadmConfigSpec)> {
    let everything = json!({
        "clusterConfiguration": {
            "etcd": {"local": {"dataDir": "/var/lib/etcddisk/etcd", "extraArgs": [{"name": "quota-backend-bytes", "value": "8589934592"}]}},
            "apiServer": {
                "extraArgs": [{"name": "v", "value": "2"}, {"name": "profiling", "value": "false"}],
                "extraVolumes": [{"name": "audit", "hostPath": "/a", "mountPath": "/a", "readOnly": true, "pathType": "File"}],
                "certSANs": ["localhost"]},
            "controllerManager": {"extraEnvs": [{"name": "A", "value": "b"}]},
            "dns": {"imageRepository": "registry.example/dns"}, "featureGates": {"NodeLocalCRISocket": true},
            "certificateValidityPeriodDays": 30, "encryptionAlgorithm": "ECDSA-P384"},
        "initConfiguration": {
            "nodeRegistration": {"name": "{{ ds.meta_data.local_hostname }}", "kubeletExtraArgs": [{"name": "node-labels", "value": "a=b"}], "taints": []},
            "localAPIEndpoint": {"advertiseAddress": "10.0.0.4", "bindPort": 6444}, "skipPhases": ["addon/coredns"],
            "timeouts": {"controlPlaneComponentHealthCheckSeconds": 300}},
        "joinConfiguration": {
            "nodeRegistration": {"criSocket": "unix:///run/containerd/containerd.sock", "ignorePreflightErrors": ["all"]},
            "timeouts": {"controlPlaneComponentHealthCheckSeconds": 300, "tlsBootstrapSeconds": 120}},
        "users": [{"name": "ops", "groups": "wheel", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lockPassword": false, "sshAuthorizedKeys": ["ssh-ed25519 AAAA x"]}],
        "ntp": {"enabled": true, "servers": ["ntp.example"]},
        "diskSetup": {
            "partitions": [{"device": "/dev/sdb", "layout": true, "overwrite": false, "tableType": "gpt"}],
            "filesystems": [{"device": "/dev/sdb", "filesystem": "ext4", "label": "etcd_disk", "overwrite": false}]},
        "mounts": [["LABEL=etcd_disk", "/var/lib/etcddisk"]],
        "preKubeadmCommands": ["echo \"a: b\" # c"], "postKubeadmCommands": ["true\nfalse"], "verbosity": 5});
    vec![("nothing", spec(json!({}))), ("everything", spec(everything))]
}

/// Machines of every role, version and amount of settings, with their kubeadm documents.
fn machines() -> Vec<(String, MachineSetup, String)> {
    let mut machines = Vec::new();
    for version in ["v1.30.4", "v1.35.0"] {
        let api = ConfigVersion::for_kubernetes(version).unwrap();
        for (amount, spec) in specs() {
            let actions = [
                ("init", init(api, version, &spec)),
                ("control-plane", join(api, &spec, true)),
                ("worker", join(api, &spec, false)),
            ];
            for (role, (action, document)) in actions {
                machines.push((
                    format!("{version}-{amount}-{role}"),
                    machine(&spec, action),
                    document,
                ));
            }
        }
    }
    machines
}

fn init(api: ConfigVersion, version: &str, spec: &KubeadmConfigSpec) -> (Action, String) {
    let values = ClusterValues {
        kubernetes_version: Some(version.to_owned()),
        cluster_name: Some("demo".to_owned()),
        control_plane_endpoint: Some("10.0.0.9:6443".to_owned()),
        service_subnet: Some("10.96.0.0/12".to_owned()),
        pod_subnet: Some("192.168.0.0/16".to_owned()),
        dns_domain: Some("cluster.local".to_owned()),
    };
    let init: InitConfiguration = spec.init_configuration.clone().unwrap_or_default();
    let cluster = spec.cluster_configuration.clone().unwrap_or_default();
    let cluster_configuration = cluster_configuration(api, &cluster, &init, &values).unwrap();
    let init_configuration = init_configuration(api, &init).unwrap();
    let document = format!("---\n{cluster_configuration}\n---\n{init_configuration}");
    let action = Action::Init {
        cluster_configuration,
        init_configuration,
    };
    (action, document)
}

fn join(api: ConfigVersion, spec: &KubeadmConfigSpec, control_plane: bool) -> (Action, String) {
    let mut join: JoinConfiguration = spec.join_configuration.clone().unwrap_or_default();
    join.discovery = serde_json::from_value(json!({"bootstrapToken": {
        "token": "abcdef.0123456789abcdef", "apiServerEndpoint": "10.0.0.9:6443",
        "caCertHashes": [format!("sha256:{}", "0a".repeat(32))]}}))
    .unwrap();
    join.control_plane = control_plane.then(Default::default);
    let join_configuration = join_configuration(api, &join).unwrap();
    let document = join_configuration.clone();
    let action = match control_plane {
        true => Action::JoinControlPlane { join_configuration },
        false => Action::JoinWorker { join_configuration },
    };
    (action, document)
}

fn machine(spec: &KubeadmConfigSpec, action: Action) -> MachineSetup {
    let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    MachineSetup {
        certificates: vec![NodeFile::of_root(
            "/etc/kubernetes/pki/ca.crt",
            "0640",
            certificate,
        )],
        files: vec![NodeFile::of_root("/etc/a", "0644", "text: \"x\"\n\n  more")],
        users: spec.users.clone(),
        ntp: spec.ntp.clone(),
        disk_setup: spec.disk_setup.clone(),
        mounts: spec.mounts.clone(),
        pre_kubeadm_commands: spec.pre_kubeadm_commands.clone(),
        post_kubeadm_commands: spec.post_kubeadm_commands.clone(),
        verbosity: spec.verbosity,
        ..MachineSetup::new(action)
    }
}

/// kubeadm 1.31 to 1.36 reads both versions of its configuration.
#[test]
fn kubeadm_accepts_every_configuration() {
    let Some(kubeadm) = kubeadm() else {
        return skip("kubeadm's verdict: there is no kubeadm (run hack/kubeadm/build, or set KUBEADM)");
    };
    let mut documents: Vec<(String, String)> = Vec::new();
    for path in recorded("kubeadm") {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut document = std::fs::read_to_string(&path).unwrap();
        if let Some(version) = name.strip_suffix("-cluster") {
            let init = std::fs::read_to_string(path.with_file_name(format!("{version}-init.yaml"))).unwrap();
            document = format!("---\n{document}\n---\n{init}");
        }
        documents.push((name, document));
    }
    documents.extend(machines().into_iter().map(|(name, _, document)| {
        // cloud-init replaces the one before kubeadm sees it; the other is for a kubeadm of that age, which reads the same.
        let document = document.replace("{{ ds.meta_data.local_hostname }}", "node-1");
        let document = document.replace("kubernetesVersion: v1.30.4", "kubernetesVersion: v1.35.0");
        (name, document)
    }));
    let folder = tempfile::tempdir().unwrap();
    // kubeadm looks whether the file for discovery is there.
    let discovery = folder.path().join("discovery.conf");
    std::fs::write(&discovery, "").unwrap();
    for (name, document) in documents {
        let document = document.replace("/etc/kubernetes/discovery.conf", discovery.to_str().unwrap());
        let file = folder.path().join(&name);
        std::fs::write(&file, &document).unwrap();
        let mut command = Command::new(&kubeadm);
        command.args(["config", "validate", "--config"]).arg(&file);
        assert_accepts(&mut command, &name, &document);
    }
}

/// cloud-init checks what is left when its template engine has run, so the first line goes.
#[test]
fn cloud_init_accepts_every_document() {
    let named = std::env::var_os("CLOUD_INIT").map(PathBuf::from);
    let Some(cloud_init) = named.or_else(|| in_path("cloud-init")) else {
        return skip("cloud-init's verdict: there is no cloud-init (Debian package cloud-init)");
    };
    let of_file = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    let mut documents: Vec<(String, String)> = recorded("cloud-init").into_iter().map(of_file).collect();
    documents.extend(
        machines()
            .into_iter()
            .map(|(name, setup, _)| (name, cloudinit::render(&setup))),
    );
    let folder = tempfile::tempdir().unwrap();
    for (name, document) in documents {
        let rendered = document.strip_prefix("## template: jinja\n").unwrap();
        let file = folder.path().join(&name);
        std::fs::write(&file, rendered).unwrap();
        let mut command = Command::new(&cloud_init);
        command.args(["schema", "-c"]).arg(&file);
        assert_accepts(&mut command, &name, rendered);
    }
}

/// What kubeadm reads comes out of both formats as it was put in.
#[test]
fn the_configuration_travels_unchanged_in_both_formats() {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    for (name, setup, document) in machines() {
        let parts = |text: &str| -> Vec<Value> {
            let documents = text.split("\n---\n").map(|part| part.trim_start_matches("---\n"));
            documents
                .map(|part| serde_saphyr::from_str(part).unwrap())
                .collect()
        };
        let cloud: Value =
            serde_saphyr::from_str_with_options(&cloudinit::render(&setup), options.clone()).unwrap();
        let files = cloud["write_files"].as_array().unwrap();
        let file = files
            .iter()
            .find(|file| file["path"].as_str().unwrap().starts_with("/run/kubeadm/"))
            .unwrap();
        assert_eq!(
            parts(file["content"].as_str().unwrap()),
            parts(&document),
            "{name}"
        );

        let json = ignition::render(&setup).unwrap().json;
        let made: Value = serde_json::from_str(&json).unwrap();
        let files = made["storage"]["files"].as_array().unwrap();
        let file = files
            .iter()
            .find(|file| file["path"] == ignition::CONFIG_PATH)
            .unwrap();
        let text = percent_decoded(file["contents"]["source"].as_str().unwrap());
        assert_eq!(parts(&text), parts(&document), "{name}");
    }
}

fn percent_decoded(url: &str) -> String {
    let mut parts = url.strip_prefix("data:,").unwrap().split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
