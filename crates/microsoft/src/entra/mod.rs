//! Entra ID: sending a person there to sign in, and turning what comes back into tokens and an identity.

mod failure;
mod id_token;
pub(crate) mod token;

use std::time::Duration;

use domain::{TenantId, Timestamp};
use oauth2::{CsrfToken, PkceCodeChallenge, PkceCodeVerifier, Scope};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use uuid::Uuid;

pub use failure::{Diagnosis, ReauthorizationReason, TokenFailure};
pub use id_token::{IdTokenProblem, Identity};
pub use token::Tokens;

use crate::{
    http::ClientError,
    jose::{Discovery, Issuer, IssuerKeys, IssuerUnavailable},
};
use token::{Endpoints, Exchange, for_tenant};

#[derive(Clone, Debug)]
pub struct EntraConfig {
    /// `https://login.microsoftonline.com/`
    pub authority: Url,
    /// The issuer of ID tokens, `{tenantid}` standing for their `tid`. By default what the discovery document says.
    pub issuer_template: Option<String>,
    /// The tenant's part of the path where no tenant is asked for: `organizations`, or a tenant's id or domain.
    pub sign_in_tenant: String,
    pub client_id: Uuid,
    pub client_secret: SecretString,
    pub redirect_uri: Url,
    /// Without `offline_access` there is no refresh token, without `openid` no identity.
    pub scopes: Vec<String>,
    /// Where these are not to be derived from `authority`; `{tenant}` stands for the tenant's part of the path.
    pub authorize_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub jwks_uri: Option<Url>,
}

/// A sign-in to begin. `state`, `nonce` and verifier are the caller's, so that any hub can finish what this one began.
pub struct Authorize<'a> {
    /// Only where the person has to sign in to this very tenant, as guests do.
    pub tenant: Option<TenantId>,
    pub state: &'a str,
    pub nonce: &'a str,
    /// 43 to 128 characters (RFC 7636 section 4.1); sent as its S256 challenge.
    pub code_verifier: &'a SecretString,
    /// Fills in the user name; personal data that will stand in the address.
    pub login_hint: Option<&'a str>,
    pub prompt: Option<Prompt>,
}

/// What the person is asked for even if Entra would not need to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    Login,
    Consent,
    SelectAccount,
}

/// A sign-in to finish. Codes are valid once, for about ten minutes, on the tenant path they were issued on.
pub struct Redeem<'a> {
    /// As it was in [`Authorize`].
    pub tenant: Option<TenantId>,
    pub code: SecretString,
    pub code_verifier: SecretString,
    pub nonce: &'a str,
}

#[derive(Clone, Debug)]
pub struct SignedIn {
    pub tokens: Tokens,
    pub identity: Identity,
}

