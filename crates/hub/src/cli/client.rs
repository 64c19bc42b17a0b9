//! A small client of the hub's own API.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use microsoft::{OutboundConfig, http_client};
use reqwest::{Method, RequestBuilder, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::args::ServerArgs;
use crate::http::problem::Problem;

/// Where `chancery dev` says how to reach it: `{ "url": …, "api_key": … }`.
pub const DEV_FILE: &str = ".chancery/dev.json";

/// How to reach a hub.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    api_key: SecretString,
}

#[derive(Deserialize)]
struct DevFile {
    url: String,
    api_key: SecretString,
}

impl Client {
    /// From the arguments and `CHANCERY_API_KEY`, or else from what `chancery dev` left in this directory.
    pub fn new(server: &ServerArgs) -> anyhow::Result<Self> {
        let environment = std::env::var("CHANCERY_API_KEY").ok().map(SecretString::from);
        Self::with(server, environment, Path::new(DEV_FILE))
    }

    /// The key of `dev` goes only to the address of `dev`.
    pub(super) fn with(
        server: &ServerArgs,
        key: Option<SecretString>,
        dev_file: &Path,
    ) -> anyhow::Result<Self> {
        let key = match &server.api_key_file {
            Some(path) => Some(read_key(path)?),
            None => key,
        };
        let (url, api_key) = match (server.url.clone(), key) {
            (Some(url), Some(key)) => (url, key),
            (Some(_), None) => {
                bail!("an API key is needed: set CHANCERY_API_KEY, or name a file with --api-key-file")
            }
            (None, key) => {
                let dev = read_dev_file(dev_file)?;
                (dev.url, key.unwrap_or(dev.api_key))
            }
        };
        let url = parse(&url)?;
        Ok(Self { http: http(server.ca_file.as_deref())?, url, api_key })
    }

    /// A request for the path with these segments, which are escaped as needed.
    pub fn request(&self, method: Method, segments: &[&str]) -> anyhow::Result<RequestBuilder> {
        let mut url = self.url.clone();
        let Ok(mut path) = url.path_segments_mut() else { bail!("{} has no paths", self.url) };
        path.pop_if_empty().extend(segments);
        drop(path);
        Ok(self.http.request(method, url).bearer_auth(self.api_key.expose_secret()))
    }
}

/// Where the hub is that was named, or else the one that `dev_file` tells of.
pub(super) fn address(url: Option<&str>, dev_file: &Path) -> anyhow::Result<Url> {
    match url {
        Some(url) => parse(url),
        None => parse(&read_dev_file(dev_file)?.url),
    }
}

fn parse(url: &str) -> anyhow::Result<Url> {
    let parsed =
        Url::parse(url).with_context(|| format!("{url:?} is no address such as https://hub.example.com"))?;
    ensure!(
        matches!(parsed.scheme(), "http" | "https"),
        "the address must begin with http:// or https://, as {parsed} does not"
    );
    Ok(parsed)
}

/// The JSON of a good answer, `null` where it has none; a problem becomes an error that can be read.
pub async fn send(request: RequestBuilder) -> anyhow::Result<Value> {
    let response = request
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .context("the hub did not answer; is it running, and is this its address (--url)?")?;
    let status = response.status();
    let retry_after =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok().map(str::to_owned));
    let body = response.bytes().await.map_err(reqwest::Error::without_url).context("the answer broke off")?;
    if status == reqwest::StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    if status.is_success() {
        return serde_json::from_slice(&body).context("the answer is not JSON; is this a hub's address?");
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else { bail!("the answer was {status}") };
    let detail = problem.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    let again = retry_after.map(|seconds| format!(" (try again in {seconds} s)")).unwrap_or_default();
    bail!("{}{detail}{again}", problem.title)
}

/// An HTTP client that trusts the public authorities and those of `ca_file`.
pub(crate) fn http(ca_file: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    Ok(http_client(&OutboundConfig {
        ca_file: ca_file.map(Path::to_owned),
        https_only: false,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_mins(1),
        user_agent: concat!("chancery/", env!("CARGO_PKG_VERSION")).to_owned(),
    })?)
}

fn read_key(path: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    Ok(text.trim().into())
}

fn read_dev_file(path: &Path) -> anyhow::Result<DevFile> {
    let text = std::fs::read_to_string(path).map_err(|_| {
        anyhow::anyhow!(
            "which hub? Name it with --url or CHANCERY_URL, or run `chancery dev` in this directory"
        )
    })?;
    serde_json::from_str(&text)
        .map_err(|_| anyhow::anyhow!("{} is damaged; start `chancery dev` anew", path.display()))
}
