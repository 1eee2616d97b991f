//! One pod: its ServiceAccount's token, its process, its probes, and what the API server is told of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{ConfigMap, Container, Pod, Probe, ServiceAccount},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    node,
    pods::Host,
    sandbox::{API_HOST, Process, Sandbox},
};

/// After an end, the process is started again after this time. (A kubelet waits ever longer.)
const RESTART: Duration = Duration::from_millis(500);

/// Runs a pod until `stop`.
pub async fn run(host: Arc<Host>, pod: Pod, number: u16, stop: CancellationToken) {
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let runner = Runner {
        host,
        pod,
        restarts: 0,
    };
    if let Err(error) = runner.run(number, &stop).await {
        tracing::error!(pod = name, "{error:#}");
    }
}

struct Runner {
    host: Arc<Host>,
    pod: Pod,
    restarts: i32,
}

/// The probes of a container with where they ask.
#[derive(Default)]
struct Probes {
    startup: Option<Target>,
    readiness: Option<Target>,
    liveness: Option<Target>,
}

#[derive(Clone)]
struct Target {
    port: u16,
    path: String,
    period: Duration,
    failures: i32,
}

impl Runner {
    fn namespace(&self) -> String {
        self.pod.namespace().unwrap_or_default()
    }

    /// A file of this pod in the folder for logs.
    fn file(&self, suffix: &str) -> PathBuf {
        let name = format!("{}_{}.{suffix}", self.namespace(), self.pod.name_any());
        self.host.state.join(name)
    }

    fn container(&self) -> anyhow::Result<&Container> {
        let spec = self.pod.spec.as_ref().context("a pod without spec")?;
        let container = spec
            .containers
            .iter()
            .find(|container| container.name == "manager");
        container.context("a pod without a container named manager")
    }

    async fn run(mut self, number: u16, stop: &CancellationToken) -> anyhow::Result<()> {
        node::bind(&self.host.client, &self.pod).await?;
        let sandbox = Sandbox::create(number).await?;
        let account = self.host.state.join(format!("account-{number}"));
        let ended = self.keep_running(&sandbox, &account, stop).await;
        let _ = fs::remove_file(self.file("pid"));
        sandbox.remove().await?;
        // A pod that is being deleted waits for this.
        let api: Api<Pod> = Api::namespaced(self.host.client.clone(), &self.namespace());
        let _ = api
            .delete(&self.pod.name_any(), &DeleteParams::default().grace_period(0))
            .await;
        ended
    }

