//! Who may do what on a cluster: access control lists, kept as the hub needs them.
//!
//! A hub's user is a member of `$admins`, since nobody else may read the whole log. By default auditors read what is in
//! streams and nobody but hubs changes anything; streams with secrets, and those that clients append to, have lists of
//! their own. The groups are the operator's to make, and the ordinary default lets everybody write everywhere.

use serde_json::{Value, json};

use super::{EventStoreDb, connection::Connection, new_id};
use crate::{Access, ContentType, Direction, Expected, NewEvent, StoreError, StreamName};

/// The group of hubs.
pub const HUBS: &str = "$admins";
/// The group of those who read.
pub const AUDITORS: &str = "chancery-auditors";
/// The group of those who submit.
pub const CLIENTS: &str = "chancery-clients";

/// How often somebody else may have set the default in between.
const ATTEMPTS: usize = 4;

/// The stream whose newest event is the default for streams without a list of their own.
const SETTINGS: &str = "$settings";

impl EventStoreDb {
    /// Sets the default for all streams unless it is so already.
    ///
    /// `Unavailable` where the user of the connection string may not do that.
    pub async fn guard(&self) -> Result<(), StoreError> {
        let settings = StreamName::new(SETTINGS);
        let wanted = json!({ "$userStreamAcl": list(&[HUBS, AUDITORS], &[HUBS]), "$systemStreamAcl": list(&[HUBS], &[HUBS]) });
        for _ in 0..ATTEMPTS {
            let newest = self.connection.read_stream(&settings, Direction::Backward, u64::MAX, 1).await?;
            let newest = newest.first();
            if newest.is_some_and(|newest| {
                serde_json::from_slice(&newest.data).is_ok_and(|set: Value| set == wanted)
            }) {
                return Ok(());
            }
            let expected = newest.map_or(Expected::NoStream, |newest| Expected::Revision(newest.revision));
            let event = NewEvent {
                id: new_id(),
                name: "update-default-acl".into(),
                content_type: ContentType::Json,
                data: wanted.to_string().into(),
                metadata: "{}".into(),
            };
            match self.connection.append(&settings, expected, &[event]).await {
                Ok(_) => return Ok(()),
                // Most likely another hub that starts, and says the same.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable("its default access control list is changed all the time".into()))
    }
}

impl Connection {
    pub(super) async fn reserve(&self, stream: &StreamName, for_whom: Access) -> Result<(), StoreError> {
        let acl = match for_whom {
            Access::Hubs => list(&[HUBS], &[HUBS]),
            Access::Clients => {
                let mut acl = list(&[HUBS], &[HUBS]);
                acl["$w"] = json!([HUBS, CLIENTS]);
                acl
            }
        };
        self.change_metadata(stream, |metadata| {
            metadata.insert("$acl".into(), acl.clone());
        })
        .await
    }
}

/// Those who read, and those who change.
fn list(read: &[&str], change: &[&str]) -> Value {
    json!({ "$r": read, "$w": change, "$d": change, "$mr": read, "$mw": change })
}
