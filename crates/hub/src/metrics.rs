//! What the hub counts. Names and labels hold no personal data and no unbounded values.

use std::fmt::Write as _;

use domain::{activity, notice};
use microsoft::{TokenFailure, bot};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// An enum that is a label, in the spelling of labels.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant,)* }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                encoder.write_str(match self { $(Self::$variant => $text,)* })
            }
        }

        #[cfg(test)]
        impl $name {
            const ALL: &[Self] = &[$(Self::$variant),*];
        }
    };
}

/// Counters of the processors; those of HTTP are beside its layers.
#[derive(Clone, Default)]
pub struct Metrics {
    deliveries: Family<Delivery, Counter>,
    refreshes: Family<Refresh, Counter>,
    sign_ins: Family<SignIn, Counter>,
    deliveries_under_way: Gauge,
    breakers_open: Gauge,
    messages: Family<ByStatus, Gauge>,
    connections: Family<ByStatus, Gauge>,
    read_model_lag: Family<OfReadModel, Gauge>,
    shards_owned: Gauge,
    hubs_living: Gauge,
    shard_moves: Family<Moved, Counter>,
    intake: Family<Intake, Counter>,
    intake_waiting: Gauge,
    activities: Family<Activity, Counter>,
    activities_handled: Family<Handled, Counter>,
    notices: Family<Notice, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReadModel {
    read_model: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    outcome: DeliveryOutcome,
}

label! {
    /// What came of an attempt to deliver.
    DeliveryOutcome { Delivered = "delivered", Deferred = "deferred", Unknown = "unknown", Parked = "parked", Rejected = "rejected", DeadLettered = "dead_lettered", Expired = "expired" }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refresh {
    outcome: RefreshOutcome,
}

label! {
    /// What came of a call to the token endpoint.
    RefreshOutcome { Refreshed = "refreshed", Final = "final", ConsentRequired = "consent_required", Suspended = "suspended", TenantProblem = "tenant_problem", HubProblem = "hub_problem", Throttled = "throttled", NotSent = "not_sent", Transient = "transient", Ambiguous = "ambiguous" }
}

impl RefreshOutcome {
    pub fn of(failure: &TokenFailure) -> Self {
        match failure {
            TokenFailure::Final { .. } => Self::Final,
            TokenFailure::ConsentRequired { .. } => Self::ConsentRequired,
            TokenFailure::PersonSuspended { .. } => Self::Suspended,
            TokenFailure::TenantProblem { .. } => Self::TenantProblem,
            TokenFailure::HubProblem { .. } => Self::HubProblem,
            TokenFailure::Throttled { .. } => Self::Throttled,
            TokenFailure::NotSent { .. } => Self::NotSent,
            TokenFailure::Transient { .. } => Self::Transient,
            TokenFailure::Ambiguous { .. } => Self::Ambiguous,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignIn {
    outcome: SignInOutcome,
}

label! {
    /// What came of a sign-in.
    SignInOutcome { Completed = "completed", Provisional = "provisional", Failed = "failed", Refused = "refused", Lapsed = "lapsed" }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    what: ShardMove,
}

label! {
    /// What this hub did with a shard.
    ShardMove { Taken = "taken", Released = "released" }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Intake {
    answer: IntakeAnswer,
}

label! {
    /// How an event of an intake stream was answered.
    IntakeAnswer { Accepted = "accepted", Rejected = "rejected" }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Activity {
    kind: ActivityKind,
    answer: ActivityAnswer,
}

label! {
    /// What sort of activity came.
    ActivityKind { Message = "message", Submit = "submit", Installed = "installed", Removed = "removed", MembersChanged = "members_changed", Invoke = "invoke", Other = "other", Unreadable = "unreadable" }
}

impl ActivityKind {
    pub fn of(kind: &bot::Kind) -> Self {
        match kind {
            bot::Kind::Message { .. } => Self::Message,
            bot::Kind::Submit { .. } => Self::Submit,
            bot::Kind::Installed => Self::Installed,
            bot::Kind::Removed => Self::Removed,
            bot::Kind::MembersChanged { .. } => Self::MembersChanged,
            bot::Kind::Invoke { .. } => Self::Invoke,
            bot::Kind::Other => Self::Other,
        }
    }
}

label! {
    /// How an activity was answered.
    ActivityAnswer { Received = "received", Repeated = "repeated", TurnedAway = "turned_away", Ignored = "ignored", Refused = "refused" }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    outcome: ActivityOutcome,
}

label! {
    /// What came of an activity.
    ActivityOutcome { Answered = "answered", Unanswered = "unanswered", Noted = "noted", Echo = "echo", TenantNotAdmitted = "tenant_not_admitted", Finished = "finished", PayloadLost = "payload_lost", GaveUp = "gave_up" }
}

impl ActivityOutcome {
    pub fn of(outcome: activity::Outcome) -> Self {
        match outcome {
            activity::Outcome::Answered => Self::Answered,
            activity::Outcome::Unanswered => Self::Unanswered,
            activity::Outcome::Noted => Self::Noted,
            activity::Outcome::Echo => Self::Echo,
            activity::Outcome::TenantNotAdmitted => Self::TenantNotAdmitted,
            activity::Outcome::Finished => Self::Finished,
            activity::Outcome::PayloadLost => Self::PayloadLost,
            activity::Outcome::GaveUp => Self::GaveUp,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Notice {
    outcome: NoticeOutcome,
}

label! {
    /// What came of an attempt to say something.
    NoticeOutcome { Sent = "sent", Failed = "failed", Unknown = "unknown" }
}

impl NoticeOutcome {
    pub fn of(outcome: &notice::Outcome) -> Self {
        match outcome {
            notice::Outcome::Sent { .. } => Self::Sent,
            notice::Outcome::Failed { .. } => Self::Failed,
            notice::Outcome::Unknown { .. } => Self::Unknown,
        }
    }
}

impl Metrics {
    /// Shows them at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("chancery_deliveries", "Attempts to deliver, by outcome", self.deliveries.clone());
        registry.register(
            "chancery_refreshes",
            "Calls to the token endpoint, by outcome",
            self.refreshes.clone(),
        );
        registry.register("chancery_sign_ins", "Sign-ins, by outcome", self.sign_ins.clone());
        registry.register(
            "chancery_deliveries_under_way",
            "Lanes being worked now",
            self.deliveries_under_way.clone(),
        );
        registry.register(
            "chancery_breakers_open",
            "Tenants whose deliveries are held back",
            self.breakers_open.clone(),
        );
        let help = "Messages submitted through the store, by how they were answered";
        registry.register("chancery_intake", help, self.intake.clone());
        let help = "Activities that Teams sent to the bot, by what they are and how they were answered";
        registry.register("chancery_activities", help, self.activities.clone());
        let help = "Activities that were received, by what came of them";
        registry.register("chancery_activities_handled", help, self.activities_handled.clone());
        let help = "Attempts of the bot to say something of its own, by outcome";
        registry.register("chancery_notices", help, self.notices.clone());
        self.register_gauges(registry);
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register(
            "chancery_messages",
            "Messages, by status; counted every 15 s",
            self.messages.clone(),
        );
        let help = "Connections, by status; counted every 15 s";
        registry.register("chancery_connections", help, self.connections.clone());
        let help = "Positions of the log that a read model has not folded; looked at every 15 s";
        registry.register("chancery_read_model_lag", help, self.read_model_lag.clone());
        let help = "Shards, of 256, that this hub works; over all hubs they add up to 256";
        registry.register("chancery_shards_owned", help, self.shards_owned.clone());
        let help = "Hubs on this store that live, this one among them";
        registry.register("chancery_hubs_living", help, self.hubs_living.clone());
        registry.register(
            "chancery_shard_moves",
            "Shards that this hub took and released",
            self.shard_moves.clone(),
        );
        let help = "Events of intake streams that are not answered yet";
        registry.register("chancery_intake_waiting", help, self.intake_waiting.clone());
    }

    /// How many messages there are of each status.
    pub fn messages(&self, counts: Vec<(String, u64)>) {
        set_all(&self.messages, counts);
    }

    /// How many connections there are of each status.
    pub fn connections(&self, counts: Vec<(String, u64)>) {
        set_all(&self.connections, counts);
    }

    pub fn read_model_lag(&self, read_model: &'static str, positions: u64) {
        let gauge = self.read_model_lag.get_or_create(&OfReadModel { read_model });
        gauge.set(i64::try_from(positions).unwrap_or(i64::MAX));
    }

    pub fn delivery(&self, outcome: DeliveryOutcome) {
        self.deliveries.get_or_create(&Delivery { outcome }).inc();
    }

    pub fn refreshed(&self, outcome: RefreshOutcome) {
        self.refreshes.get_or_create(&Refresh { outcome }).inc();
    }

    pub fn sign_in(&self, outcome: SignInOutcome) {
        self.sign_ins.get_or_create(&SignIn { outcome }).inc();
    }

    pub fn intake(&self, answer: IntakeAnswer) {
        self.intake.get_or_create(&Intake { answer }).inc();
    }

    pub fn activity(&self, kind: ActivityKind, answer: ActivityAnswer) {
        self.activities.get_or_create(&Activity { kind, answer }).inc();
    }

    pub fn activity_handled(&self, outcome: ActivityOutcome) {
        self.activities_handled.get_or_create(&Handled { outcome }).inc();
    }

    pub fn notice(&self, outcome: NoticeOutcome) {
        self.notices.get_or_create(&Notice { outcome }).inc();
    }

    pub fn intake_waiting(&self, events: u64) {
        self.intake_waiting.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    pub fn under_way(&self, lanes: usize) {
        self.deliveries_under_way.set(i64::try_from(lanes).unwrap_or(i64::MAX));
    }

    /// How many shards are this hub's, of how many hubs.
    pub fn shards(&self, owned: usize, hubs: usize) {
        self.shards_owned.set(i64::try_from(owned).unwrap_or(i64::MAX));
        self.hubs_living.set(i64::try_from(hubs).unwrap_or(i64::MAX));
    }

    pub fn shard_moved(&self, what: ShardMove) {
        self.shard_moves.get_or_create(&Moved { what }).inc();
    }

    pub fn breakers_open(&self, tenants: usize) {
        self.breakers_open.set(i64::try_from(tenants).unwrap_or(i64::MAX));
    }
}

/// What is no longer counted is gone, not left at its last value.
fn set_all(family: &Family<ByStatus, Gauge>, counts: Vec<(String, u64)>) {
    family.clear();
    for (status, count) in counts {
        family.get_or_create(&ByStatus { status }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
        time::Duration,
    };

    use domain::connection::Status;
    use projections::{Projection as _, clients, connections, due, messages};

    use super::*;
    use crate::http::HttpMetrics;

    /// Every series that there can be, since what never had a value is not shown. A new metric stops this from compiling.
    fn all() -> Metrics {
        let metrics = Metrics::default();
        let Metrics {
            deliveries: _,
            refreshes: _,
            sign_ins: _,
            deliveries_under_way: _,
            breakers_open: _,
            messages: _,
            connections: _,
            read_model_lag: _,
            shards_owned: _,
            hubs_living: _,
            shard_moves: _,
            intake: _,
            intake_waiting: _,
            activities: _,
            activities_handled: _,
            notices: _,
        } = &metrics;
        for outcome in DeliveryOutcome::ALL {
            metrics.delivery(*outcome);
        }
        for outcome in RefreshOutcome::ALL {
            metrics.refreshed(*outcome);
        }
        for outcome in SignInOutcome::ALL {
            metrics.sign_in(*outcome);
        }
        for what in ShardMove::ALL {
            metrics.shard_moved(*what);
        }
        for answer in IntakeAnswer::ALL {
            metrics.intake(*answer);
        }
        for kind in ActivityKind::ALL {
            for answer in ActivityAnswer::ALL {
                metrics.activity(*kind, *answer);
            }
        }
        for outcome in ActivityOutcome::ALL {
            metrics.activity_handled(*outcome);
        }
        for outcome in NoticeOutcome::ALL {
            metrics.notice(*outcome);
        }
        metrics.messages(messages::Status::ALL.map(|status| (status.name().to_owned(), 1)).into());
        let linked = [
            Status::Absent,
            Status::Linked,
            Status::Active,
            Status::ReauthorizationRequired,
            Status::ConsentRequired,
            Status::Suspended,
            Status::Unlinked,
        ];
        metrics.connections(linked.map(|status| (connections::status_name(status).to_owned(), 1)).into());
        for name in
            [clients::Clients::NAME, connections::Connections::NAME, due::Due::NAME, messages::Messages::NAME]
        {
            metrics.read_model_lag(name, 1);
        }
        metrics
    }

    /// `outcome="delivered"` and the like of a line that has values of ours.
    fn labels(line: &str) -> Vec<(&str, &str)> {
        let ours = line.strip_prefix("chancery_").and_then(|line| line.split_once('{'));
        let pairs = ours.and_then(|(_, rest)| rest.split_once('}')).map_or("", |(pairs, _)| pairs);
        pairs.split(',').filter_map(|pair| pair.split_once('=')).collect()
    }

    #[test]
    fn the_operations_guide_names_every_metric_with_its_kind_and_values_and_no_other() {
        let mut registry = Registry::default();
        all().register(&mut registry);
        HttpMetrics::register(&mut registry).answered("GET", "/health/live".to_owned(), 204, Duration::ZERO);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
        let guide = fs::read_to_string(guide).unwrap();
        let row = |line| str::strip_prefix(line, "| `").and_then(|line| line.split_once("` | "));
        let metric = |(name, _): &(&str, &str)| name.starts_with("chancery_") || name.starts_with("http_");
        let rows: BTreeMap<_, _> = guide.lines().filter_map(row).filter(metric).collect();

        let (mut shown, mut told) = (BTreeSet::new(), "");
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
                let name = format!("{name}{}", if kind == "counter" { "_total" } else { "" });
                told = rows.get(&*name).unwrap_or_else(|| panic!("{name} has no row in docs/OPERATIONS.md"));
                assert!(told.starts_with(kind), "{name} is a {kind}: {told}");
                shown.insert(name);
            }
            for (label, value) in labels(line) {
                let value = value.replace('"', "`");
                assert!(told.contains(&format!("`{label}`")) && told.contains(&value), "{line}: {told}");
            }
        }
        let gone: Vec<_> = rows.keys().filter(|name| !shown.contains(**name)).collect();
        assert!(gone.is_empty(), "docs/OPERATIONS.md has rows of no metric: {gone:?}");
        assert!(
            shown.contains("http_request_duration_seconds") && shown.contains("chancery_deliveries_total")
        );
    }
}
