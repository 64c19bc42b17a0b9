//! When what was folded is written.

use std::{sync::Arc, time::Duration};

use store::{EventStore, Position, embedded::EmbeddedStore};
use tempfile::TempDir;

use super::{
    super::{
        file::File,
        fold::Batch,
        gather::Gathered,
        testing::{self, Told},
    },
    toy::{Toys, opened, paid_in},
};
use crate::{EventRef, Projection};

/// What is appended is folded at once, by hand.
struct Gathering {
    store: Arc<EmbeddedStore>,
    file: File<Toys>,
    gathered: Gathered<Toys>,
    _data: TempDir,
}

impl Gathering {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = testing::open_store(data.path());
        let path = data.path().join("toys");
        File::<Toys>::create(&path, store.id()).unwrap().finish(&path).unwrap();
        let file = File::open(&path, store.id()).unwrap();
        Self { store, file, gathered: Gathered::behind(Position::START), _data: data }
    }

    async fn fold(&mut self, events: &[Told]) -> Position {
        testing::append(&*self.store, events).await;
        let page = self.store.read_all(self.gathered.folded, &Toys::filter(), 1024).await.unwrap();
        let events = page.events.iter().map(|event| EventRef(event.as_ref()));
        let batch = Batch::read(self.gathered.folded, events, page.upto);
        let update = self.file.begin().unwrap();
        self.gathered.fold(&update, page.events.len(), batch).unwrap();
        page.upto
    }

    fn write(&mut self) -> usize {
        self.gathered.write(self.file.begin().unwrap()).unwrap().len()
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_rest_is_written_at_once_and_what_comes_soon_after_it_together() {
    let mut gathering = Gathering::new();
    assert!(!gathering.gathered.is_due(None), "there is nothing to write");
    gathering.fold(&[opened(1)]).await;
    assert!(gathering.gathered.is_due(None));
    assert_eq!(gathering.write(), 2, "the account and its owner");

    for _ in 0..3 {
        gathering.fold(&[paid_in(1, 5)]).await;
        assert!(!gathering.gathered.is_due(None));
    }
    tokio::time::advance(Toys::PAUSE).await;
    assert!(gathering.gathered.is_due(None));
    assert!(gathering.gathered.shown < gathering.gathered.folded);
    gathering.write();
    assert_eq!(gathering.gathered.shown, gathering.gathered.folded);
}

#[tokio::test(start_paused = true)]
async fn where_many_events_come_rows_wait_longer_but_not_for_who_waits_for_them() {
    let mut gathering = Gathering::new();
    gathering.fold(&[opened(1)]).await;
    gathering.fold(&vec![paid_in(1, 1); 200]).await;
    gathering.write();
    let position = gathering.fold(&[paid_in(1, 1)]).await;
    let asked = Some(position);
    assert!(!gathering.gathered.is_due(asked), "one transaction in that time");
    tokio::time::advance(Toys::PAUSE).await;
    assert!(!gathering.gathered.is_due(None));
    assert!(!gathering.gathered.is_due(Some(Position(position.0 + 1))), "it is not folded yet");
    assert!(gathering.gathered.is_due(asked));
    tokio::time::advance(Duration::from_millis(250)).await;
    assert!(gathering.gathered.is_due(None));
}

#[tokio::test(start_paused = true)]
async fn many_events_that_change_no_row_make_nobody_wait_longer() {
    let mut gathering = Gathering::new();
    let of_the_store = Told { name: "$of-the-store".into(), ..paid_in(1, 1) };
    let upto = gathering.fold(&vec![of_the_store; 200]).await;
    assert_eq!((gathering.gathered.shown, gathering.gathered.is_due(None)), (upto, false));
    gathering.fold(&[opened(1)]).await;
    gathering.write();
    gathering.fold(&[paid_in(1, 1)]).await;
    tokio::time::advance(Toys::PAUSE).await;
    assert!(gathering.gathered.is_due(None));
}

#[tokio::test(start_paused = true)]
async fn more_rows_than_are_to_be_held_are_written_before_their_time() {
    let mut gathering = Gathering::new();
    gathering.fold(&[opened(1)]).await;
    gathering.write();
    gathering.fold(&(2..=20).map(opened).collect::<Vec<_>>()).await;
    assert!(gathering.gathered.is_due(None));
}
