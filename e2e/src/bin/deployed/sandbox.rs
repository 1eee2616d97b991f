//! The surroundings of a pod's process: a network namespace with an address of its own, a mount namespace with a read-only
//! root and the ServiceAccount's files where a kubelet puts them, and a user without any privilege.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// The bridge that connects pods with the host, and the host's address on it.
pub const BRIDGE: &str = "pods";
const GATEWAY: &str = "10.244.0.1";
/// Where the host reaches the API server, also from pods: the address of the Service `kubernetes`.
pub const API_HOST: &str = "10.0.0.1";

/// A network namespace.
pub struct Sandbox {
    name: String,
    /// Its address.
    pub ip: String,
}

/// What a process is started with.
pub struct Process<'a> {
    pub program: &'a Path,
    pub arguments: &'a [String],
    pub environment: &'a [(String, String)],
    /// The folder with the ServiceAccount's token, authority and namespace.
    pub account: &'a Path,
    pub user: i64,
    pub group: i64,
    pub log: std::fs::File,
}

impl Sandbox {
    /// Makes the sandbox with this number.
    pub async fn create(number: u16) -> anyhow::Result<Self> {
        let name = format!("pod{number}");
        let ip = format!("10.244.{}.{}", 1 + number / 250, 2 + number % 250);
        let host_end = format!("veth{number}");
        ip_command(&["netns", "add", &name]).await?;
        ip_command(&[
            "link", "add", &host_end, "type", "veth", "peer", "name", "eth0", "netns", &name,
        ])
        .await?;
        ip_command(&["link", "set", &host_end, "master", BRIDGE, "up"]).await?;
        let address = format!("{ip}/16");
        ip_command(&["-n", &name, "addr", "add", &address, "dev", "eth0"]).await?;
        ip_command(&["-n", &name, "link", "set", "eth0", "up"]).await?;
        ip_command(&["-n", &name, "link", "set", "lo", "up"]).await?;
        ip_command(&["-n", &name, "route", "add", "default", "via", GATEWAY]).await?;
        Ok(Self { name, ip })
    }

    /// Starts a process in it. The process id is the program's own: every step replaces the one before.
    pub fn start(&self, process: Process<'_>) -> anyhow::Result<Child> {
        const ENTER: &str = r#"set -e
mount --bind "$1" /run/secrets/kubernetes.io/serviceaccount
mount --bind "$2" /run/pod/manager
mount -o remount,bind,ro /run
mount -o remount,bind,ro /
user=$3 group=$4
shift 4
exec setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@""#;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-c", ENTER, "sh"]);
        command.arg(process.account).arg(process.program);
        command.args([process.user.to_string(), process.group.to_string()]);
        command.args(["env", "-i"]);
        command.args(
            process
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        command.arg("/run/pod/manager").args(process.arguments);
        command.stdin(Stdio::null());
        command
            .stdout(process.log.try_clone().context("log")?)
            .stderr(process.log);
        command.spawn().context("start ip netns exec")
    }

    /// Takes the sandbox away.
    pub async fn remove(self) -> anyhow::Result<()> {
        ip_command(&["netns", "delete", &self.name]).await
    }
}

async fn ip_command(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .await
        .context("start ip")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