/// The sign-in brought nothing that may be used. Take the code as spent, except where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// See its cases. `NotSent` leaves the code unspent; whatever else is temporary means to begin anew.
    #[error(transparent)]
    TokenFailure(#[from] TokenFailure),
    /// `offline_access` is not among the configured scopes, or was not granted: raise the alarm.
    #[error("Entra gave no refresh token; is offline_access among the scopes?")]
    NoRefreshToken,
    /// `openid` is not among the configured scopes: raise the alarm.
    #[error("Entra gave no ID token; is openid among the scopes?")]
    NoIdToken,
    /// Refuse the sign-in, and note it: nothing of this token is believed.
    #[error("the ID token is not valid: {why:?}")]
    IdTokenInvalid { why: IdTokenProblem },
    /// Tell the person to use a work or school account.
    #[error("personal accounts can't be used with Teams")]
    PersonalAccount,
    /// Who signed in can't be checked now. Found before the code is spent, unless the key is one we had to look for.
    #[error(transparent)]
    Unavailable(#[from] IssuerUnavailable),
}

/// Entra's endpoints for one app registration.
pub struct Entra {
    config: EntraConfig,
    http: Client,
    endpoints: Endpoints,
    keys: IssuerKeys,
}

impl Entra {
    pub fn new(config: EntraConfig, http: Client) -> Result<Self, ClientError> {
        let authority = config.authority.as_str().trim_end_matches('/');
        let endpoints = Endpoints {
            authorize: config
                .authorize_endpoint
                .clone()
                .unwrap_or_else(|| format!("{authority}/{{tenant}}/oauth2/v2.0/authorize")),
            token: config
                .token_endpoint
                .clone()
                .unwrap_or_else(|| format!("{authority}/{{tenant}}/oauth2/v2.0/token")),
        };
        let tenant = &config.sign_in_tenant;
        let address = |setting: &'static str, template: &str| {
            for_tenant(template, tenant)
                .map_err(|_| ClientError::Setting { setting, problem: "is not an address" })
        };
        address("authorize_endpoint", &endpoints.authorize)?;
        address("token_endpoint", &endpoints.token)?;
        let document = format!("{authority}/{{tenant}}/v2.0/.well-known/openid-configuration");
        let discovery = match (config.issuer_template.clone(), config.jwks_uri.clone()) {
            (Some(template), Some(jwks)) => Discovery::Known(Issuer { template, jwks }),
            (template, jwks) => Discovery::Document { url: address("authority", &document)?, template, jwks },
        };
        let keys = IssuerKeys::new(http.clone(), discovery);
        Ok(Self { config, http, endpoints, keys })
    }

    /// Where to send the person's browser. Not for logs: it carries `state` and perhaps a user name.
    ///
    /// # Panics
    /// When the verifier has not 43 to 128 characters.
    pub fn authorize_url(&self, request: &Authorize<'_>) -> Url {
        let verifier = PkceCodeVerifier::new(request.code_verifier.expose_secret().to_owned());
        let client = self.at(&self.path(request.tenant));
        let mut builder = client
            .authorize_url(|| CsrfToken::new(request.state.to_owned()))
            .add_scopes(self.config.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("response_mode", "query")
            .add_extra_param("nonce", request.nonce);
        if let Some(login_hint) = request.login_hint {
            builder = builder.add_extra_param("login_hint", login_hint);
        }
        if let Some(prompt) = request.prompt {
            builder = builder.add_extra_param("prompt", prompt.as_str());
        }
        builder.url().0
    }

    /// Where to send an administrator's browser, to consent for everybody of the tenant.
    ///
    /// # Panics
    /// When the authority is no base of an address, which the configuration rules out.
    pub fn admin_consent_url(&self, tenant: TenantId, state: &str) -> Url {
        let mut url = self.config.authority.clone();
        url.path_segments_mut().expect("an authority is a base").pop_if_empty().extend([
            &tenant.to_string(),
            "v2.0",
            "adminconsent",
        ]);
        url.query_pairs_mut()
            .append_pair("client_id", &self.config.client_id.to_string())
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("redirect_uri", self.config.redirect_uri.as_str())
            .append_pair("state", state);
        url
    }

    /// Redeems a code and checks who signed in, at `now`.
    pub async fn redeem(&self, redemption: Redeem<'_>, now: Timestamp) -> Result<SignedIn, RedeemError> {
        self.keys.ready().await?;
        let exchange = Exchange { http: &self.http, timeout: None };
        let response = self
            .at(&self.path(redemption.tenant))
            .exchange_code(oauth2::AuthorizationCode::new(redemption.code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(redemption.code_verifier.expose_secret().to_owned()))
            .request_async(&exchange)
            .await
            .map_err(token::failure)?;
        let tokens = Tokens::from(&response);
        let id_token = response.extra_fields().id_token.as_ref().ok_or(RedeemError::NoIdToken)?;
        let expected = id_token::Expected {
            client_id: self.config.client_id,
            tenant: redemption.tenant,
            nonce: redemption.nonce,
            now,
        };
        let identity = id_token::check(id_token.expose_secret(), &self.keys, &expected).await?;
        if tokens.refresh.is_none() {
            return Err(RedeemError::NoRefreshToken);
        }
        Ok(SignedIn { tokens, identity })
    }

    /// A new token pair, at the person's own tenant. No scopes are sent, which asks for those of the grant: a scope
    /// added to the configuration later must not ask every person for a new consent.
    pub async fn refresh(
        &self,
        tenant: TenantId,
        refresh_token: &SecretString,
        timeout: Duration,
    ) -> Result<Tokens, TokenFailure> {
        let exchange = Exchange { http: &self.http, timeout: Some(timeout) };
        let response = self
            .at(&tenant.to_string())
            .exchange_refresh_token(&oauth2::RefreshToken::new(refresh_token.expose_secret().to_owned()))
            .request_async(&exchange)
            .await
            .map_err(token::failure)?;
        Ok(Tokens::from(&response))
    }

    fn path(&self, tenant: Option<TenantId>) -> String {
        tenant.map_or_else(|| self.config.sign_in_tenant.clone(), |tenant| tenant.to_string())
    }
}

impl Prompt {
    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
        }
    }
}
