//! The contract against a server that somebody runs: `CHANCERY_TEST_EVENTSTOREDB` has its connection string.

use std::{
    env,
    io::Write,
    sync::{Arc, Once},
};

use store::{
    Keeping, contract_suite,
    eventstoredb::{EventStoreDb, Options},
};

const NAMED_BY: &str = "CHANCERY_TEST_EVENTSTOREDB";

async fn open() -> Option<(Arc<dyn Keeping>, ())> {
    static SAID: Once = Once::new();
    let Ok(string) = env::var(NAMED_BY) else {
        // Not by `println!`, which is shown only where a test fails.
        SAID.call_once(|| {
            let _ = writeln!(
                std::io::stderr(),
                "{NAMED_BY} names no server: the contract was not tried on a real one"
            );
        });
        return None;
    };
    let store = EventStoreDb::new(string.parse().unwrap(), Options::default()).unwrap();
    store.identify().await.unwrap();
    Some((Arc::new(store), ()))
}

contract_suite!(if open);
