//! Where the scenarios run: on the OpenStack in this process always, on a real one if the environment names it.
//!
//! `OS_CLIENT_CONFIG_FILE` and `OS_CLOUD` name a cloud as for every OpenStack client; its project must be for tests only.
//! `OPENSTACK_ADMIN_CLOUD` is an entry of the same file that may set quotas, `OPENSTACK_IMAGE` and `OPENSTACK_FLAVOR` say
//! what servers are made of (`lab-image`, `m1.small`); the zones `az1` and `az2` are expected, and flavor `m1.tiny`.

use std::{env, io::Write, pin::Pin};

use parking_lot::Mutex;

use crate::system::{FAKE_CLOUDS, System};

/// What a cloud is called and has.
#[derive(Clone, Debug)]
pub struct Place {
    pub clouds_yaml: String,
    pub cloud_name: String,
    pub administrator: Option<String>,
    pub image: String,
    pub flavor: String,
}

impl Place {
    /// The OpenStack in this process.
    pub fn fake() -> Self {
        Self {
            clouds_yaml: FAKE_CLOUDS.to_owned(),
            cloud_name: "fake".to_owned(),
            administrator: None,
            image: "ubuntu".to_owned(),
            flavor: "m1.large".to_owned(),
        }
    }

    /// The real one, if there is any.
    fn real() -> Option<Self> {
        let usual = |name: &str, usual: &str| env::var(name).unwrap_or_else(|_| usual.to_owned());
        let cloud_name = env::var("OS_CLOUD").ok()?;
        let file = env::var("OS_CLIENT_CONFIG_FILE").ok()?;
        Some(Self {
            clouds_yaml: std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")),
            administrator: env::var("OPENSTACK_ADMIN_CLOUD").ok(),
            cloud_name,
            image: usual("OPENSTACK_IMAGE", "lab-image"),
            flavor: usual("OPENSTACK_FLAVOR", "m1.small"),
        })
    }
}

type Scenario = for<'a> fn(&'a System) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs a scenario on the OpenStack in this process, in simulated time.
pub fn here(scenario: Scenario) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime
        .unwrap()
        .block_on(async { scenario(&System::start().await).await });
}

/// The real cloud has one project for all scenarios, and they compare what it has before and after.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a scenario on a real OpenStack.
pub fn there(scenario: Scenario) {
    let Some(place) = Place::real() else {
        let why = "SKIPPED OpenStack: OS_CLOUD and OS_CLIENT_CONFIG_FILE do not name a cloud";
        let mut unseen_by_the_harness = std::io::stderr();
        return writeln!(unseen_by_the_harness, "\n{why}").unwrap();
    };
    let _turn = ONE_AT_A_TIME.lock();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .unwrap()
        .block_on(async { scenario(&System::start_there(place).await).await });
}
