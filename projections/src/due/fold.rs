//! The fold itself: what each event does to the rows.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    MessageId, Surface, SurfaceChoice, Timestamp, activity,
    connection::{self, Status},
    lane::{self, Open},
    sign_in::{self, FailureReason},
    tenant,
};

use super::{
    ActivityRow, ConnectionRow, ConsentRow, Deferral, Event, LaneRow, MessageRow, SignInRow, opens_bot,
};

pub(super) fn evolve_lane(row: Option<LaneRow>, event: &Event) -> Option<LaneRow> {
    match event {
        Event::Accepted { person, .. } => {
            let mut row = row.unwrap_or(LaneRow {
                person: *person,
                lane_revision: None,
                pending: 0,
                open: None,
                parked: BTreeMap::new(),
                deferred: BTreeMap::new(),
                bot_opened: None,
                again: BTreeSet::new(),
                begun: BTreeMap::new(),
                arrived: false,
                resumed_at: None,
            });
            row.pending += 1;
            Some(row)
        }
        Event::Lane { revision, event, at, .. } => row.map(|row| row.after(*revision, event, *at)),
        Event::Connection { revision, event, .. } if opens_bot(event) => {
            row.map(|row| LaneRow { bot_opened: Some(*revision), ..row })
        }
        _ => row,
    }
}

impl LaneRow {
    /// The row after an event of the lane's stream, for who has just appended it and need not wait for it to come back.
    #[must_use]
    pub fn after(self, revision: u64, event: &lane::Event, at: Timestamp) -> Self {
        Self { lane_revision: Some(revision), ..in_lane(self, event, at) }
    }
}

fn in_lane(mut row: LaneRow, event: &lane::Event, at: Timestamp) -> LaneRow {
    let open = |row: &LaneRow, message: &MessageId, attempt: &u32| {
        row.open.as_ref().is_some_and(|open| open.message == *message && open.attempt == *attempt)
    };
    match event {
        lane::Event::DeliveryStarted { message, attempt, surface, hub, timeout_ms, .. } => {
            row.open = Some(Open {
                message: *message,
                attempt: *attempt,
                surface: *surface,
                hub: *hub,
                timeout_ms: *timeout_ms,
            });
        }
        // Word that an unknown one arrived after all concludes nothing, unless it was to go again.
        lane::Event::Delivered { message, attempt, .. } if !open(&row, message, attempt) => {
            if row.again.remove(message) {
                row.begun.remove(message);
                row.pending = row.pending.saturating_sub(1);
                row.arrived |= row.open.as_ref().is_some_and(|open| open.message == *message);
            }
        }
        lane::Event::Delivered { message, .. }
        | lane::Event::Unknown { message, .. }
        | lane::Event::Rejected { message, .. }
        | lane::Event::DeadLettered { message, .. }
        | lane::Event::Expired { message, .. } => row.conclude(*message),
        lane::Event::Resent { message, attempt, .. } => {
            row.pending += 1;
            row.begun.insert(*message, *attempt);
            row.again.insert(*message);
        }
        lane::Event::Deferred { message, attempt, surface, until, .. } => {
            row.goes_again(*message, *attempt);
            let deferral = row.deferred.entry(surface.unwrap_or(Surface::Graph)).or_default();
            *deferral = Deferral { until: *until, times: deferral.times + 1 };
        }
        lane::Event::Parked { message, attempt, parked, .. } => {
            row.goes_again(*message, *attempt);
            row.deferred.remove(&parked.surface);
            row.parked.insert(parked.surface, parked.clone());
        }
        lane::Event::Resumed { surface } => {
            row.parked.remove(surface);
            row.resumed_at = Some(at);
        }
    }
    row
}

pub(super) fn evolve_message(row: Option<MessageRow>, event: &Event) -> Option<MessageRow> {
    match event {
        Event::Accepted { position, lane, surface, .. } => {
            Some(MessageRow { lane: *lane, position: *position, surface: *surface })
        }
        Event::Lane { lane, event, .. } => match event {
            // Perhaps it arrived that way, so it goes no other.
            lane::Event::Resent { surface, .. } => {
                let surface = surface.map_or(SurfaceChoice::Graph, SurfaceChoice::from);
                Some(MessageRow { lane: *lane, position: 0, surface })
            }
            lane::Event::DeliveryStarted { .. }
            | lane::Event::Deferred { .. }
            | lane::Event::Parked { .. }
            | lane::Event::Resumed { .. } => row,
            lane::Event::Delivered { .. }
            | lane::Event::Unknown { .. }
            | lane::Event::Rejected { .. }
            | lane::Event::DeadLettered { .. }
            | lane::Event::Expired { .. } => None,
        },
        _ => row,
    }
}

