//! The toy: accounts with balances, and the owners that they belong to.

use domain::aggregate::Aggregate;
use serde::{Deserialize, Serialize};
use store::Filter;

use crate::{
    EventRef, Key, Projection, Table, Unreadable, Value,
    runner::testing::{Rows, Told, told},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Toy;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", content = "data")]
pub(super) enum Event {
    #[serde(rename = "toy.opened.v1")]
    Opened { owner: String },
    #[serde(rename = "toy.paid-in.v1")]
    PaidIn { owner: String, amount: i64 },
    #[serde(rename = "toy.closed.v1")]
    Closed { owner: String },
}

impl Aggregate for Toy {
    const CATEGORY: &'static str = "toy";
    type Command = ();
    type Event = Event;
    type Refusal = ();

    fn decide(&self, (): ()) -> Result<Vec<Event>, ()> {
        Ok(vec![])
    }

    fn evolve(self, _event: Event) -> Self {
        self
    }
}

pub(super) struct Toys;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ToyKey {
    Account(u32),
    Owner(String),
}

impl Key for ToyKey {
    fn table(&self) -> usize {
        match self {
            Self::Account(_) => 0,
            Self::Owner(_) => 1,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Account(id) => id.to_string(),
            Self::Owner(name) => name.clone(),
        }
    }

    fn parse(table: usize, text: &str) -> Option<Self> {
        match table {
            0 => text.parse().ok().map(Self::Account),
            _ => Some(Self::Owner(text.to_owned())),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum ToyRow {
    Account { balance: i64, revision: u64 },
    Owner { accounts: u32 },
}

pub(super) struct Happened {
    account: u32,
    revision: u64,
    event: Event,
}

impl Projection for Toys {
    const NAME: &'static str = "toys.v1";
    const TABLES: &'static [Table] = &[
        Table {
            name: "accounts",
            columns: &["balance INTEGER NOT NULL"],
            fixed: 0,
            age: Some("number"),
            indexes: &["(balance)"],
        },
        Table { name: "owners", columns: &[], fixed: 0, age: None, indexes: &[] },
    ];
    type Key = ToyKey;
    type Row = ToyRow;
    type Event = Happened;

    fn filter() -> Filter {
        Filter::categories([Toy::CATEGORY])
    }

    fn read(event: EventRef<'_>) -> Result<Option<Happened>, Unreadable> {
        let Some(decoded) = event.decode::<Toy>()? else { return Ok(None) };
        Ok(Some(Happened { account: event.stream_id()?, revision: event.revision, event: decoded }))
    }

    fn keys(happened: &Happened, keys: &mut Vec<ToyKey>) {
        keys.push(ToyKey::Account(happened.account));
        if let Event::Opened { owner } | Event::Closed { owner } = &happened.event {
            keys.push(ToyKey::Owner(owner.clone()));
        }
    }

    fn evolve(key: &ToyKey, row: Option<ToyRow>, happened: &Happened) -> Option<ToyRow> {
        let (balance, accounts) = match row {
            Some(ToyRow::Account { balance, .. }) => (balance, 0),
            Some(ToyRow::Owner { accounts }) => (0, accounts),
            None => (0, 0),
        };
        let revision = happened.revision;
        match (key, &happened.event) {
            (ToyKey::Account(_), Event::Opened { .. }) => Some(ToyRow::Account { balance: 0, revision }),
            (ToyKey::Account(_), Event::PaidIn { amount, .. }) => {
                Some(ToyRow::Account { balance: balance + amount, revision })
            }
            (ToyKey::Account(_), Event::Closed { .. }) => None,
            (ToyKey::Owner(_), Event::Opened { .. }) => Some(ToyRow::Owner { accounts: accounts + 1 }),
            (ToyKey::Owner(_), _) => (accounts > 1).then(|| ToyRow::Owner { accounts: accounts - 1 }),
        }
    }

    fn age(key: &ToyKey, _row: &ToyRow) -> i64 {
        match key {
            ToyKey::Account(number) => i64::from(*number),
            ToyKey::Owner(_) => 0,
        }
    }

    fn columns(_key: &ToyKey, row: &ToyRow) -> Vec<Value> {
        match row {
            ToyRow::Account { balance, .. } => vec![(*balance).into()],
            ToyRow::Owner { .. } => vec![],
        }
    }
}

pub(super) fn opened(account: u32) -> Told {
    told::<Toy>(account, &Event::Opened { owner: owner(account) })
}

pub(super) fn paid_in(account: u32, amount: i64) -> Told {
    told::<Toy>(account, &Event::PaidIn { owner: owner(account), amount })
}

pub(super) fn closed(account: u32) -> Told {
    told::<Toy>(account, &Event::Closed { owner: owner(account) })
}

pub(super) fn owner(account: u32) -> String {
    format!("owner {}", account % 5)
}

pub(super) fn unreadable(account: u32) -> Told {
    Told { name: "toy.painted.v1".into(), ..opened(account) }
}

pub(super) fn foreign(number: u32) -> Told {
    Told { stream: format!("other-{number}"), ..unreadable(number) }
}

/// A sequence that a seed decides, with events of others in it. Uses all kinds of steps, also such that make no sense.
pub(super) fn some_events(mut seed: u64, count: usize) -> Vec<Told> {
    let mut random = |below: u32| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        u32::try_from(seed % u64::from(below)).expect("it is below")
    };
    let step = |_| {
        let account = random(20);
        match random(8) {
            0..2 => opened(account),
            2..5 => paid_in(account, i64::from(random(100)) - 50),
            5..7 => closed(account),
            _ => foreign(account),
        }
    };
    (0..count).map(step).collect()
}

pub(super) fn balance(rows: &Rows<Toys>, account: u32) -> Option<i64> {
    match rows.get(&ToyKey::Account(account)) {
        Some(ToyRow::Account { balance, .. }) => Some(*balance),
        _ => None,
    }
}
