use capi_api::bootstrap::v1beta2::{
    ContainerLinuxConfig, DiskSetup, Encoding, Filesystem, NTP, Partition, PartitionTableType, User,
};
use serde_json::{Value, json};

use super::*;
use crate::machine_setup::{Action, NodeFile};

fn join() -> MachineSetup {
    MachineSetup::new(Action::JoinWorker {
        join_configuration: "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n".to_owned(),
    })
}

fn init() -> MachineSetup {
    MachineSetup::new(Action::Init {
        cluster_configuration: "kind: ClusterConfiguration\n".to_owned(),
        init_configuration: "kind: InitConfiguration\n".to_owned(),
    })
}

fn file(path: &str, owner: &str, permissions: &str, content: &str) -> NodeFile {
    NodeFile {
        path: path.to_owned(),
        owner: owner.to_owned(),
        permissions: permissions.to_owned(),
        content: content.to_owned(),
        ..NodeFile::default()
    }
}

/// Every field that a machine with Ignition can have.
fn everything() -> MachineSetup {
    let user = User {
        name: "foo".to_owned(),
        gecos: Some("Foo B. Bar".to_owned()),
        groups: Some("foo, bar".to_owned()),
        home_dir: Some("/home/foo".to_owned()),
        shell: Some("/bin/false".to_owned()),
        passwd: Some("$6$salt$hash".to_owned()),
        primary_group: Some("foo".to_owned()),
        lock_password: Some(false),
        sudo: Some("ALL=(ALL) NOPASSWD:ALL".to_owned()),
        ssh_authorized_keys: vec!["ssh-ed25519 AAAA foo".to_owned(), "bar".to_owned()],
        ..User::default()
    };
    let other = User {
        name: "other".to_owned(),
        lock_password: Some(false),
        ..User::default()
    };
    MachineSetup {
        certificates: vec![NodeFile::of_root("/etc/kubernetes/pki/ca.crt", "0640", "PEM\n")],
        files: vec![
            NodeFile {
                encoding: Some(Encoding::Base64),
                ..file("/etc/testfile.yaml", "nobody:nobody", "0600", "Zm9v\nCg==")
            },
            NodeFile {
                append: Some(true),
                ..file("/etc/motd", ":wheel", "644", "<b> & \"more\"\n\n")
            },
            file("/etc/plain", "nobody", "", "  indented"),
        ],
        users: vec![user, other],
        ntp: Some(NTP {
            servers: vec!["foo.bar".to_owned(), "baz".to_owned()],
            enabled: Some(true),
        }),
        disk_setup: Some(DiskSetup {
            partitions: vec![Partition {
                device: "/dev/disk/azure/scsi1/lun0".to_owned(),
                layout: Some(true),
                overwrite: Some(true),
                table_type: Some(PartitionTableType::Gpt),
                disk_layout: Vec::new(),
            }],
            filesystems: vec![Filesystem {
                device: "/dev/disk/azure/scsi1/lun0".to_owned(),
                filesystem: "ext4".to_owned(),
                label: Some("test_disk".to_owned()),
                overwrite: Some(true),
                extra_opts: vec!["-F".to_owned(), "-E".to_owned(), "lazy_itable_init=1".to_owned()],
                ..Filesystem::default()
            }],
        }),
        mounts: vec![vec!["test_disk".to_owned(), "/var/lib/test-dir".to_owned(), "defaults".to_owned(), "nofail".to_owned()]],
        pre_kubeadm_commands: vec![
            "pre-command".to_owned(),
            "cat <<EOF > /etc/modules-load.d/containerd.conf\noverlay\nbr_netfilter\nEOF\n".to_owned(),
        ],
        post_kubeadm_commands: vec!["post-command".to_owned()],
        verbosity: Some(4),
        container_linux_config: Some(ContainerLinuxConfig {
            additional_config: Some(
                "systemd:\n  units:\n  - name: kubeadm.service\n    dropins:\n    - name: 10-flatcar.conf\n      contents: |\n        [Service]\n        Environment=A=b\n"
                    .to_owned(),
            ),
            strict: Some(true),
        }),
        ..init()
    }
}

