//! The real process, killed again and again while messages come in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chancery::hub::open_store;
use microsoft_simulator::{Fault, Kind, control::MessageRecord};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{
    api::{Api, text, to_account, try_answer},
    browser::Browser,
    log::{Event, count, read},
    microsoft::{HOUR, Microsoft},
    process::{Home, two_free_ports},
};

/// How often the clock is moved at the end before something that is still open counts as lost.
const MOVES_MAX: usize = 5;
const PEOPLE: usize = 4;
/// How often the process is killed, if `CHANCERY_KILLS` says nothing.
const KILLS: usize = 50;
const KILLS_OF_THE_BOT: usize = 12;
const SEED: u64 = 0x0063_6861_6e63_6572;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_killed_at_any_moment_loses_nothing_and_sends_nothing_twice() {
    killed(KILLS, Surface::Graph).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bot_of_a_hub_that_is_killed_at_any_moment_says_is_not_said_twice_and_not_lost() {
    killed(KILLS_OF_THE_BOT, Surface::Bot).await;
}

/// So many times, unless the environment says otherwise, with everybody written to that way.
async fn killed(kills: usize, surface: Surface) {
    let kills = std::env::var("CHANCERY_KILLS").map_or(kills, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let port = two_free_ports();
    let microsoft = Arc::new(Microsoft::start(&format!("http://localhost:{port}")));
    let settings = &microsoft.settings;
    let metadata = format!("{}/botframework/v1/.well-known/openidconfiguration", microsoft.url);
    let more = [
        ("DELIVERY__SURFACE", surface.name()),
        // The more often it is killed, the more often the clock is moved meanwhile.
        ("DELIVERY__AGE_MAX_HOURS", "8760"),
        ("BOT__APP_ID", &settings.bot_app_id.to_string()),
        ("BOT__APP_SECRET", &settings.bot_app_secret),
        ("BOT__METADATA_URL", &metadata),
    ];
    let home = Home::new(directory.path(), port, &microsoft, &more);
    let mut hub = home.start();
    let api = home.api();
    for number in 1..=PEOPLE {
        link(&api, &microsoft, number).await;
    }
    if let Surface::Bot = surface {
        microsoft.listen(&home.url);
        for number in 1..=PEOPLE {
            microsoft.simulator.announce(microsoft.oid(&upn(number))).await;
        }
    }

    let (stop, stopped) = watch::channel(false);
    let drivers: Vec<_> =
        (1..=PEOPLE).map(|number| tokio::spawn(drive(api.clone(), number, stopped.clone()))).collect();
    let mut chance = Chance(SEED);
    for _ in 0..kills {
        disturb(&microsoft, surface, &mut chance);
        if chance.below(5) == 0 {
            move_clock(&home, &microsoft).await;
        }
        tokio::time::sleep(Duration::from_millis(50 + chance.below(350))).await;
        hub.kill();
        hub = home.start();
    }
    stop.send(true).unwrap();
    let mut acknowledged = Vec::new();
    for driver in drivers {
        acknowledged.extend(driver.await.unwrap());
    }
    microsoft.simulator.clear_faults();
    concluded(&home, &microsoft, &acknowledged).await;
    hub.kill();

    let events = read(&open_store(&home.data()).unwrap()).await;
    let ends = ends(&events);
    let mut tally = HashMap::<&str, usize>::new();
    for number in 1..=PEOPLE {
        hold_lane(&surface.arrived(&microsoft, number), &acknowledged, &ends, number, &mut tally);
    }
    let (claims, calls) = (count(&events, "connection.refresh-started.v1"), microsoft.count("token.refresh"));
    assert!(calls <= claims as u64, "{calls} calls for {claims} claims");
    assert_eq!(count(&events, "connection.reauthorization-required.v1"), 0);
    println!(
        "{kills} kills, {} messages acknowledged, {tally:?}, {} posts, {claims} claims to refresh, {calls} calls",
        acknowledged.len(),
        microsoft.count(surface.post()),
    );
}

/// The way out.
#[derive(Clone, Copy)]
enum Surface {
    Graph,
    Bot,
}

impl Surface {
    fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Bot => "bot",
        }
    }

    /// What posts by it are called at the simulator.
    fn post(self) -> &'static str {
        match self {
            Self::Graph => "graph.post",
            Self::Bot => "connector.send",
        }
    }

    /// What gets the token for it.
    fn token(self) -> &'static str {
        match self {
            Self::Graph => "token.refresh",
            Self::Bot => "token.app",
        }
    }

    /// The messages that arrived by it, oldest first; the bot greets, too.
    fn arrived(self, microsoft: &Microsoft, number: usize) -> Vec<MessageRecord> {
        match self {
            Self::Graph => microsoft.arrived(&upn(number)),
            Self::Bot => {
                let heard = microsoft.heard(&upn(number)).into_iter();
                heard.filter(|message| message.content.starts_with("message ")).collect()
            }
        }
    }
}

/// What was acknowledged: whose it is, which of theirs, and under which id.
struct Acknowledged {
    person: usize,
    number: usize,
    id: String,
}

fn upn(number: usize) -> String {
    format!("person-{number:05}@contoso.example")
}

fn content(person: usize, number: usize) -> String {
    format!("message {number} to person {person}")
}

