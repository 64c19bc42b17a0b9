//! Who signed in, by the ID token: the checks for an app of many tenants.
//!
//! The rules are `OpenID` Connect Core 3.1.3.7 and Microsoft's "Validate tokens": the issuer is the template with the
//! token's own `tid` in it, and each key says whose tokens it may sign.

use std::fmt;

use domain::{ObjectId, PersonId, TenantId, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::RedeemError;
use crate::jose::{IssuerKeys, Key, TokenProblem, Unverified};

/// Who signed in. Its debug output has the ids only; the rest is personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub person: PersonId,
    pub name: Option<String>,
    /// `preferred_username`: what the person calls the account; it can change.
    pub user_principal_name: Option<String>,
    pub email: Option<String>,
    /// The tenant has proved that it owns the e-mail's domain (`xms_edov`). An unverified e-mail proves nothing.
    pub email_verified: bool,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("person", &self.person).finish_non_exhaustive()
    }
}

/// Why an ID token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTokenProblem {
    /// Not a signed token, or a claim that we need is missing or of another type.
    Malformed,
    /// Signed by anything but RS256, or a header of the wrong shape.
    Algorithm,
    Signature,
    /// The issuer has no such key, also after looking again.
    UnknownKey,
    /// Not the issuer of the token's tenant, not the tenant that was asked for, or not one this key may sign for.
    Issuer,
    Audience,
    Expired,
    NotYetValid,
    Nonce,
}

impl From<TokenProblem> for IdTokenProblem {
    fn from(problem: TokenProblem) -> Self {
        match problem {
            TokenProblem::Malformed => Self::Malformed,
            TokenProblem::Algorithm => Self::Algorithm,
            TokenProblem::Signature => Self::Signature,
            TokenProblem::Audience => Self::Audience,
            TokenProblem::Expired => Self::Expired,
            TokenProblem::NotYetValid => Self::NotYetValid,
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    nonce: Option<String>,
    tid: String,
    oid: String,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    xms_edov: Option<Value>,
}

/// What the token is measured by.
pub(super) struct Expected<'a> {
    pub(super) client_id: Uuid,
    pub(super) tenant: Option<TenantId>,
    pub(super) nonce: &'a str,
    pub(super) now: Timestamp,
}

pub(super) async fn check(
    token: &str,
    keys: &IssuerKeys,
    expected: &Expected<'_>,
) -> Result<Identity, RedeemError> {
    let invalid = |why: IdTokenProblem| RedeemError::IdTokenInvalid { why };
    let unverified = Unverified::parse(token).map_err(|problem| invalid(problem.into()))?;
    let (template, key) = keys.find(&unverified.kid).await?;
    let key = key.ok_or(invalid(IdTokenProblem::UnknownKey))?;
    let claims: Claims = unverified
        .verify(&key, &expected.client_id.to_string(), expected.now)
        .map_err(|problem| invalid(problem.into()))?;
    let tenant: TenantId = claims.tid.parse().map_err(|_| invalid(IdTokenProblem::Malformed))?;
    expected.check(&claims, tenant, &template, &key).map_err(invalid)?;
    if tenant == TenantId::PERSONAL_ACCOUNTS {
        return Err(RedeemError::PersonalAccount);
    }
    let object_id: ObjectId = claims.oid.parse().map_err(|_| invalid(IdTokenProblem::Malformed))?;
    Ok(Identity {
        person: PersonId { tenant, object_id },
        email_verified: claims.email.is_some() && claims.xms_edov.is_some_and(|edov| is_true(&edov)),
        name: claims.name,
        user_principal_name: claims.preferred_username,
        email: claims.email,
    })
}

impl Expected<'_> {
    fn check(
        &self,
        claims: &Claims,
        tenant: TenantId,
        template: &str,
        key: &Key,
    ) -> Result<(), IdTokenProblem> {
        let fits = |template: &str| template.replace("{tenantid}", &claims.tid) == claims.iss;
        if !fits(template)
            || !key.issuer.as_deref().is_none_or(fits)
            || self.tenant.is_some_and(|asked| asked != tenant)
        {
            return Err(IdTokenProblem::Issuer);
        }
        if claims.nonce.as_deref() != Some(self.nonce) {
            return Err(IdTokenProblem::Nonce);
        }
        Ok(())
    }
}

/// `xms_edov` has been seen in three encodings.
fn is_true(edov: &Value) -> bool {
    *edov == Value::Bool(true) || edov.as_u64() == Some(1) || edov.as_str() == Some("1")
}
