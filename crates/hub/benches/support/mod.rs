//! A hub in this process with the simulated Microsoft behind it, on real sockets and a real disk, and a note of when
//! each post arrived at Microsoft.

use std::{
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use chancery::{
    app,
    clock::{SystemClock, SystemIds},
    config::{Config, Sources},
    http::{auth::Caller, serve::bind},
    hub::{Hub, open_store},
    lifecycle::Lifecycle,
    services::sign_ins::{self, Answer, Outcome, Wish},
};
use domain::{ObjectId, PersonId, TenantId, client::Role};
use microsoft_simulator::{Settings, Simulator, control::DialsChange, serve_simulator, simulator};
use mimalloc::MiMalloc;
use store::Keeping;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// The binary's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Where the hub listens, which its redirect URI must know before it is started.
pub(crate) struct Place {
    directory: TempDir,
    socket: TcpListener,
    pub(crate) url: String,
}

impl Place {
    /// Under the build directory, which is on a real disk where a temporary one may be in memory.
    pub(crate) fn new() -> Result<Self> {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        custody::KeyEncryptionKey::create_file(&directory.path().join("key"))?;
        std::fs::create_dir(directory.path().join("data"))?;
        let socket = bind("127.0.0.1:0".parse()?)?;
        let url = format!("http://localhost:{}", socket.local_addr()?.port());
        Ok(Self { directory, socket, url })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// The counterpart: a simulator that does not throttle.
pub(crate) struct Microsoft {
    pub(crate) people: Vec<Recipient>,
    pub(crate) url: String,
    settings: Settings,
    arrivals: Arrivals,
    _running: DropGuard,
}

/// Somebody to write to.
#[derive(Clone)]
pub(crate) struct Recipient {
    pub(crate) person: PersonId,
    pub(crate) chat_id: String,
    upn: String,
}

/// When posts arrived: their head was read and nothing else was done yet.
type Arrivals = Arc<Mutex<Vec<Instant>>>;

impl Microsoft {
    /// With so many people, for a hub that is reached at `hub`.
    pub(crate) fn start(hub: &str, people: u32) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://localhost:{}", listener.local_addr()?.port());
        let settings = Settings {
            public_url: Some(url.clone()),
            redirect_uris: vec![format!("{hub}{}", sign_ins::CALLBACK)],
            crowd: people,
            ..Settings::default()
        };
        let (router, simulator) = simulator(settings.clone())?;
        simulator.turn(DialsChange { throttle: Some(false), ..DialsChange::default() });
        let people = crowd(&simulator);
        let arrivals = Arrivals::default();
        let router = router.layer(from_fn_with_state(arrivals.clone(), note));
        let stop = CancellationToken::new();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(serve_simulator(listener, router, simulator, stop.clone().cancelled_owned()));
        Ok(Self { people, url, settings, arrivals, _running: stop.drop_guard() })
    }

    /// Waits until so many posts have arrived since they were last asked for, and tells when each did.
    pub(crate) async fn arrived(&self, count: usize) -> Result<Vec<Instant>> {
        let arrivals = || self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        while arrivals().len() < count {
            ensure!(begun.elapsed() < PATIENCE, "only {} of {count} posts arrived", arrivals().len());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(std::mem::take(&mut *arrivals()))
    }
}

/// Longest wait for anything: a benchmark that hangs says why.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

fn crowd(simulator: &Simulator) -> Vec<Recipient> {
    let people = simulator.people().into_iter().filter(|person| person.upn.starts_with("person-"));
    people
        .map(|person| Recipient {
            person: PersonId { tenant: TenantId(person.tid), object_id: ObjectId(person.oid) },
            chat_id: person.chat_id,
            upn: person.upn,
        })
        .collect()
}

async fn note(State(arrivals): State<Arrivals>, request: Request, next: Next) -> Response {
    if request.uri().path().ends_with("/messages") {
        arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
    next.run(request).await
}

/// A hub without limits, but for what `settings` say: `("DELIVERY__CONCURRENCY", "64")`.
pub(crate) async fn start_hub(
    place: &Place,
    microsoft: &Microsoft,
    settings: &[(&str, &str)],
) -> Result<(Hub, Lifecycle)> {
    let store = Arc::new(open_store(&place.path().join("data"))?);
    start_hub_on(store, place.socket.try_clone()?, place, microsoft, settings).await
}

/// The same on this store, listening there.
pub(crate) async fn start_hub_on(
    store: Arc<dyn Keeping>,
    socket: TcpListener,
    place: &Place,
    microsoft: &Microsoft,
    settings: &[(&str, &str)],
) -> Result<(Hub, Lifecycle)> {
    let lifecycle = Lifecycle::new();
    let config = config(place, microsoft, settings)?;
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let hub = app::start_on(store, config, clock, ids, &lifecycle, socket, |_| axum::Router::new()).await?;
    Ok((hub, lifecycle))
}

/// Ends it in good order, which finishes what was begun.
pub(crate) async fn stop_hub(hub: Hub, lifecycle: Lifecycle) {
    drop(hub);
    let (_signal, signals) = tokio::sync::mpsc::channel(1);
    lifecycle.stop();
    lifecycle.run(PATIENCE, signals).await;
}

fn config(place: &Place, microsoft: &Microsoft, settings: &[(&str, &str)]) -> Result<Config> {
    let path = |name: &str| place.path().join(name).to_string_lossy().into_owned();
    let of_microsoft = &microsoft.settings;
    let all = [
        ("SERVER__PUBLIC_URL", place.url.clone()),
        ("DATA__DIRECTORY", path("data")),
        ("KEYS__KEY_ENCRYPTION_KEY_FILE", path("key")),
        ("MICROSOFT__AUTHORITY", microsoft.url.clone()),
        ("MICROSOFT__GRAPH_BASE", format!("{}/v1.0", microsoft.url)),
        ("MICROSOFT__CLIENT_ID", of_microsoft.client_id.to_string()),
        ("MICROSOFT__CLIENT_SECRET", of_microsoft.client_secret.clone()),
        ("MICROSOFT__TEAMS_APP_EXTERNAL_ID", of_microsoft.teams_app_id.clone()),
        ("SIGN_IN__TENANTS", "open".to_owned()),
        ("DELIVERY__CHAT_INTERVAL_MS", "0".to_owned()),
        ("DELIVERY__TENANT_PER_SECOND", "100000".to_owned()),
        ("DELIVERY__APP_PER_SECOND", "100000".to_owned()),
        ("LIMITS__PER_KEY_PER_SECOND", "1000000".to_owned()),
        ("LIMITS__PER_KEY_BURST", "1000000".to_owned()),
    ];
    let given = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let environment = all.into_iter().chain(given);
    let environment = environment.map(|(key, value)| (format!("CHANCERY_{key}"), value)).collect();
    Ok(Config::load(&Sources { environment, loopback_http: true, ..Sources::default() })?)
}

/// The product's backend, as the services see it.
pub(crate) fn caller() -> Result<Caller> {
    Ok(Caller { client: "bench".parse()?, role: Role::Service, tenants: None })
}

/// Signs somebody in, with everything but the pages.
pub(crate) async fn sign_in(hub: &Hub, http: &reqwest::Client, recipient: &Recipient) -> Result<()> {
    let Recipient { person, upn, .. } = recipient;
    let wish = Wish { account: upn.parse()?, expected: Some(*person), return_url: None };
    let invitation = sign_ins::invite(hub, &caller()?, upn, wish).await?;
    let browser = "b".repeat(64);
    let authorize = sign_ins::choose(hub, invitation.id, browser.clone()).await?;
    let answer = http.post(authorize).form(&[("person", upn.as_str()), ("consent", "accept")]).send().await?;
    let back = answer.headers().get("location").context("Microsoft sends the browser back")?;
    let back = Url::parse(back.to_str()?)?;
    let field =
        |name: &str| back.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let (code, state) = (field("code").context("there is a code")?, field("state").unwrap_or_default());
    let (id, attempt) = sign_ins::by_state(hub, &state).context("the state is ours")?;
    let outcome = sign_ins::authorize(hub, id, attempt, &browser, Answer::Code(code.into())).await?;
    ensure!(matches!(outcome, Outcome::Completed), "{upn} could not sign in");
    Ok(())
}

/// The value that so many percent of them do not exceed.
pub(crate) fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
