//! The simulated Microsoft, on a socket of its own.

use std::{sync::Arc, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use domain::{ObjectId, PersonId, TenantId};
use microsoft_simulator::{
    Fault, Flaw, Kind, Settings, Simulator,
    control::{DialsChange, MessageRecord, PersonChange},
    serve_simulator, simulator,
};
use rustls::pki_types::PrivateKeyDer;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{PATIENCE, api::drawn};

pub(crate) const ADA: &str = "ada@contoso.example";
pub(crate) const BRUNO: &str = "bruno@contoso.example";
/// Has no e-mail.
pub(crate) const CHIARA: &str = "chiara@contoso.example";
/// Has not installed the app.
pub(crate) const DMITRI: &str = "dmitri@contoso.example";
/// Of another tenant.
pub(crate) const EMEKA: &str = "emeka@fabrikam.example";
/// Has a personal account.
pub(crate) const GWEN: &str = "gwen@live.example";

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../microsoft/tests/keys");

/// Whom to trust for [`Microsoft::open_tls_door`].
pub(crate) const AUTHORITY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../microsoft/tests/keys/test-authority.pem");

/// A simulator that does not throttle unless it is asked to.
pub(crate) struct Microsoft {
    pub(crate) simulator: Simulator,
    pub(crate) settings: Settings,
    pub(crate) url: String,
    router: axum::Router,
    _running: DropGuard,
}

impl Microsoft {
    /// For a hub that is reached at `hub`.
    pub(crate) fn start(hub: &str) -> Self {
        Self::with_crowd(hub, 8)
    }

    /// With so many people `person-00001@contoso.example` and so on, besides those with names.
    pub(crate) fn with_crowd(hub: &str, crowd: u32) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let settings = Settings {
            public_url: Some(url.clone()),
            control_token: drawn(),
            client_secret: format!("simulated.{}", drawn()),
            redirect_uris: vec![format!("{hub}/sign-in/callback")],
            crowd,
            ..Settings::default()
        };
        let (router, simulator) = simulator(settings.clone()).unwrap();
        simulator.turn(DialsChange { throttle: Some(false), ..DialsChange::default() });
        let stop = CancellationToken::new();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(serve_simulator(
            listener,
            router.clone(),
            simulator.clone(),
            stop.clone().cancelled_owned(),
        ));
        Self { simulator, settings, url, router, _running: stop.drop_guard() }
    }

    /// Another door to the same Microsoft, by TLS under [`AUTHORITY`], for hubs that speak no plain HTTP with it.
    pub(crate) fn open_tls_door(&self) -> String {
        let file = |name: &str| std::fs::read(format!("{KEYS}/{name}")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::try_from(file("localhost.key.der")).unwrap();
        let chain = vec![file("localhost.cert.der").into()];
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let door =
            axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(config))).unwrap();
        tokio::spawn(door.serve(self.router.clone().into_make_service()));
        url
    }

    pub(crate) fn person(&self, upn: &str) -> PersonId {
        let people = self.simulator.people();
        let person = people.iter().find(|person| person.upn == upn).unwrap();
        PersonId { tenant: TenantId(person.tid), object_id: ObjectId(person.oid) }
    }

    pub(crate) fn change(&self, upn: &str, change: PersonChange) {
        self.simulator.change_person(self.person(upn).object_id.0, change).unwrap();
    }

    pub(crate) fn turn(&self, change: DialsChange) {
        self.simulator.turn(change);
    }

    pub(crate) fn revoke(&self, upn: &str) {
        assert!(self.simulator.revoke_sessions(self.person(upn).object_id.0));
    }

    /// For the next call of this operation.
    pub(crate) fn fault(&self, operation: &str, fault: Kind) {
        self.faults(operation, 1, fault);
    }

    pub(crate) fn faults(&self, operation: &str, times: u32, fault: Kind) {
        let fault = Fault { operation: operation.into(), times, oid: None, chat: None, fault };
        self.simulator.add_fault(fault).unwrap();
    }

    pub(crate) fn flaw(&self, flaw: Flaw) {
        self.fault("token.code", Kind::Flaw(flaw));
    }

    pub(crate) fn deny(&self, operation: &str, aadsts: u32) {
        self.fault(operation, Kind::Aadsts { code: aadsts });
    }

    pub(crate) fn status(&self, operation: &str, status: u16) {
        self.fault(operation, Kind::Status { status, retry_after_seconds: None });
    }

    /// How often an operation was called, whatever came of it.
    pub(crate) fn count(&self, operation: &str) -> u64 {
        count(&self.simulator, operation)
    }

    /// Waits until the operation was called so often.
    pub(crate) async fn called(&self, operation: &str, times: u64) {
        let called = self.simulator.wait_until(|it| count(it, operation) >= times);
        let waited = tokio::time::timeout(PATIENCE, called).await;
        waited.unwrap_or_else(|_| panic!("{operation} was called {} times only", self.count(operation)));
    }

    /// What arrived in somebody's chats, oldest first.
    pub(crate) fn arrived(&self, upn: &str) -> Vec<MessageRecord> {
        self.simulator.messages(None, Some(self.person(upn).object_id.0))
    }

    /// The texts of what arrived.
    pub(crate) fn texts(&self, upn: &str) -> Vec<String> {
        self.arrived(upn).into_iter().map(|message| message.content).collect()
    }
}

fn count(simulator: &Simulator, operation: &str) -> u64 {
    let calls = simulator.calls();
    calls.iter().filter(|call| call.operation == operation).map(|call| call.count).sum()
}

pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);