async fn link(api: &Api, microsoft: &Microsoft, number: usize) {
    let upn = upn(number);
    let link = api.invite(&format!("u-{number}"), Some(microsoft.person(&upn))).await;
    let page = Browser::new().sign_in(&link.url, &upn).await;
    assert_eq!(page.title(), "You are connected", "{}", page.text);
}

/// Sends one message after the other, each under its key until it is acknowledged, as a careful backend does.
async fn drive(api: Api, person: usize, stopped: watch::Receiver<bool>) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if *stopped.borrow() {
            break;
        }
        let body = to_account(&format!("u-{person}"), &content(person, number));
        let id = loop {
            let request = api.request(reqwest::Method::POST, "/v1/messages").json(&body);
            match try_answer(request.header("idempotency-key", format!("{person}/{number}"))).await {
                Ok(answer) if answer.status == 202 => break text(&answer.body["id"]),
                // Down, or going down, or just coming up.
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        acknowledged.push(Acknowledged { person, number, id });
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    acknowledged
}

/// Something goes wrong at Microsoft.
fn disturb(microsoft: &Microsoft, surface: Surface, chance: &mut Chance) {
    let posts = [
        Kind::Status { status: 429, retry_after_seconds: Some(1) },
        Kind::Status { status: 503, retry_after_seconds: None },
        Kind::Status { status: 500, retry_after_seconds: None },
        Kind::Status { status: 401, retry_after_seconds: None },
        Kind::Reset,
        Kind::AcceptThenStatus { status: 504 },
        Kind::AcceptThenReset,
        Kind::AcceptLate { delay_ms: 100 },
        Kind::Delay { delay_ms: 100 },
    ];
    let refreshes = [
        Kind::Status { status: 503, retry_after_seconds: None },
        Kind::Reset,
        Kind::AcceptThenReset,
        Kind::Delay { delay_ms: 100 },
    ];
    let mut add = |operation: &str, kinds: &[Kind]| {
        let fault = kinds[chance.pick(kinds.len())];
        let fault = Fault { operation: operation.into(), times: 1, oid: None, chat: None, fault };
        microsoft.simulator.add_fault(fault).unwrap();
    };
    add(surface.post(), &posts);
    add(surface.post(), &posts);
    add(surface.token(), &refreshes);
}

/// An hour or so later, tokens have to be refreshed.
async fn move_clock(home: &Home, microsoft: &Microsoft) {
    let by = 2 * HOUR;
    microsoft.simulator.advance_clock(by);
    let token = home.dev_file()["control_token"].as_str().unwrap().to_owned();
    let request = Api::new(&home.url, &token).request(reqwest::Method::POST, "/dev/clock/advance");
    let moved = try_answer(request.json(&json!({ "seconds": by.as_secs() }))).await.unwrap();
    assert_eq!(moved.status, 200, "{moved:?}");
}

/// Waits until everything that was acknowledged has come to an end. What is put off, for as long as many failures in a row
/// make it, is brought on by moving the clock.
async fn concluded(home: &Home, microsoft: &Microsoft, acknowledged: &[Acknowledged]) {
    let api = home.api();
    for message in acknowledged {
        let mut shown = Value::Null;
        for _ in 0..MOVES_MAX {
            let end = async {
                while !matches!(shown["status"].as_str(), Some("delivered" | "unknown")) {
                    shown = api.message(&message.id).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            if tokio::time::timeout(Duration::from_secs(15), end).await.is_ok() {
                break;
            }
            move_clock(home, microsoft).await;
        }
        let ended = matches!(shown["status"].as_str(), Some("delivered" | "unknown"));
        assert!(ended, "person {}, message {}: {shown:#}", message.person, message.number);
    }
}

/// What became of each message, by its id: the last word counts.
fn ends(events: &[Event]) -> HashMap<String, &str> {
    let outcome = |event: &Event| ["lane.delivered.v1", "lane.unknown.v1"].contains(&event.name.as_str());
    let mut ends = HashMap::new();
    for event in events.iter().filter(|event| outcome(event)) {
        ends.insert(text(&event.data["message"]), event.name.as_str());
    }
    ends
}

/// Once if delivered, at most once if unknown, and in the order in which they were acknowledged.
fn hold_lane<'a>(
    arrived: &[MessageRecord],
    acknowledged: &[Acknowledged],
    ends: &HashMap<String, &'a str>,
    person: usize,
    tally: &mut HashMap<&'a str, usize>,
) {
    let mut last = None;
    for message in acknowledged.iter().filter(|message| message.person == person) {
        let content = content(person, message.number);
        let places: Vec<_> = arrived.iter().enumerate().filter(|(_, it)| it.content == content).collect();
        let end = ends[&message.id];
        *tally.entry(end).or_default() += 1;
        assert!(places.len() <= 1, "{content} arrived {} times", places.len());
        if end == "lane.delivered.v1" {
            let place = places.first().map(|(place, _)| *place);
            assert!(place.is_some(), "{content} is said to be delivered, and did not arrive");
            // One whose outcome is unknown may have been on its way still when the next hub went on.
            assert!(place > last, "{content} came out of order");
            last = place;
        }
    }
    assert!(arrived.len() <= acknowledged.len(), "more arrived than was sent");
}

/// The same chances in every run.
struct Chance(u64);

impl Chance {
    fn pick(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// Xorshift (Marsaglia).
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
