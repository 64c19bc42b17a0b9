//! How failures of the store, the vault and of commands are answered.

use std::{error::Error, fmt::Display, time::Duration};

use custody::{CustodyError, UnsealError, VaultError};
use domain::{account, audit, client, connection, intake, lane, message, sign_in, tenant};
use store::StoreError;

use crate::{
    commands::{Failure, LoadError},
    http::problem::{ApiError, Kind},
};

/// How soon it is worth trying again after a disk was full or a store did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => unavailable(&error, "Nothing was recorded; try again."),
            StoreError::Uncertain(_) => {
                unavailable(&error, "It may have been recorded: try again with the same Idempotency-Key.")
            }
            StoreError::TooLarge { .. } => Self::new(Kind::TooLarge, "That is too large to be recorded."),
            _ => Self::internal(error),
        }
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => error.into(),
            LoadError::Unreadable(error) => Self::internal(error),
        }
    }
}

/// A refusal is told as it stands; where a client should tell refusals apart, its handler looks at them first.
impl<R: Display> From<Failure<R>> for ApiError {
    fn from(failure: Failure<R>) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::new(Kind::Conflict, format!("That can't be done: {refusal}.")),
            Failure::Store(error) => error.into(),
            Failure::Unreadable(error) => Self::internal(error),
            Failure::Contended(_) => {
                unavailable(&failure, "Others are writing to the same thing; try again.")
            }
        }
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        if let Some(error) = error.chain().find_map(of_store) {
            return error.clone().into();
        }
        if error.chain().any(is_vault_away) {
            return unavailable(&error, "The vault does not answer; try again.");
        }
        Self::internal(error)
    }
}

/// Whether it is worth trying again: the store or the vault is in trouble, not what was asked of them.
pub fn is_passing(error: &anyhow::Error) -> bool {
    let of_store = error.chain().find_map(of_store);
    let passing = |error: &StoreError| {
        !matches!(error, StoreError::Deleted(_) | StoreError::TooLarge { .. } | StoreError::Invalid(_))
    };
    of_store.is_some_and(passing) || error.chain().any(is_vault_away)
}

fn unavailable(cause: &dyn Display, detail: &str) -> ApiError {
    tracing::warn!(error = %cause, "a request could not be served now");
    ApiError::new(Kind::Unavailable, detail).retry_after(RETRY_AFTER)
}

/// The store's own error within one of ours, which show it as if it were theirs and so hide it from `source`.
fn of_store<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
    fn failed<'a, R: Error + 'static>(cause: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
        match cause.downcast_ref() {
            Some(Failure::<R>::Store(error)) => Some(error),
            _ => None,
        }
    }
    if let Some(LoadError::Store(error)) = cause.downcast_ref() {
        return Some(error);
    }
    let of_commands = [
        failed::<account::Refusal>,
        failed::<audit::Refusal>,
        failed::<client::Refusal>,
        failed::<connection::Refusal>,
        failed::<intake::Refusal>,
        failed::<lane::Refusal>,
        failed::<message::Refusal>,
        failed::<sign_in::Refusal>,
        failed::<tenant::Refusal>,
    ];
    cause.downcast_ref().or_else(|| of_commands.iter().find_map(|failed| failed(cause)))
}

fn is_vault_away(cause: &(dyn Error + 'static)) -> bool {
    let vault = cause.downcast_ref::<VaultError>();
    let custody = match cause.downcast_ref() {
        Some(UnsealError::Vault(error)) => Some(error),
        _ => cause.downcast_ref(),
    };
    let within = match custody {
        Some(CustodyError::Vault(error)) => Some(error),
        _ => vault,
    };
    matches!(within, Some(VaultError::Unavailable(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_fault_of_the_hub_however_deep_it_is_told() {
        let full = || StoreError::Unavailable("no space left on device".to_owned());
        let errors: [ApiError; 4] = [
            full().into(),
            anyhow::Error::from(full()).context("while accepting").into(),
            anyhow::Error::from(Failure::<message::Refusal>::Store(full())).into(),
            anyhow::Error::from(LoadError::Store(full())).into(),
        ];
        for error in errors {
            assert_eq!(error.kind(), Kind::Unavailable);
            assert!(!error.detail().contains("device"));
        }
    }

    #[test]
    fn what_is_damaged_is_internal() {
        let damaged = StoreError::Broken("not a database".to_owned());
        assert_eq!(ApiError::from(anyhow::Error::from(damaged)).kind(), Kind::Internal);
    }

    #[test]
    fn a_refusal_is_a_conflict_that_says_why() {
        let error = ApiError::from(Failure::Refused(account::Refusal::NotLinked));
        assert_eq!(
            (error.kind(), error.detail()),
            (Kind::Conflict, "That can't be done: the account is not linked to anybody.")
        );
    }
}
