use capi_api::bootstrap::v1beta2::{
    DiskSetup, Encoding, Filesystem, NTP, Partition, PartitionSpec, PartitionTableType, User,
};

use super::*;

fn init() -> MachineSetup {
    MachineSetup::new(Action::Init {
        cluster_configuration: "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n".to_owned(),
        init_configuration: "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n".to_owned(),
    })
}

fn join(control_plane: bool) -> MachineSetup {
    let join_configuration = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n".to_owned();
    MachineSetup::new(if control_plane {
        Action::JoinControlPlane { join_configuration }
    } else {
        Action::JoinWorker { join_configuration }
    })
}

/// Every field that a machine can have.
fn everything() -> MachineSetup {
    let user = User {
        name: "ops".to_owned(),
        gecos: Some("Operator: on call".to_owned()),
        groups: Some("wheel, docker".to_owned()),
        home_dir: Some("/home/ops".to_owned()),
        shell: Some("/bin/bash".to_owned()),
        passwd: Some("$6$rounds=4096$salt$hash".to_owned()),
        primary_group: Some("ops".to_owned()),
        lock_password: Some(false),
        sudo: Some("ALL=(ALL) NOPASSWD:ALL".to_owned()),
        ssh_authorized_keys: vec!["ssh-ed25519 AAAA ops@example # laptop".to_owned()],
        ..User::default()
    };
    let partition = |device: &str, layout, disk_layout: Vec<PartitionSpec>| Partition {
        device: device.to_owned(),
        layout,
        overwrite: Some(false),
        table_type: Some(PartitionTableType::Gpt),
        disk_layout,
    };
    let share = |percentage, type_: Option<&str>| PartitionSpec {
        percentage,
        partition_type: type_.map(str::to_owned),
    };
    MachineSetup {
        certificates: vec![NodeFile::of_root(
            "/etc/kubernetes/pki/ca.crt",
            "0640",
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        )],
        files: vec![
            NodeFile {
                append: Some(true),
                ..NodeFile::of_root("/etc/motd", "0644", "hello\n\n  there: #1")
            },
            NodeFile {
                encoding: Some(Encoding::GzipBase64),
                ..NodeFile::of_root("/opt/blob", "0600", "H4sIAAAA")
            },
            NodeFile {
                path: "/opt/plain".to_owned(),
                content: "  indented first line\n".to_owned(),
                ..NodeFile::default()
            },
            NodeFile {
                path: "/opt/dos".to_owned(),
                content: "one\r\ntwo\r\n".to_owned(),
                ..NodeFile::default()
            },
        ],
        users: vec![
            user,
            User {
                name: "guest".to_owned(),
                ..User::default()
            },
        ],
        ntp: Some(NTP {
            servers: vec!["ntp.example".to_owned(), "10.0.0.1".to_owned()],
            enabled: Some(true),
        }),
        disk_setup: Some(DiskSetup {
            partitions: vec![
                partition("/dev/sdb", Some(true), vec![]),
                partition(
                    "/dev/sdc",
                    None,
                    vec![share(30, None), share(20, Some("LinuxSwap"))],
                ),
            ],
            filesystems: vec![Filesystem {
                device: "/dev/sdb".to_owned(),
                filesystem: "ext4".to_owned(),
                label: Some("etcd_disk".to_owned()),
                partition: Some("auto".to_owned()),
                overwrite: Some(false),
                extra_opts: vec![
                    "-E".to_owned(),
                    "lazy_itable_init=1,lazy_journal_init=1".to_owned(),
                ],
                ..Filesystem::default()
            }],
        }),
        mounts: vec![vec!["LABEL=etcd_disk".to_owned(), "/var/lib/etcddisk".to_owned()]],
        boot_commands: vec!["cloud-init-per once x date".to_owned()],
        pre_kubeadm_commands: vec![
            "hostnamectl set-hostname \"{{ ds.meta_data.hostname }}\"".to_owned(),
            "if true; then\n\techo 'a \\ b'\nfi".to_owned(),
        ],
        post_kubeadm_commands: vec!["echo done".to_owned()],
        verbosity: Some(4),
        ..init()
    }
}

#[track_caller]
fn assert_golden(name: &str, rendered: &str) {
    let path = format!("{}/testdata/cloud-init/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, rendered).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(rendered, want, "{path}; UPDATE_GOLDEN=1 rewrites it");
}

fn parse(rendered: &str) -> serde_json::Value {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(rendered, options).unwrap()
}

#[test]
fn documents_are_as_recorded() {
    assert_golden("init", &render(&init()));
    assert_golden("join-worker", &render(&join(false)));
    assert_golden("join-control-plane", &render(&join(true)));
    assert_golden("everything", &render(&everything()));
}

#[test]
fn a_machine_gets_every_file_and_value_unchanged() {
    let setup = everything();
    let document = parse(&render(&setup));
    let content = |index: usize| {
        document["write_files"][index]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(content(0), setup.certificates[0].content);
    assert_eq!(
        content(1),
        "hello\n\n  there: #1\n",
        "a literal block ends with one newline"
    );
    assert_eq!(content(3), "  indented first line\n");
    assert_eq!(content(4), "one\r\ntwo\r\n");
    assert_eq!(document["users"][0]["gecos"], "Operator: on call");
    assert_eq!(
        document["users"][0]["ssh_authorized_keys"][0],
        "ssh-ed25519 AAAA ops@example # laptop"
    );
    assert_eq!(document["runcmd"][1], "if true; then\n\techo 'a \\ b'\nfi");
    assert_eq!(
        document["disk_setup"]["/dev/sdc"]["layout"],
        serde_json::json!([30, [20, 82]])
    );
    assert_eq!(
        document["mounts"],
        serde_json::json!([["LABEL=etcd_disk", "/var/lib/etcddisk"]])
    );
}

#[test]
fn the_configuration_of_init_splits_into_three_parts() {
    let document = parse(&render(&init()));
    let file = &document["write_files"][0];
    assert_eq!(file["path"], INIT_CONFIG_PATH);
    let parts: Vec<&str> = file["content"].as_str().unwrap().split("---\n").collect();
    assert_eq!(parts.len(), 3);
    assert!(
        parts[0].is_empty()
            && parts[1].contains("ClusterConfiguration")
            && parts[2].contains("InitConfiguration")
    );
}

#[test]
fn only_a_control_plane_join_has_no_document_marker() {
    let content = |setup: &MachineSetup| {
        parse(&render(setup))["write_files"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(content(&join(false)).starts_with("---\n"));
    assert!(content(&join(true)).starts_with("apiVersion:"));
}

#[test]
fn empty_lists_and_halves_leave_no_key() {
    let setup = MachineSetup {
        ntp: Some(NTP::default()),
        disk_setup: Some(DiskSetup::default()),
        ..join(false)
    };
    assert_eq!(render(&setup), render(&join(false)));
}
