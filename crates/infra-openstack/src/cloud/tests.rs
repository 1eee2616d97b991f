//! Sessions against the in-process OpenStack: logins, repetitions, lists, and the words of errors.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use seams::{SeededRandomness, SimulatedClock};
use serde_json::json;

use super::{CloudError, Identity, RequestMetrics, Session, Sessions, Tools, clouds_yaml, network::by};
use crate::fake::{self, FakeCloud, FaultAction, FaultRule};

fn cloud() -> (FakeCloud, Tools) {
    let clock = Arc::new(SimulatedClock::starting_at(
        "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap(),
    ));
    let cloud = FakeCloud::new(clock.clone());
    let tools = Tools::new(Arc::new(cloud.clone()), clock, Arc::new(SeededRandomness::new(1)));
    (cloud, tools)
}

fn session_of(yaml: &str, tools: Tools) -> Session {
    Session::new(
        clouds_yaml::parse(yaml.as_bytes(), "fake", None, None).unwrap(),
        tools,
    )
    .unwrap()
}

fn session() -> (FakeCloud, Session) {
    let (cloud, tools) = cloud();
    (cloud, session_of(fake::CLOUDS_YAML, tools))
}

fn logins(cloud: &FakeCloud) -> usize {
    cloud
        .log()
        .iter()
        .filter(|logged| logged.path.ends_with("/auth/tokens"))
        .count()
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_share_one_login() {
    let (cloud, session) = session();
    let all = futures::future::join_all((0..50).map(|_| session.networks(vec![]))).await;
    assert!(all.iter().all(|found| found.as_ref().unwrap().len() == 1));
    assert_eq!(logins(&cloud), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_for_all() {
    let (cloud, session) = session();
    session.log_in().await.unwrap();
    cloud.revoke_tokens();
    let all = futures::future::join_all((0..20).map(|_| session.networks(vec![]))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(logins(&cloud), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends() {
    let (cloud, session) = session();
    session.log_in().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600 - 60)).await;
    session.networks(vec![]).await.unwrap();
    assert_eq!(logins(&cloud), 2);
    assert!(
        cloud.log().iter().all(|logged| logged.status < 400),
        "no request was refused"
    );
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_said_in_keystones_words_and_not_hammered_in() {
    let (cloud, session) = session();
    cloud.set_password("other");
    for _ in 0..5 {
        let error = session.networks(vec![]).await.unwrap_err();
        assert!(error.is_authentication());
        assert_eq!(
            error.words(),
            "The request you have made requires authentication."
        );
    }
    assert_eq!(logins(&cloud), 1);
    cloud.set_password("secret");
    tokio::time::sleep(Duration::from_secs(11)).await;
    session.networks(vec![]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_credentials_logs_in() {
    let auth = |auth: &str, more: &str| {
        format!(
            "clouds: {{fake: {{auth: {{auth_url: 'http://openstack.fake/identity/v3', {auth}}} {more}}}}}"
        )
    };
    for yaml in [
        auth("username: demo, password: secret, project_name: demo", ""),
        auth(
            "user_id: demo-id, password: secret, project_id: demo-project",
            ", auth_type: v3password",
        ),
        auth("username: demo, password: secret, system_scope: all", ""),
        auth(
            "application_credential_id: credential-id, application_credential_secret: credential-secret",
            "",
        ),
        auth(
            "application_credential_name: credential, username: demo, application_credential_secret: credential-secret",
            ", auth_type: v3applicationcredential",
        ),
    ] {
        let (_, tools) = cloud();
        session_of(&yaml, tools)
            .networks(vec![])
            .await
            .unwrap_or_else(|error| panic!("{yaml}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn busy_services_are_asked_again_and_their_wishes_respected() {
    let (cloud, session) = session();
    session.log_in().await.unwrap();
    let busy = FaultAction::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(7));
    cloud.disturb(FaultRule::new("GET", "/networks", busy).times(2));
    let start = tokio::time::Instant::now();
    session.networks(vec![]).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_secs(14),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_post_is_an_error_and_nothing_is_made_twice() {
    let (cloud, session) = session();
    cloud.disturb(FaultRule::new("POST", "/networks", FaultAction::LoseAnswer).times(1));
    let error = session.create_network(json!({ "name": "n" })).await.unwrap_err();
    assert!(matches!(error, CloudError::Unreachable { .. }), "{error}");
    assert_eq!(session.networks(vec![by("name", "n")]).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_ends_in_a_timeout() {
    let (cloud, mut tools) = cloud();
    tools.timeout = Duration::from_secs(5);
    let session = session_of(fake::CLOUDS_YAML, tools);
    session.log_in().await.unwrap();
    cloud.disturb(FaultRule::new(
        "GET",
        "/networks",
        FaultAction::Delay(Duration::from_secs(3600)),
    ));
    let error = session.networks(vec![]).await.unwrap_err();
    assert!(error.to_string().contains("no answer within 5 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn quotas_and_conflicts_keep_the_words_of_openstack() {
    let (cloud, session) = session();
    cloud.set_quota("networks", 1);
    let error = session.create_network(json!({ "name": "n" })).await.unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(error.words(), "Quota exceeded for resources: ['network'].");
    assert_eq!(
        error.to_string(),
        "network POST /networks: Quota exceeded for resources: ['network']. (409 Conflict)"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_and_what_is_gone_is_no_error() {
    let (_, mut tools) = cloud();
    let registry = prometheus::Registry::new();
    let metrics = RequestMetrics::new(&registry).unwrap();
    tools.metrics = Some(metrics.clone());
    let session = session_of(fake::CLOUDS_YAML, tools);
    assert_eq!(session.network("none").await.unwrap(), None);
    assert!(!session.delete_network("none").await.unwrap());
    session
        .create_port(json!({ "network_id": "none" }))
        .await
        .unwrap_err();
    assert_eq!(metrics.counted("network_get"), (1, 0));
    assert_eq!(metrics.counted("network_delete"), (1, 0));
    assert_eq!(metrics.counted("port_create"), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nova_is_asked_for_its_microversion_once() {
    let (cloud, session) = session();
    session.flavors().await.unwrap();
    assert_eq!(session.availability_zones().await.unwrap(), ["az1", "az2"]);
    assert_eq!(
        cloud
            .log()
            .iter()
            .filter(|logged| logged.path == "/compute/v2.1/")
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn names_of_servers_are_no_patterns() {
    let (cloud, session) = session();
    for name in ["a.b", "axb"] {
        cloud.put("servers", json!({ "name": name, "status": "ACTIVE" }));
    }
    let found = session.servers_named("a.b").await.unwrap();
    assert_eq!(
        found
            .iter()
            .map(|server| server.name.as_str())
            .collect::<Vec<_>>(),
        ["a.b"]
    );
}

#[test]
fn sessions_differ_by_everything_that_makes_an_identity() {
    let base = Identity {
        clouds_yaml: b"x",
        cloud_name: "fake",
        region: None,
        cacert: None,
    };
    let others = [
        Identity {
            clouds_yaml: b"y",
            ..base
        },
        Identity {
            cloud_name: "other",
            ..base
        },
        Identity {
            region: Some("R"),
            ..base
        },
        Identity {
            region: Some(""),
            ..base
        },
        Identity {
            cacert: Some(b"pem"),
            ..base
        },
    ];
    for other in others {
        assert_ne!(base.key(), other.key(), "{other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_identity_is_one_session() {
    let (_, tools) = cloud();
    let sessions = Sessions::new(tools);
    let identity = |region| Identity {
        clouds_yaml: fake::CLOUDS_YAML.as_bytes(),
        cloud_name: "fake",
        region,
        cacert: None,
    };
    let [first, second] = [None, None].map(|region| sessions.get(identity(region)).unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    let elsewhere = sessions.get(identity(Some("Elsewhere"))).unwrap();
    let error = elsewhere.networks(vec![]).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no public endpoint of network in region Elsewhere"),
        "{error}"
    );
    assert_eq!(sessions.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_login_is_an_authentication_type_of_osauth() {
    use osauth::AuthType;
    let (cloud, session) = session();
    let auth = session.auth();
    crate::cloud::ReqwestTransports::new("test");
    let client = reqwest::Client::new();
    let request = auth
        .authenticate(&client, client.get("http://openstack.fake/"))
        .await
        .unwrap()
        .build()
        .unwrap();
    assert!(request.headers().contains_key("x-auth-token"));
    let url = auth
        .get_endpoint(&client, "block-storage", &Default::default())
        .await
        .unwrap();
    assert_eq!(url.as_str(), "http://openstack.fake/volume/v3/demo-project");
    auth.refresh(&client).await.unwrap();
    assert_eq!(logins(&cloud), 2, "a refresh is never skipped");
}

#[test]
fn what_is_wrong_with_a_clouds_yaml_is_named() {
    let parse = |yaml: &str| {
        clouds_yaml::parse(yaml.as_bytes(), "a", None, None)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    for (yaml, expected) in [
        (
            "clouds: {b: {}, c: {}}",
            "clouds.yaml: cloud a: there is no such entry; there are: b, c",
        ),
        ("x: 1", "clouds.yaml: it has no `clouds`"),
        (
            "clouds: {a: {auth: {}}}",
            "clouds.yaml: cloud a: auth_url: it is missing",
        ),
        (
            "clouds: {a: {auth: {auth_url: u}}}",
            "clouds.yaml: cloud a: username: neither it nor user_id is there",
        ),
        (
            "clouds: {a: {auth_type: v3oidc, auth: {auth_url: u}}}",
            "clouds.yaml: cloud a: auth_type: it is none of password, v3password, token, v3token, v3applicationcredential",
        ),
        (
            "clouds: {a: {interface: x, auth: {auth_url: u, token: t}}}",
            "clouds.yaml: cloud a: interface: it is none of public, internal, admin",
        ),
    ] {
        assert_eq!(parse(yaml), Err(expected.to_owned()), "{yaml}");
    }
}

#[test]
fn region_interface_and_verification_are_read() {
    let yaml = "clouds: {a: {region_name: R, interface: internal, endpoint_type: publicURL, verify: false, auth: {auth_url: u, token: t, project_name: p, project_domain_id: d}}}";
    let cloud = clouds_yaml::parse(yaml.as_bytes(), "a", None, Some(b"pem")).unwrap();
    assert_eq!(
        (cloud.region.as_deref(), cloud.interface),
        (Some("R"), osauth::InterfaceType::Internal)
    );
    assert!(cloud.tls.insecure && cloud.tls.authorities.is_some());
    let cloud = clouds_yaml::parse(yaml.as_bytes(), "a", Some("S"), None).unwrap();
    assert_eq!(cloud.region.as_deref(), Some("S"), "the object's region wins");
}

#[tokio::test(start_paused = true)]
async fn null_is_as_good_as_absent() {
    let (cloud, session) = session();
    cloud.put(
        "members",
        json!({ "pool_id": "p", "name": null, "address": "10.0.0.1", "protocol_port": 1 }),
    );
    assert_eq!(session.members("p").await.unwrap()[0].name, "");
}