#[track_caller]
fn assert_golden(name: &str, setup: &MachineSetup) {
    let rendered = render(setup).unwrap();
    assert!(rendered.warnings.is_empty());
    let path = format!("{}/testdata/ignition/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, &rendered.json).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(rendered.json, want, "{path}; UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn documents_are_as_recorded() {
    assert_golden("init", &init());
    assert_golden("join", &join());
    assert_golden("everything", &everything());
}

/// The text of a data URL.
fn decoded(source: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = source.strip_prefix("data:,").unwrap().bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().unwrap(), rest.next().unwrap()];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

fn document(setup: &MachineSetup) -> Value {
    serde_json::from_str(&render(setup).unwrap().json).unwrap()
}

fn content(document: &Value, path: &str) -> String {
    let files = document["storage"]["files"].as_array().unwrap();
    let file = files.iter().find(|file| file["path"] == path).unwrap();
    decoded(file["contents"]["source"].as_str().unwrap())
}

#[test]
fn a_machine_gets_its_script_and_its_files() {
    let document = document(&everything());
    assert_eq!(
        content(&document, "/etc/kubeadm.sh"),
        "#!/bin/bash\nset -e\n\npre-command\ncat <<EOF > /etc/modules-load.d/containerd.conf\noverlay\nbr_netfilter\nEOF\n\n\n\
         kubeadm init --config /etc/kubeadm.yml --v 4\nmkdir -p /run/cluster-api && echo success > \
         /run/cluster-api/bootstrap-success.complete\nmv /etc/kubeadm.yml /tmp/\n\npost-command\n"
    );
    assert_eq!(
        content(&document, "/etc/kubeadm.yml"),
        "---\nkind: ClusterConfiguration\n\n---\nkind: InitConfiguration\n"
    );
    for (path, want) in [
        ("/etc/sudoers.d/foo", "foo ALL=(ALL) NOPASSWD:ALL\n"),
        ("/etc/testfile.yaml", "foo\n"),
        ("/etc/motd", "<b> & \"more\"\n"),
        ("/etc/plain", "  indented\n"),
        ("/etc/kubernetes/pki/ca.crt", "PEM\n"),
    ] {
        assert_eq!(content(&document, path), want, "{path}");
    }
    assert!(
        content(&document, "/etc/ssh/sshd_config")
            .ends_with("Match User foo,other\n  PasswordAuthentication yes\n")
    );
    assert!(content(&document, "/etc/ntp.conf").contains("\nserver foo.bar\nserver baz\n"));
    let modes: Vec<i64> = document["storage"]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["mode"].as_i64().unwrap())
        .collect();
    assert_eq!(
        modes,
        [0o600, 0o600, 0o640, 0o600, 0o644, 0o644, 0o700, 0o600, 0o644]
    );
    let units: Vec<&str> = document["systemd"]["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        units,
        [
            "kubeadm.service",
            "ntpd.service",
            "var-lib-test\\x2ddir.mount",
            "kubeadm.service"
        ]
    );
    assert!(
        document["systemd"]["units"][2]["contents"]
            .as_str()
            .unwrap()
            .contains("\nWhat=/dev/disk/azure/scsi1/lun0\n")
    );
}

#[test]
fn empty_parts_are_written_as_go_writes_them() {
    let json = render(&join()).unwrap().json;
    assert!(json.starts_with(
        r#"{"ignition":{"config":{},"security":{"tls":{}},"timeouts":{},"version":"2.3.0"},"networkd":{},"passwd":{},"storage":{"files":[{"filesystem":"root","path":"/etc/kubeadm.sh","contents":{"source":"data:,%23!%2Fbin%2Fbash%0A"#
    ));
    assert!(render(&everything()).unwrap().json.contains(r"[Mount]\nWhat="));
}

#[test]
fn what_ignition_has_no_place_for_is_named() {
    let disks = |partition: Value, filesystem: Value| -> DiskSetup {
        serde_json::from_value(json!({"partitions": [partition], "filesystems": [filesystem]})).unwrap()
    };
    let partition = json!({"device": "/dev/sdb", "layout": false});
    let filesystem = json!({"device": "/dev/sdb", "filesystem": "ext4", "label": "data"});
    let with_disks = |partition: &Value, filesystem: &Value| MachineSetup {
        disk_setup: Some(disks(partition.clone(), filesystem.clone())),
        ..join()
    };
    let inactive = User {
        name: "a".to_owned(),
        inactive: Some(true),
        ..User::default()
    };
    let gzip = NodeFile {
        encoding: Some(Encoding::Gzip),
        ..file("/a", "", "0600", "x")
    };
    let no_base64 = NodeFile {
        encoding: Some(Encoding::Base64),
        ..file("/a", "", "0600", "not base64!")
    };
    for (setup, want) in [
        (
            MachineSetup {
                users: vec![inactive],
                ..join()
            },
            "spec.users[0].inactive cannot be used with format ignition",
        ),
        (
            MachineSetup {
                files: vec![gzip],
                ..join()
            },
            "spec.files (/a) encoding cannot be gzip",
        ),
        (
            MachineSetup {
                files: vec![no_base64],
                ..join()
            },
            "spec.files (/a) content is not base64",
        ),
        (
            MachineSetup {
                files: vec![file("/a", "", "rw", "x")],
                ..join()
            },
            "spec.files (/a) permissions are not octal digits",
        ),
        (
            MachineSetup {
                files: vec![file("a", "", "", "x")],
                ..join()
            },
            "storage.files[0].path: must be an absolute path",
        ),
        (
            MachineSetup {
                boot_commands: vec!["x".to_owned()],
                ..join()
            },
            "spec.bootCommands cannot be used",
        ),
        (
            MachineSetup {
                mounts: vec![vec!["x".to_owned()]],
                ..join()
            },
            "spec.mounts[0] needs two items",
        ),
        (
            MachineSetup {
                mounts: vec![vec!["x".to_owned(), "/y".to_owned()]],
                ..join()
            },
            "spec.mounts[0][0] is \"x\", which is neither",
        ),
        (
            with_disks(
                &json!({"device": "/dev/sdb", "diskLayout": [{"percentage": 50}]}),
                &filesystem,
            ),
            "spec.diskSetup.partitions[0].diskLayout cannot be used",
        ),
        (
            with_disks(&partition, &json!({"device": "/dev/sdb", "filesystem": "ntfs"})),
            "storage.filesystems[0].mount.format: must be one of",
        ),
        (
            with_disks(
                &partition,
                &json!({"device": "/dev/sdb", "filesystem": "xfs", "label": "longer-than-xfs"}),
            ),
            "storage.filesystems[0].mount.label: must not be longer than 12",
        ),
    ] {
        let error = render(&setup).err().unwrap().to_string();
        assert!(error.contains(want), "{error}\n  lacks {want}");
    }
    let good = with_disks(&partition, &filesystem);
    let good = MachineSetup {
        mounts: vec![
            vec!["LABEL=data".to_owned(), "/data".to_owned()],
            vec!["/dev/sdc".to_owned(), "/other".to_owned()],
        ],
        ntp: Some(NTP {
            enabled: Some(false),
            servers: vec!["x".to_owned()],
        }),
        ..good
    };
    let document = document(&good);
    assert_eq!(
        document["storage"]["disks"],
        json!([{"device": "/dev/sdb"}]),
        "layout false makes no partition"
    );
    let units: Vec<&str> = document["systemd"]["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        units,
        ["kubeadm.service", "data.mount", "other.mount"],
        "ntp.enabled false starts nothing"
    );
}

#[test]
fn strictness_turns_doubts_into_errors() {
    let with = |config: &str, strict| MachineSetup {
        container_linux_config: Some(ContainerLinuxConfig {
            additional_config: Some(config.to_owned()),
            strict: Some(strict),
        }),
        ..join()
    };
    let doubtful = "storage:\n  files:\n  - path: /foo\n    contents:\n      inline: foo\n";
    let warned = render(&with(doubtful, false)).unwrap();
    assert_eq!(
        warned.warnings,
        ["storage.files[0].mode: is not set, so that it will be 0644"]
    );
    assert!(
        warned
            .json
            .contains(r#""path":"/foo","contents":{"source":"data:,foo","verification":{}},"mode":420}"#)
    );
    let error = render(&with(doubtful, true)).err().unwrap();
    assert_eq!(
        error.to_string(),
        "spec.ignition.containerLinuxConfig.additionalConfig cannot be used: storage.files[0].mode: is not set, so that it will be 0644"
    );
    assert!(render(&with("storage: [", false)).is_err());
}

/// What upstream's compiler (container-linux-config-transpiler 0.9.4) makes of a list of configurations. Where it differs
/// here, `differs` says how.
#[test]
fn additional_configurations_compile_as_upstreams() {
    let recorded: Value =
        serde_json::from_str(include_str!("../../testdata/ignition/compiled.json")).unwrap();
    let mut differences = Vec::new();
    for case in recorded.as_array().unwrap() {
        let mut reports = Reports::default();
        let config = case["config"].as_str().unwrap();
        let made = container_linux::compile(config, &mut reports);
        let (fails, doubtful) = (made.is_none() || reports.has_errors(), !reports.is_empty());
        let json = made
            .filter(|_| !fails)
            .map(|made| made.to_json().unwrap())
            .unwrap_or_default();
        let want = (
            case["fails"] == true,
            case["doubtful"] == true,
            case["json"].as_str().unwrap_or_default().to_owned(),
        );
        let same = (fails, doubtful, json.clone()) == want;
        if same == case["differs"].is_string() {
            differences.push(format!(
                "{config}\n  here: {fails} {doubtful} {json} {:?}\n  Go:   {want:?}",
                reports.texts()
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
