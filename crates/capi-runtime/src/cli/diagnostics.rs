//! The pages of a manager: /healthz, /readyz, /metrics.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Flags;
use crate::{
    error::Error,
    manager::Readiness,
    metrics::Metrics,
    pages::{self, Handler, Page},
};

/// What the pages show.
pub(super) struct Pages {
    pub(super) readiness: Readiness,
    pub(super) metrics: Arc<Metrics>,
    pub(super) client: Client,
    pub(super) tls: TlsAcceptor,
}

/// Opens the pages the flags ask for.
pub(super) async fn serve(content: Pages, flags: &Flags, shutdown: &CancellationToken) -> Result<(), Error> {
    if let Some(text) = wanted(&flags.health_addr) {
        let listener = pages::listen(pages::address("--health-addr", text)?).await?;
        tokio::spawn(pages::serve(
            listener,
            None,
            health(content.readiness),
            shutdown.clone(),
        ));
    }
    if let Some(text) = wanted(&flags.diagnostics_address) {
        let listener = pages::listen(pages::address("--diagnostics-address", text)?).await?;
        let (tls, client) = match flags.insecure_diagnostics {
            true => (None, None),
            false => (Some(content.tls), Some(content.client)),
        };
        tokio::spawn(pages::serve(
            listener,
            tls,
            metrics(content.metrics, client),
            shutdown.clone(),
        ));
    }
    Ok(())
}

fn wanted(address: &str) -> Option<&str> {
    (!address.is_empty() && address != "0").then_some(address)
}

/// Alive as long as it answers; ready once the stores are filled and the controllers run.
fn health(readiness: Readiness) -> Handler {
    pages::handler(move |request| {
        let ready = readiness.is_ready();
        async move {
            match request.uri().path().trim_end_matches('/') {
                "/healthz" => pages::text(StatusCode::OK, "ok"),
                "/readyz" if ready => pages::text(StatusCode::OK, "ok"),
                "/readyz" => pages::text(StatusCode::SERVICE_UNAVAILABLE, "the stores are not filled yet"),
                path => pages::text(StatusCode::NOT_FOUND, format!("there is no page {path}")),
            }
        }
    })
}

fn metrics(metrics: Arc<Metrics>, client: Option<Client>) -> Handler {
    pages::handler(move |request| {
        let (metrics, client) = (metrics.clone(), client.clone());
        async move {
            if let Some(client) = client
                && let Err(refusal) = authorize(client, &request).await
            {
                return refusal;
            }
            match request.uri().path() {
                "/metrics" => pages::text(StatusCode::OK, metrics.text()),
                path => pages::text(StatusCode::NOT_FOUND, format!("there is no page {path}")),
            }
        }
    })
}

/// Asks the API server who the bearer token belongs to and whether they may read this path.
async fn authorize(client: Client, request: &Request<Bytes>) -> Result<(), Page> {
    let broken = |error: kube::Error| pages::text(StatusCode::BAD_GATEWAY, crate::error::describe(&error));
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(token) = token else {
        return Err(pages::text(StatusCode::UNAUTHORIZED, "a bearer token is needed"));
    };
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: token.to_owned(),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let api: Api<TokenReview> = Api::all(client.clone());
    let review = api
        .create(&PostParams::default(), &review)
        .await
        .map_err(broken)?;
    let user = review
        .status
        .filter(|status| status.authenticated == Some(true))
        .and_then(|status| status.user);
    let Some(user) = user else {
        return Err(pages::text(StatusCode::UNAUTHORIZED, "the token is not valid"));
    };
    let access = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            groups: user.groups,
            uid: user.uid,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: request.uri().path().to_owned().into(),
                verb: "get".to_owned().into(),
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(client);
    let access = api
        .create(&PostParams::default(), &access)
        .await
        .map_err(broken)?;
    match access.status.is_some_and(|status| status.allowed) {
        true => Ok(()),
        false => Err(pages::text(StatusCode::FORBIDDEN, "not allowed")),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server that knows the tokens `reader` and `guest`, and lets `reader` read /metrics.
    fn api_server() -> Client {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let review = request.uri().path().ends_with("/tokenreviews");
            let body = request.into_body().collect().await?.to_bytes();
            let mut answer: serde_json::Value = serde_json::from_slice(&body)?;
            answer["status"] = match review {
                true => {
                    let token = answer["spec"]["token"].as_str().unwrap_or_default().to_owned();
                    json!({"authenticated": token == "reader" || token == "guest", "user": {"username": token}})
                }
                false => {
                    let spec = &answer["spec"];
                    let path = json!({"path": "/metrics", "verb": "get"});
                    json!({"allowed": spec["user"] == "reader" && spec["nonResourceAttributes"] == path})
                }
            };
            Ok::<_, tower::BoxError>(http::Response::new(Body::from(serde_json::to_vec(&answer)?)))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn metrics_are_for_those_whom_the_api_server_allows_it() {
        let handler = metrics(Arc::new(Metrics::new().unwrap()), Some(api_server()));
        for (token, path, status) in [
            (None, "/metrics", 401),
            (Some("Bearer nobody"), "/metrics", 401),
            (Some("Bearer guest"), "/metrics", 403),
            (Some("Bearer reader"), "/metrics", 200),
            (Some("Bearer reader"), "/secret", 403),
        ] {
            let mut request = Request::get(path);
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, token);
            }
            let answer = handler(request.body(Bytes::new()).unwrap()).await;
            assert_eq!(answer.status().as_u16(), status, "{token:?} {path}");
        }
    }
}
