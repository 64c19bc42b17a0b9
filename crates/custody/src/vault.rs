//! What a vault promises, whatever it is made of.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

/// Keeps wrapped values by kind, id and generation.
///
/// **Invariants.** A put that was answered survives the death of the process. Of one id the stored versions only rise.
/// The newest value stays until its id is destroyed, and a destroyed id refuses every later put, for ever.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Stores a value as [`admit`] decides; the same version with the same bytes again is a success.
    ///
    /// A later claim on the newest generation replaces its value.
    async fn put(&self, id: &EntryId, version: Version, wrapped: &[u8]) -> Result<(), VaultError>;

    /// The value of one generation, or of the newest; `None` when there never was one, or it was forgotten.
    async fn get(&self, id: &EntryId, generation: Option<u64>) -> Result<Option<Entry>, VaultError>;

    /// Lets go of the generations before `generation`, but never of the newest. Nothing of them stays readable.
    async fn forget_before(&self, id: &EntryId, generation: u64) -> Result<(), VaultError>;

    /// Destroys every value of `id`, known or not yet, and all later ones. Repeating it is a success.
    async fn destroy(&self, id: &EntryId) -> Result<(), VaultError>;
}

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Keys of the installation: naming, lookup, signing.
    Installation,
    /// The key of one person.
    Person,
    /// The key of one calendar month, half of what message content is sealed under.
    Month,
    /// The key of a sign-in that belongs to no person yet.
    SignIn,
    /// The tokens of one grant.
    Grant,
    /// What somebody did to the bot, until it is handled.
    Inbox,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installation => "installation",
            Self::Person => "person",
            Self::Month => "month",
            Self::SignIn => "sign-in",
            Self::Grant => "grant",
            Self::Inbox => "inbox",
        }
    }
}

/// The name of a value in all its generations. Never used twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryId {
    pub kind: Kind,
    pub id: Arc<str>,
}

impl EntryId {
    pub fn new(kind: Kind, id: impl Into<Arc<str>>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.id)
    }
}

/// Generation, counted from 1, then claim: ordered in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub generation: u64,
    /// Who was allowed to write: a number that rises with every claim on the id.
    pub claim: u64,
}

/// A stored value, still wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub version: Version,
    pub wrapped: Vec<u8>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?}, {} bytes)", self.version, self.wrapped.len())
    }
}

/// Why a vault did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Someone with a later or equal claim was faster: read what stands there.
    #[error("a later value stands in the vault already")]
    Superseded,
    /// A mistake of the caller: the generation is not the newest or the one after it.
    #[error("the value's generation does not follow the newest one")]
    OutOfOrder,
    /// The id is gone for ever.
    #[error("the value was destroyed")]
    Destroyed,
    /// Nothing is known to have happened; try again later. The text is for the operator and holds no secret.
    #[error("the vault is not available: {0}")]
    Unavailable(String),
}

/// What [`admit`] lets a put do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Write,
    /// The very same value stands there: a repeat after a lost answer.
    AlreadyThere,
}

/// The rule every vault follows, given the newest value of an id that was not destroyed.
pub fn admit(newest: Option<&Entry>, version: Version, wrapped: &[u8]) -> Result<Admission, VaultError> {
    let newest_generation = newest.map_or(0, |entry| entry.version.generation);
    match newest {
        Some(entry) if entry.version == version && entry.wrapped == wrapped => Ok(Admission::AlreadyThere),
        Some(entry) if version <= entry.version => Err(VaultError::Superseded),
        _ if version.generation == 0 || version.generation > newest_generation.saturating_add(1) => {
            Err(VaultError::OutOfOrder)
        }
        _ => Ok(Admission::Write),
    }
}
