//! Failures as they stand in events.

use domain::connection::{self, FailureClass};

use crate::{
    TokenFailure, bot,
    entra::{self, ReauthorizationReason},
    graph,
};

impl From<&entra::Diagnosis> for domain::Diagnosis {
    fn from(diagnosis: &entra::Diagnosis) -> Self {
        Self {
            http_status: diagnosis.http_status,
            code: diagnosis.error.clone(),
            suberror: diagnosis.suberror.clone(),
            aadsts: diagnosis.aadsts,
            request_id: diagnosis.trace_id.map(|id| id.to_string()),
        }
    }
}

impl From<&graph::Diagnosis> for domain::Diagnosis {
    fn from(diagnosis: &graph::Diagnosis) -> Self {
        Self {
            http_status: diagnosis.status,
            code: diagnosis.code.clone(),
            suberror: None,
            aadsts: None,
            request_id: diagnosis.request_id.map(|id| id.to_string()),
        }
    }
}

impl From<&bot::Diagnosis> for domain::Diagnosis {
    fn from(diagnosis: &bot::Diagnosis) -> Self {
        Self {
            http_status: diagnosis.status,
            code: diagnosis.code.clone(),
            suberror: diagnosis.sub_code.clone(),
            aadsts: diagnosis.aadsts,
            request_id: diagnosis.trace_id.clone(),
        }
    }
}

impl From<ReauthorizationReason> for connection::ReauthorizationReason {
    fn from(reason: ReauthorizationReason) -> Self {
        use ReauthorizationReason as Reason;
        match reason {
            Reason::Revoked
            | Reason::Expired
            | Reason::Inactive
            | Reason::Declined
            | Reason::CodeRefused
            | Reason::Unknown => Self::GrantDead,
            Reason::SignInFrequency | Reason::InteractionRequired => Self::InteractionRequired,
            Reason::ConditionalAccess | Reason::NotAssigned => Self::Blocked,
        }
    }
}

impl TokenFailure {
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Final { .. } => FailureClass::Final,
            Self::ConsentRequired { .. } => FailureClass::ConsentRequired,
            Self::PersonSuspended { .. } => FailureClass::Suspended,
            Self::TenantProblem { .. } => FailureClass::Tenant,
            Self::HubProblem { .. } => FailureClass::Hub,
            Self::Throttled { .. } => FailureClass::Throttled,
            Self::NotSent { .. } => FailureClass::NotSent,
            Self::Transient { .. } => FailureClass::Transient,
            Self::Ambiguous { .. } => FailureClass::Ambiguous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_is_recorded_with_entras_trace_id() {
        let diagnosis = entra::Diagnosis {
            error: Some("invalid_grant".into()),
            aadsts: Some(50173),
            trace_id: Some(uuid::Uuid::from_u128(1)),
            http_status: Some(400),
            ..entra::Diagnosis::default()
        };
        assert_eq!(
            domain::Diagnosis::from(&diagnosis),
            domain::Diagnosis {
                http_status: Some(400),
                code: Some("invalid_grant".into()),
                suberror: None,
                aadsts: Some(50173),
                request_id: Some("00000000-0000-0000-0000-000000000001".into()),
            }
        );
    }
}
