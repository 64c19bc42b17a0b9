//! The outbound HTTP client, and what every answer has in common.
//!
//! **Invariant.** Redirects are never followed: a token goes only where the configuration sends it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Request,
    header::{DATE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The longest wait that a server can ask of us by `Retry-After`; what is longer counts as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// More of an answer than this is not read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Below the few minutes after which Microsoft's front doors close an idle socket, since a request that meets the
/// closing has an unknown outcome.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct OutboundConfig {
    /// PEM file of certificate authorities, trusted in addition to the public ones.
    pub ca_file: Option<PathBuf>,
    /// Refuses `http:` addresses. Off only for tests and simulators.
    pub https_only: bool,
    /// DNS, TCP and TLS handshake. Keep it shorter than every request timeout, so that what was never sent is known.
    pub connect_timeout: Duration,
    /// From the start to the last byte of the answer, where a call does not say otherwise.
    pub request_timeout: Duration,
    pub user_agent: String,
}

/// The configuration can't be used: stop the start and say so.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the certificate authorities in {path} can't be used: {why}")]
    CaFile { path: PathBuf, why: String },
    #[error("{setting} {problem}")]
    Setting { setting: &'static str, problem: &'static str },
    #[error("the HTTP client can't be built: {0}")]
    Build(String),
}

/// Builds the one client that everything in this crate shares: HTTP/1.1 over TLS by ring, public certificate
/// authorities and those of `ca_file`. Proxies are used only if `HTTPS_PROXY` and its relatives name one.
pub fn http_client(config: &OutboundConfig) -> Result<Client, ClientError> {
    let build = |why: &dyn std::fmt::Display| ClientError::Build(why.to_string());
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &config.ca_file {
        add_authorities(&mut roots, path)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| build(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .use_preconfigured_tls(tls)
        .https_only(config.https_only)
        .redirect(Policy::none())
        .connect_timeout(config.connect_timeout)
        .timeout(config.request_timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .user_agent(&config.user_agent)
        .build()
        .map_err(|error| build(&error))
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientError> {
    let bad = |why: String| ClientError::CaFile { path: path.to_owned(), why };
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(bad("it holds no PEM certificate".into()));
    }
    Ok(())
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// DNS, TCP or TLS handshake failed: nothing was sent.
    NotConnected,
    /// Not a request that we may or can make, such as `http:` where only `https:` is allowed: nothing was sent.
    NotAllowed,
    /// Sent, perhaps in part; no answer in time.
    TimedOut,
    /// Sent, perhaps in part; the socket broke or what came back is not HTTP.
    Broken,
}

impl Transport {
    /// Whether it is certain that the server saw nothing of the request.
    pub fn not_sent(self) -> bool {
        matches!(self, Self::NotConnected | Self::NotAllowed)
    }
}

/// A server's answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// `None` when it broke off, took too long, or was larger than we read.
    pub(crate) body: Option<Vec<u8>>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; `None` also when it is not of the wanted shape.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.body.as_deref()?).ok()
    }
}

/// Sends once.
pub(crate) async fn send(http: &Client, request: Request) -> Result<Answer, Transport> {
    let mut response = http.execute(request).await.map_err(|error| transport(&error))?;
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    let mut body = Some(Vec::new());
    while let Some(bytes) = &mut body {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= BODY_BYTES_MAX => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => body = None,
        }
    }
    Ok(Answer { status, headers, body })
}

/// A timeout while connecting counts as not connected: the connector's errors come before the first byte.
fn transport(error: &reqwest::Error) -> Transport {
    if error.is_builder() {
        Transport::NotAllowed
    } else if error.is_connect() {
        Transport::NotConnected
    } else if error.is_timeout() {
        Transport::TimedOut
    } else {
        Transport::Broken
    }
}

/// How long the server asks us to wait, at most [`RETRY_AFTER_MAX`]. A date is measured from the answer's own `Date`,
/// so that a clock that differs from the server's does no harm; without one it says nothing.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    let seconds = value.parse().ok().map(Duration::try_from_secs_f64);
    let wait = if let Some(seconds) = seconds {
        // Some say fractions, though RFC 9110 section 10.2.3 knows none.
        seconds.ok()?
    } else {
        let until = httpdate::parse_http_date(value).ok()?;
        let from = httpdate::parse_http_date(text(DATE)?).ok()?;
        until.duration_since(from).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(reqwest::header::HeaderName, &str)]) -> Option<u64> {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_an_hour() {
        let date = (DATE, "Mon, 23 Nov 2026 12:00:00 GMT");
        assert_eq!(asked(&[(RETRY_AFTER, "17")]), Some(17));
        assert_eq!(asked(&[(RETRY_AFTER, "86400")]), Some(3600));
        assert_eq!(asked(&[(RETRY_AFTER, "Mon, 23 Nov 2026 12:01:30 GMT"), date.clone()]), Some(90));
        assert_eq!(asked(&[(RETRY_AFTER, "Mon, 23 Nov 2026 11:00:00 GMT"), date]), Some(0));
        assert_eq!(asked(&[(RETRY_AFTER, "Mon, 23 Nov 2026 12:01:30 GMT")]), None);
        assert_eq!(asked(&[(RETRY_AFTER, "2.5")]), Some(2));
        for senseless in ["soon", "-1", "NaN", "inf", ""] {
            assert_eq!(asked(&[(RETRY_AFTER, senseless)]), None, "{senseless}");
        }
        assert_eq!(asked(&[]), None);
    }
}