    async fn keep_running(
        &mut self,
        sandbox: &Sandbox,
        account: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        self.mount_account(account).await?;
        let probes = probes(self.container()?)?;
        loop {
            self.report(sandbox, false).await?;
            let mut child = self.start(sandbox, account)?;
            let pid = child.id().context("a process without id")?;
            fs::write(self.file("pid"), pid.to_string()).context("write the process id")?;
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.stop(&mut child, pid).await,
                status = child.wait() => tracing::info!(pod = self.pod.name_any(), ?status, "the process ended"),
                result = self.watch(sandbox, &probes) => {
                    result?;
                    tracing::warn!(pod = self.pod.name_any(), "killed: its liveness or start-up probe failed");
                    child.kill().await.context("kill")?;
                }
            }
            self.restarts += 1;
            // As a kubelet does it: not ready at once, so that Services stop leading there.
            self.report(sandbox, false).await?;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep(RESTART) => {}
            }
        }
    }

    /// Asks it to end, and ends it when its time is over.
    async fn stop(&self, child: &mut Child, pid: u32) -> anyhow::Result<()> {
        let grace = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds);
        let _ = Command::new("kill")
            .args(["-TERM", &pid.to_string()])
            .status()
            .await;
        let grace = Duration::from_secs(u64::try_from(grace.unwrap_or(30)).unwrap_or(30));
        if timeout(grace, child.wait()).await.is_err() {
            tracing::warn!(pod = self.pod.name_any(), "did not end within its time");
            child.kill().await.context("kill")?;
        }
        Ok(())
    }

    /// Writes the token, the authority and the namespace as a kubelet mounts them.
    async fn mount_account(&self, folder: &Path) -> anyhow::Result<()> {
        let (namespace, client) = (self.namespace(), self.host.client.clone());
        let account = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone());
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3607),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(self.pod.name_any()),
                    uid: self.pod.uid(),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        let account = account.context("a pod without ServiceAccount")?;
        let answer = accounts
            .create_token_request(&account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("token for {namespace}/{account}"))?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .context("a token request without answer")?;
        let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
        let authority = loop {
            if let Some(map) = maps
                .get_opt("kube-root-ca.crt")
                .await
                .context("kube-root-ca.crt")?
            {
                break map.data.unwrap_or_default().remove("ca.crt").unwrap_or_default();
            }
            sleep(Duration::from_millis(100)).await;
        };
        fs::create_dir_all(folder).context("folder of the token")?;
        for (file, text) in [("token", token), ("ca.crt", authority), ("namespace", namespace)] {
            fs::write(folder.join(file), text).with_context(|| format!("write {file}"))?;
        }
        for file in ["tls.crt", "tls.key"] {
            let made = self.host.state.join("upstream").join(file);
            if made.is_file() {
                fs::copy(made, folder.join(file)).with_context(|| format!("copy {file}"))?;
            }
        }
        Ok(())
    }

    fn start(&self, sandbox: &Sandbox, account: &Path) -> anyhow::Result<Child> {
        let container = self.container()?;
        if container.command.as_deref() != Some(&["/manager".to_owned()]) {
            bail!("the command should be /manager, not {:?}", container.command);
        }
        let image = container.image.as_deref().unwrap_or_default();
        let name = image
            .rsplit('/')
            .next()
            .and_then(|name| name.split(':').next())
            .unwrap_or_default();
        let upstream = upstream(name);
        let mut arguments = container.args.clone().unwrap_or_default();
        if upstream.is_some() {
            arguments.push(format!("--webhook-cert-dir={ACCOUNT}"));
        }
        let program = upstream.unwrap_or_else(|| self.host.programs.join(name));
        let security = container.security_context.as_ref();
        let id = |id: Option<i64>| {
            id.filter(|id| *id != 0)
                .context("the container must not run as root")
        };
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file("log"));
        sandbox.start(Process {
            program: &program,
            arguments: &arguments,
            environment: &self.environment(container, &sandbox.ip),
            account,
            user: id(security.and_then(|context| context.run_as_user))?,
            group: id(security.and_then(|context| context.run_as_group))?,
            log: log.context("open the log")?,
        })
    }

    fn environment(&self, container: &Container, ip: &str) -> Vec<(String, String)> {
        let mut environment: BTreeMap<String, String> = [
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("HOSTNAME", self.pod.name_any()),
            ("KUBERNETES_SERVICE_HOST", API_HOST.to_owned()),
            ("KUBERNETES_SERVICE_PORT", self.host.api_port.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for variable in container.env.iter().flatten() {
            let path = variable
                .value_from
                .as_ref()
                .and_then(|source| source.field_ref.as_ref());
            let value = match path.map(|field| field.field_path.as_str()) {
                Some("metadata.name") => self.pod.name_any(),
                Some("metadata.namespace") => self.namespace(),
                Some("metadata.uid") => self.pod.uid().unwrap_or_default(),
                Some("status.podIP") => ip.to_owned(),
                _ => variable.value.clone().unwrap_or_default(),
            };
            environment.insert(variable.name.clone(), value);
        }
        environment.into_iter().collect()
    }

    /// Asks the probes; returns when the process should be killed.
    async fn watch(&self, sandbox: &Sandbox, probes: &Probes) -> anyhow::Result<()> {
        if let Some(startup) = &probes.startup {
            let failures = u32::try_from(startup.failures).unwrap_or(1);
            let given_up = Instant::now() + startup.period * failures;
            while !startup.asks(&sandbox.ip).await {
                if Instant::now() >= given_up {
                    return Ok(());
                }
                // More often than its period: nobody wants to wait here.
                sleep(startup.period.min(Duration::from_millis(200))).await;
            }
        }
        let (mut ready, mut failed) = (false, 0);
        let started = Instant::now();
        let mut next = [started, started];
        loop {
            if let Some(readiness) = &probes.readiness
                && next[0] <= Instant::now()
            {
                next[0] = Instant::now() + readiness.period;
                let now = readiness.asks(&sandbox.ip).await;
                if now != ready {
                    ready = now;
                    self.report(sandbox, ready).await?;
                }
            }
            if let Some(liveness) = &probes.liveness
                && next[1] <= Instant::now()
            {
                next[1] = Instant::now() + liveness.period;
                failed = if liveness.asks(&sandbox.ip).await {
                    0
                } else {
                    failed + 1
                };
                if failed >= liveness.failures {
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Tells the API server.
    async fn report(&self, sandbox: &Sandbox, ready: bool) -> anyhow::Result<()> {
        let condition = |type_: &str, status: bool| {
            let status = if status { "True" } else { "False" };
            json!({"type": type_, "status": status, "lastTransitionTime": jiff_now()})
        };
        let container = self.container()?;
        let status = json!({"status": {
            "phase": "Running",
            "podIP": sandbox.ip, "podIPs": [{"ip": sandbox.ip}],
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", true),
                condition("ContainersReady", ready), condition("Ready", ready),
            ],
            "containerStatuses": [{
                "name": container.name, "image": container.image, "imageID": "", "ready": ready, "started": true,
                "restartCount": self.restarts, "state": {"running": {"startedAt": jiff_now()}},
            }],
        }});
        let api: Api<Pod> = Api::namespaced(self.host.client.clone(), &self.namespace());
        let params = PatchParams::default();
        match api
            .patch_status(&self.pod.name_any(), &params, &Patch::Strategic(status))
            .await
        {
            Ok(_) => Ok(()),
            // It is being deleted.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error).context("write the pod's status"),
        }
    }
}

/// Where a ServiceAccount's files are for a process.
const ACCOUNT: &str = "/run/secrets/kubernetes.io/serviceaccount";

/// The path of another manager that is to run in place of ours: `UPSTREAM_CAPI_CORE` and so on. It gets a certificate for its
/// webhooks, which the script made, beside its token.
fn upstream(name: &str) -> Option<PathBuf> {
    let variable = format!("UPSTREAM_{}", name.to_uppercase().replace('-', "_"));
    std::env::var_os(variable)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// The time as the API writes it.
fn jiff_now() -> String {
    use seams::Clock as _;
    let now = seams::SystemClock.now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn probes(container: &Container) -> anyhow::Result<Probes> {
    let target = |probe: &Option<Probe>| -> anyhow::Result<Option<Target>> {
        let Some(probe) = probe else { return Ok(None) };
        let get = probe
            .http_get
            .as_ref()
            .context("only HTTP probes are known here")?;
        let port = match &get.port {
            IntOrString::Int(port) => *port,
            IntOrString::String(name) => {
                let mut ports = container.ports.iter().flatten();
                let found = ports.find(|port| port.name.as_deref() == Some(name.as_str()));
                found
                    .with_context(|| format!("there is no port named {name}"))?
                    .container_port
            }
        };
        Ok(Some(Target {
            port: u16::try_from(port).context("port")?,
            path: get.path.clone().unwrap_or_else(|| "/".to_owned()),
            period: Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10)),
            failures: probe.failure_threshold.unwrap_or(3),
        }))
    };
    Ok(Probes {
        startup: target(&container.startup_probe)?,
        readiness: target(&container.readiness_probe)?,
        liveness: target(&container.liveness_probe)?,
    })
}

impl Target {
    /// True if the page answers with 2xx within a second.
    async fn asks(&self, ip: &str) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect((ip, self.port)).await.ok()?;
            let request = format!("GET {} HTTP/1.0\r\nHost: {ip}\r\n\r\n", self.path);
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.ok()?;
            Some(answer[9] == b'2')
        };
        timeout(Duration::from_secs(1), ask)
            .await
            .ok()
            .flatten()
            .unwrap_or(false)
    }
}
