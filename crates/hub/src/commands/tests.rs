//! What is read past the state of a stream.

use domain::tenant::{Command, Event, Tenant};

use super::*;
use crate::clock::{SystemClock, SystemIds};

#[tokio::test]
async fn a_beginning_is_found_by_its_place_and_where_that_is_anothers_by_its_stream() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(crate::hub::open_store(data.path()).unwrap());
    let commands = Commands::new(store, Arc::new(SystemClock), Arc::new(SystemIds));
    let mut places = Vec::new();
    for tenant in ["1", "2"] {
        let (command_id, context) = (CommandId::new("see"), Context::hub("test", tenant));
        let done = commands.execute::<Tenant>(tenant, &command_id, &context, Command::See).await.unwrap();
        places.push(done.after().position);
    }
    let found = async |tenant, place| {
        let found = commands.beginning_at::<Tenant>(tenant, place).await.unwrap();
        assert_eq!(found, commands.beginning::<Tenant>(tenant).await.unwrap());
        found.map(|(_, event)| event)
    };
    for place in [Position::START, places[0], places[1], Position(99)] {
        assert_eq!(found("1", place).await, Some(Event::Seen {}));
        assert_eq!(found("2", place).await, Some(Event::Seen {}));
        assert_eq!(found("3", place).await, None);
    }
}
