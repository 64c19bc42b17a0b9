//! The events that are folded into what is due, and what of each matters.

use domain::{
    ActivityId, ConnectionId, MessageId, PersonId, SignInId, SurfaceChoice, TenantId, Timestamp,
    activity::{self, Activity},
    connection::{self, Connection},
    lane::{self, Lane},
    message::{self, Message},
    sign_in::{self, SignIn},
    tenant::{self, Tenant},
};

use crate::{EventRef, Unreadable};

/// An event that this projection folds.
pub enum Event {
    Accepted {
        message: MessageId,
        position: u64,
        lane: ConnectionId,
        person: PersonId,
        surface: SurfaceChoice,
    },
    Lane {
        lane: ConnectionId,
        revision: u64,
        event: lane::Event,
        at: Timestamp,
    },
    Connection {
        connection: ConnectionId,
        revision: u64,
        event: connection::Event,
        at: Timestamp,
    },
    SignIn {
        sign_in: SignInId,
        event: sign_in::Event,
    },
    Activity {
        activity: ActivityId,
        position: u64,
        event: activity::Event,
    },
    /// Word of an administrator's consent, or that it was passed on.
    Consent {
        tenant: TenantId,
        event: tenant::Event,
    },
}

/// What of an event matters here, if anything does.
pub(super) fn read(event: EventRef<'_>) -> Result<Option<Event>, Unreadable> {
    if let Some(message::Event::Accepted(accepted)) = event.decode::<Message>()? {
        let (message, position) = (event.stream_id()?, event.position.0);
        return Ok(Some(Event::Accepted {
            message,
            position,
            lane: accepted.lane,
            person: accepted.person,
            surface: accepted.surface.unwrap_or_default(),
        }));
    }
    if let Some(of_lane) = event.decode::<Lane>()? {
        let at = match of_lane {
            lane::Event::Resumed { .. } => event.about()?.recorded_at,
            _ => Timestamp::default(),
        };
        let (lane, revision) = (event.stream_id()?, event.revision);
        return Ok(Some(Event::Lane { lane, revision, event: of_lane, at }));
    }
    if let Some(of_connection) = event.decode::<Connection>()? {
        let at = match of_connection {
            connection::Event::TokenIssued { .. } | connection::Event::TokenRefreshed { .. } => {
                event.about()?.recorded_at
            }
            _ => Timestamp::default(),
        };
        let (connection, revision) = (event.stream_id()?, event.revision);
        return Ok(Some(Event::Connection { connection, revision, event: of_connection, at }));
    }
    if let Some(of_activity) = event.decode::<Activity>()? {
        let (activity, position) = (event.stream_id()?, event.position.0);
        return Ok(Some(Event::Activity { activity, position, event: of_activity }));
    }
    if let Some(of_tenant) = event.decode::<Tenant>()? {
        let concerns = match of_tenant {
            // Without a number: those who waited were told when it was recorded.
            tenant::Event::ConsentReported { report } => report.is_some(),
            tenant::Event::ConsentTold { .. } => true,
            _ => false,
        };
        let tenant = event.stream_id()?;
        return Ok(concerns.then_some(Event::Consent { tenant, event: of_tenant }));
    }
    Ok(match event.decode::<SignIn>()? {
        Some(of_sign_in) => Some(Event::SignIn { sign_in: event.stream_id()?, event: of_sign_in }),
        None => None,
    })
}