pub(super) fn evolve_connection(row: Option<ConnectionRow>, event: &Event) -> Option<ConnectionRow> {
    let Event::Connection { event, at, .. } = event else { return row };
    let end = |row: Option<ConnectionRow>, status| {
        row.map(|row| ConnectionRow { status, claim_open: false, ..row })
    };
    match event {
        connection::Event::Linked { person, sign_in, .. } => {
            let row = row.unwrap_or(ConnectionRow {
                person: *person,
                status: Status::Absent,
                grant: *sign_in,
                grant_number: 0,
                generation: 0,
                expires_at: Timestamp::default(),
                expired: true,
                issued_at: Timestamp::default(),
                claim_open: false,
                refresh_not_before: None,
                to_destroy: false,
            });
            let anew = matches!(row.status, Status::Absent | Status::Unlinked);
            Some(ConnectionRow { status: if anew { Status::Linked } else { row.status }, ..row })
        }
        connection::Event::TokenIssued { grant, grant_number, generation, expires_at, .. } => {
            row.map(|row| ConnectionRow {
                person: row.person,
                status: Status::Active,
                grant: *grant,
                grant_number: *grant_number,
                generation: *generation,
                expires_at: *expires_at,
                expired: false,
                issued_at: *at,
                claim_open: false,
                refresh_not_before: None,
                to_destroy: false,
            })
        }
        connection::Event::TokenRefreshed { generation, expires_at, .. } => row.map(|row| ConnectionRow {
            generation: *generation,
            expires_at: *expires_at,
            expired: false,
            issued_at: *at,
            claim_open: false,
            refresh_not_before: None,
            ..row
        }),
        connection::Event::RefreshStarted { .. } => row.map(|row| ConnectionRow { claim_open: true, ..row }),
        connection::Event::RefreshFailed { not_before, .. } => {
            row.map(|row| ConnectionRow { claim_open: false, refresh_not_before: *not_before, ..row })
        }
        connection::Event::TokenExpired { .. } | connection::Event::TokensRestored { .. } => {
            row.map(|row| ConnectionRow { expired: true, ..row })
        }
        connection::Event::ReauthorizationRequired { .. } => end(row, Status::ReauthorizationRequired),
        connection::Event::ConsentRequired { .. } => end(row, Status::ConsentRequired),
        connection::Event::Suspended { .. } => end(row, Status::Suspended),
        connection::Event::Unlinked {} => {
            // Who was linked by a password has no grant, or one whose tokens were seen to when it ended.
            let had_grant = |row: &ConnectionRow| row.grant_number > 0 && row.status != Status::Linked;
            let to_destroy = row.as_ref().is_some_and(|row| row.to_destroy || had_grant(row));
            end(row, Status::Unlinked).map(|row| ConnectionRow { to_destroy, ..row })
        }
        connection::Event::TokensDestroyed { .. } => {
            row.map(|row| ConnectionRow { to_destroy: false, ..row })
        }
        connection::Event::SignInBegun { .. }
        | connection::Event::ChatFound { .. }
        | connection::Event::ChatLost { .. }
        | connection::Event::BotInstalled { .. }
        | connection::Event::BotRemoved { .. }
        | connection::Event::BotBlocked {} => row,
    }
}

pub(super) fn evolve_sign_in(row: Option<SignInRow>, event: &Event) -> Option<SignInRow> {
    match event {
        Event::SignIn { event, .. } => match event {
            sign_in::Event::Requested { lapses_at, .. } => {
                Some(SignInRow { lapses_at: *lapses_at, ended: false })
            }
            sign_in::Event::Completed { .. }
            | sign_in::Event::Lapsed {}
            | sign_in::Event::Voided { .. }
            | sign_in::Event::Failed { why: FailureReason::AccountLinkedElsewhere, .. } => {
                row.map(|row| SignInRow { ended: true, ..row })
            }
            sign_in::Event::Settled {} => None,
            _ => row,
        },
        _ => row,
    }
}

/// Nothing of what was there before counts: an activity waits from when it came until it is handled.
pub(super) fn evolve_activity(event: &Event) -> Option<ActivityRow> {
    let Event::Activity { position, event: activity::Event::Received(received), .. } = event else {
        return None;
    };
    Some(ActivityRow { person: received.person, inbox: received.inbox, position: *position })
}

/// What is reported while an earlier report is passed on waits for its turn.
pub(super) fn evolve_consent(row: Option<ConsentRow>, event: &Event) -> Option<ConsentRow> {
    match event {
        Event::Consent { event: tenant::Event::ConsentReported { report: Some(report) }, .. } => {
            Some(ConsentRow { report: *report })
        }
        Event::Consent { event: tenant::Event::ConsentTold { report }, .. } => {
            row.filter(|row| row.report > *report)
        }
        _ => row,
    }
}
