//! What the hub counts. Names and labels hold no personal data and no unbounded values.

use microsoft::TokenFailure;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counters of the processors; those of HTTP are beside its layers.
#[derive(Clone, Default)]
pub struct Metrics {
    deliveries: Family<Delivery, Counter>,
    refreshes: Family<Refresh, Counter>,
    sign_ins: Family<SignIn, Counter>,
    deliveries_under_way: Gauge,
    breakers_open: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivery {
    outcome: DeliveryOutcome,
}

/// What came of an attempt to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum DeliveryOutcome {
    Delivered,
    Deferred,
    Unknown,
    Parked,
    Rejected,
    DeadLettered,
    Expired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refresh {
    outcome: RefreshOutcome,
}

/// What came of a call to the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum RefreshOutcome {
    Refreshed,
    Final,
    ConsentRequired,
    Suspended,
    TenantProblem,
    HubProblem,
    Throttled,
    NotSent,
    Transient,
    Ambiguous,
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

/// What came of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum SignInOutcome {
    Completed,
    Provisional,
    Failed,
    Refused,
    Lapsed,
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

    pub fn under_way(&self, lanes: usize) {
        self.deliveries_under_way.set(i64::try_from(lanes).unwrap_or(i64::MAX));
    }

    pub fn breakers_open(&self, tenants: usize) {
        self.breakers_open.set(i64::try_from(tenants).unwrap_or(i64::MAX));
    }
}
