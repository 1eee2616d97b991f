//! The HTTPS server in front of admission and conversion.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use cluster_pki::PemPair;
use http::{HeaderValue, Request, StatusCode, Version, header::CONNECTION};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{
    api::DynamicObject,
    core::admission::{AdmissionRequest, AdmissionReview},
};
use rustls::ServerConfig;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Admission,
    certificate::{Serving, authority},
    conversion::Conversions,
    inject,
};
use crate::{
    error::Error,
    key::Key,
    manager::Shared,
    pages::{self, Page},
};

/// Where and as whom admission is served.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Where to listen.
    pub address: SocketAddr,
    /// The names clients use: those of the Service, for example.
    pub names: Vec<String>,
    /// The Secret that keeps the certificate authority.
    pub secret: Key,
    /// Names of the mutating webhook configurations that get the authority's certificate.
    pub mutating: Vec<String>,
    /// Names of the validating webhook configurations that get the authority's certificate.
    pub validating: Vec<String>,
    /// A folder with a certificate (`tls.crt`) and key (`tls.key`) that somebody else provides and injects.
    pub certificate_folder: Option<PathBuf>,
    /// How long requests are answered after the manager has ended: API servers learn only after a while that others are to be
    /// asked.
    pub linger: Duration,
}

impl WebhookOptions {
    /// Forgets configurations that nothing is registered for: nobody ships them, and nobody may look for them.
    fn keep_needed(&mut self, admission: &Admission) {
        let kinds = admission.kinds();
        if !kinds.iter().any(|kind| kind.defaults) {
            self.mutating.clear();
        }
        if !kinds.iter().any(|kind| kind.validates) {
            self.validating.clear();
        }
    }
}

/// Serves admission over HTTPS.
pub struct WebhookServer {
    options: WebhookOptions,
}

/// How often the authority is looked at, and a refused injection tried again.
const CHECK_INTERVAL: Duration = Duration::from_secs(12 * 3600);
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

impl WebhookServer {
    /// A server; it starts with the manager.
    pub fn new(options: WebhookOptions) -> Self {
        Self { options }
    }

    /// Serves until the manager has ended and for as long as it is to linger.
    pub(crate) async fn run(
        mut self,
        admission: Admission,
        conversions: Conversions,
        shared: Arc<Shared>,
    ) -> Result<(), Error> {
        let definitions = conversions.definitions();
        self.options.keep_needed(&admission);
        crate::transport::install_crypto();
        let serving = Arc::new(Serving::default());
        let mut tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(serving.clone());
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = pages::listen(self.options.address).await?;
        let ended = shared.cancelled();
        let handler = pages::handler({
            let ended = ended.clone();
            move |request| {
                let (admission, conversions, ended) = (admission.clone(), conversions.clone(), ended.clone());
                async move {
                    let version = request.version();
                    let page = match request.uri().path() {
                        "/convert" => convert(&conversions, &request),
                        _ => review(&admission, request).await,
                    };
                    if ended.is_cancelled() {
                        last(page, version)
                    } else {
                        page
                    }
                }
            }
        });
        let over = CancellationToken::new();
        let served = pages::serve(
            listener,
            Some(TlsAcceptor::from(Arc::new(tls))),
            handler,
            over.clone(),
        );
        let until_over = async {
            ended.cancelled().await;
            tokio::time::sleep(self.options.linger).await;
            over.cancel();
        };
        let kept = async {
            match &self.options.certificate_folder {
                Some(folder) => serving.set(&PemPair {
                    certificate: read(folder, "tls.crt")?,
                    key: read(folder, "tls.key")?,
                }),
                None => tokio::select! {
                    biased;
                    () = ended.cancelled() => Ok(()),
                    result = self.keep_certificates(&shared, &serving, &definitions) => result,
                },
            }
        };
        let served = async {
            tokio::join!(served, until_over);
            Ok(())
        };
        tokio::try_join!(served, kept).map(|_| ())
    }

    /// Renews the serving certificate and repairs the configurations, for ever.
    async fn keep_certificates(
        &self,
        shared: &Shared,
        serving: &Serving,
        definitions: &[String],
    ) -> Result<(), Error> {
        let WebhookOptions {
            mutating, validating, ..
        } = &self.options;
        let changed = Arc::new(Notify::new());
        inject::follow::<MutatingWebhookConfiguration>(&shared.stores, mutating, &changed);
        inject::follow::<ValidatingWebhookConfiguration>(&shared.stores, validating, &changed);
        inject::follow_definitions(&shared.stores, definitions, &changed);
        let mut issued = None;
        loop {
            let authority = authority(shared, &self.options.secret).await?;
            let stale = issued.as_ref().is_none_or(|(renewal, issuer)| {
                *renewal <= shared.clock.now() || issuer != authority.authority.certificate_pem()
            });
            if stale {
                let renewal = serving.issue(shared, &authority.authority, &self.options.names)?;
                issued = Some((renewal, authority.authority.certificate_pem().to_owned()));
            }
            let complete =
                inject::inject::<MutatingWebhookConfiguration>(shared, mutating, &authority.bundle).await
                    & inject::inject::<ValidatingWebhookConfiguration>(shared, validating, &authority.bundle)
                        .await
                    & inject::inject_definitions(shared, definitions, &authority.bundle).await;
            let pause = if complete { CHECK_INTERVAL } else { RETRY_INTERVAL };
            tokio::select! {
                biased;
                () = changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// The last answer over a connection. API servers keep connections for HTTP/1.1, and a request that is on its way while one is
/// closed is lost; told so, the client closes it. (HTTP/2 says it in its own words when the server ends.)
fn last(mut page: Page, version: Version) -> Page {
    if version < Version::HTTP_2 {
        page.headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    page
}

/// Answers one ConversionReview.
fn convert(conversions: &Conversions, request: &Request<Bytes>) -> Page {
    match serde_json::from_slice(request.body()) {
        Ok(review) => pages::json(&conversions.review(&review)),
        Err(error) => pages::text(StatusCode::BAD_REQUEST, format!("no ConversionReview: {error}")),
    }
}

fn read(folder: &std::path::Path, file: &str) -> Result<String, Error> {
    let path = folder.join(file);
    std::fs::read_to_string(&path).map_err(|source| Error::Io {
        what: format!("read {}", path.display()),
        source,
    })
}

/// Answers one AdmissionReview. The path says only whether to default or to validate; the request names its kind.
async fn review(admission: &Admission, request: Request<Bytes>) -> Page {
    let path = request.uri().path();
    let mutates = path.starts_with("/mutate-");
    if !mutates && !path.starts_with("/validate-") {
        return pages::text(StatusCode::NOT_FOUND, format!("there is no webhook at {path}"));
    }
    let review: AdmissionReview<DynamicObject> = match serde_json::from_slice(request.body()) {
        Ok(review) => review,
        Err(error) => return pages::text(StatusCode::BAD_REQUEST, format!("no AdmissionReview: {error}")),
    };
    let request: AdmissionRequest<DynamicObject> = match review.try_into() {
        Ok(request) => request,
        Err(_) => return pages::text(StatusCode::BAD_REQUEST, "an AdmissionReview without a request"),
    };
    let response = match mutates {
        true => admission.mutate(&request).await,
        false => admission.validate(&request).await,
    };
    pages::json(&response.into_review())
}
