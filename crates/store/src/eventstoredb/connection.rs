//! The client, made anew when it is of no use any more, and what its errors mean.
//!
//! A client whose first connection failed answers *closed* for ever after, and one whose node is gone never looks for
//! another. Both are replaced, by whoever is told first; calls under way with the former one end by themselves.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use eventstore::{Client, Credentials, Error};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{ConnectionString, Options, appending::Batches, tail::Tail};
use crate::{Filter, StoreError};

/// Between one replacement and the next at least: making a client reads the system's certificates.
const RENEWAL: Duration = Duration::from_millis(200);

/// How often a call is made where the client was closed, or the cluster had another leader.
const CALLS: u32 = 4;

pub(super) struct Connection {
    string: ConnectionString,
    pub(super) options: Options,
    current: Mutex<Current>,
    /// Which client it is, for who waits for another.
    generations: watch::Sender<u64>,
    pub(super) batches: Batches,
    /// For all who follow, whichever streams they want.
    pub(super) tail: Arc<Tail>,
}

struct Current {
    client: Client,
    generation: u64,
    since: Instant,
}

impl Connection {
    pub(super) fn new(string: ConnectionString, options: Options) -> Result<Self, StoreError> {
        let client =
            Client::new(string.settings.clone()).map_err(|error| StoreError::Broken(error.to_string()))?;
        let current = Mutex::new(Current { client, generation: 0, since: Instant::now() });
        let tail = Arc::new(Tail::new(Filter::all()));
        let generations = watch::Sender::new(0);
        Ok(Self { string, options, current, generations, batches: Batches::default(), tail })
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.string.credentials.as_ref()
    }

    /// The client, and which one it is.
    pub(super) fn client(&self) -> (u64, Client) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.generation, current.client.clone())
    }

    /// Which client it is now.
    pub(super) fn generation(&self) -> u64 {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Replaces the client of that generation, if nobody has yet.
    pub(super) fn renew(&self, generation: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation != generation || current.since.elapsed() < RENEWAL {
            return;
        }
        match Client::new(self.string.settings.clone()) {
            Ok(client) => {
                *current = Current { client, generation: generation + 1, since: Instant::now() };
                self.generations.send_replace(generation + 1);
                tracing::info!(hosts = %self.string.hosts, "connecting to the event store anew");
            }
            Err(error) => tracing::warn!(%error, "the event store's client can't be made anew"),
        }
    }

    /// Waits until the client of that generation is replaced: what still hangs on it hears nothing any more, perhaps.
    pub(super) async fn renewed(&self, generation: u64) {
        let mut generations = self.generations.subscribe();
        // It lives as long as the connection, which is lent to us.
        let _ = generations.wait_for(|now| *now > generation).await;
    }

    /// What a failed call is to the caller; sees to it that the next one has a client that may do better.
    pub(super) fn failed(&self, generation: u64, error: &Error) -> StoreError {
        if let Error::ConnectionClosed
        | Error::GrpcConnectionError(_)
        | Error::ServerError(_)
        | Error::DeadlineExceeded = error
        {
            self.renew(generation);
        }
        match error {
            Error::AccessDenied => StoreError::Unavailable(
                "it refuses the user or the password in the connection string, or this user may not do that"
                    .into(),
            ),
            Error::UnsupportedFeature => StoreError::Broken("the server is older than 21.10".into()),
            Error::ConnectionClosed | Error::GrpcConnectionError(_) => {
                StoreError::Unavailable(format!("{} can't be reached", self.string.hosts))
            }
            // Behind it come headers, which are of no use to anybody who reads it.
            Error::ServerError(status) => {
                let said = status.split(", details: ").next().unwrap_or_default();
                StoreError::Unavailable(format!("{} failed ({said})", self.string.hosts))
            }
            error => StoreError::Unavailable(format!("{}: {error}", self.string.hosts)),
        }
    }

    /// Makes a call that may be made twice, with a client that is of use.
    pub(super) async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempt = 0;
        loop {
            let (generation, client) = self.client();
            let error = match call(client).await {
                Ok(answer) => return Ok(answer),
                Err(Error::ResourceNotFound) => return Err(CallError::Missing),
                Err(Error::ResourceDeleted) => return Err(CallError::Deleted),
                Err(error) => error,
            };
            let failed = self.failed(generation, &error);
            attempt += 1;
            // In these cases nothing was done, and another connection has been made or is being made.
            if attempt >= CALLS || !matches!(error, Error::ConnectionClosed | Error::NotLeaderException(_)) {
                return Err(CallError::Failed(failed));
            }
            sleep(RENEWAL / CALLS).await;
        }
    }
}

/// Why a call gave no answer.
pub(super) enum CallError {
    /// The stream is not there.
    Missing,
    /// The stream was deleted for good.
    Deleted,
    Failed(StoreError),
}

/// The client itself waits for ever.
pub(super) async fn within<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(patience, call).await.unwrap_or(Err(Error::DeadlineExceeded))
}

/// Gives each option of a call the user whom the client would not understand.
macro_rules! as_user {
    ($connection:expr, $options:expr) => {
        match $connection.credentials() {
            Some(credentials) => $options.authenticated(credentials.clone()),
            None => $options,
        }
    };
}
pub(super) use as_user;
