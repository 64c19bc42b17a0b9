//! The view of tenants and tokens.

use domain::{
    SurfaceChoice,
    connection::{Conversation, Event as Of, FailureClass},
    tenant::Event as OfTenant,
};
use uuid::Uuid;

use super::{queries::TenantSummary, *};
use crate::{
    fixtures::{account, at, diagnosis, hub, person, sealed, sign_in, tenant, told_at},
    runner::testing::{Told, open_for_reading, rows_of},
};

fn of(n: u128, seconds: i64, event: &Of) -> Told {
    told_at::<Connection>(seconds, person(n).connection(), event)
}

fn linked(n: u128) -> Told {
    let (person, profile) = (person(n), sealed("profile"));
    of(n, 10, &Of::Linked { person, person_key: Uuid::from_u128(1), profile, sign_in: sign_in(n) })
}

fn issued(n: u128) -> Told {
    let scopes = vec!["User.Read".into()];
    let (grant, expires_at) = (sign_in(n), at(3_600));
    of(n, 11, &Of::TokenIssued { grant, grant_number: 1, generation: 1, scopes, expires_at })
}

fn refreshed(n: u128) -> Told {
    let (grant, scopes, expires_at) = (sign_in(n), vec!["Chat.Read".into()], at(7_200));
    of(n, 3_700, &Of::TokenRefreshed { grant, generation: 2, claim: 1, scopes, expires_at })
}

fn account_linked(name: &str, n: u128) -> Told {
    let event = account::Event::Linked { person: person(n), sign_in: sign_in(n), account: sealed(name) };
    told_at::<Account>(9, account(name), &event)
}

fn account_unlinked(name: &str, n: u128) -> Told {
    told_at::<Account>(20, account(name), &account::Event::Unlinked { person: person(n) })
}

fn of_tenant(n: u128, event: &OfTenant) -> Told {
    told_at::<Tenant>(5, tenant(n), event)
}

async fn connection(events: &[Told]) -> ConnectionRow {
    let mut rows = rows_of::<Connections>(events).await;
    match rows.remove(&Key::Connection(person(1).connection())) {
        Some(Row::Connection(row)) => *row,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_account_is_linked_a_moment_before_its_connection_and_both_are_there() {
    let row = connection(&[account_linked("alice", 1)]).await;
    assert_eq!((row.status, row.profile, row.linked_at), (Status::Absent, None, at(9)));
    assert_eq!(row.person, person(1));

    let row = connection(&[account_linked("alice", 1), linked(1), issued(1)]).await;
    assert_eq!((row.status, row.profile, row.linked_at), (Status::Active, Some(sealed("profile")), at(10)));
    assert_eq!(row.accounts[&account("alice")], sealed("alice"));
    let grant = row.grant.expect("a grant");
    assert_eq!((grant.id, grant.number, grant.generation), (sign_in(1), 1, 1));
    assert_eq!((grant.issued_at, grant.expires_at, grant.expired), (at(11), at(3_600), false));
}

#[tokio::test]
async fn a_person_may_have_several_accounts_and_lose_each() {
    let mut events = vec![account_linked("alice", 1), linked(1), account_linked("al", 1)];
    assert_eq!(connection(&events).await.accounts.len(), 2);
    events.push(account_unlinked("alice", 1));
    let row = connection(&events).await;
    assert_eq!(row.accounts.into_keys().collect::<Vec<_>>(), [account("al")]);
    assert_eq!(row.changed_at, at(20));
}

#[tokio::test]
async fn an_account_taken_back_before_its_connection_began_leaves_nothing() {
    let rows = rows_of::<Connections>(&[account_linked("alice", 1), account_unlinked("alice", 1)]).await;
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn a_refused_link_changes_nothing() {
    let refused = account::Event::LinkRefused { person: person(1), sign_in: sign_in(2) };
    let refused = told_at::<Account>(20, account("bob"), &refused);
    assert_eq!(connection(&[linked(1), refused]).await, connection(&[linked(1)]).await);
}

#[tokio::test]
async fn a_refresh_replaces_the_generation_and_an_expiry_ends_it() {
    let expired = Of::TokenExpired { grant: sign_in(1), generation: 1, expired_at: at(3_600) };
    let claimed =
        Of::RefreshStarted { grant: sign_in(1), generation: 2, claim: 1, hub: hub(), timeout_ms: 10_000 };
    let mut events = vec![linked(1), issued(1), of(1, 3_600, &expired), of(1, 3_601, &claimed)];
    let row = connection(&events).await;
    assert!(row.grant.is_some_and(|grant| grant.expired));
    assert_eq!(row.status, Status::Active);

    events.push(refreshed(1));
    let row = connection(&events).await;
    let grant = row.grant.expect("a grant");
    assert_eq!((grant.generation, grant.expired, grant.number), (2, false, 1));
    assert_eq!((grant.issued_at, grant.expires_at, row.changed_at), (at(3_700), at(7_200), at(3_700)));
    assert_eq!(grant.scopes, ["Chat.Read"]);
}

#[tokio::test]
async fn what_ended_a_connection_is_told_until_a_new_grant_comes() {
    let (grant, generation) = (sign_in(1), 1);
    let failed = Of::RefreshFailed {
        grant,
        generation: 2,
        claim: 1,
        class: FailureClass::Final,
        diagnosis: diagnosis("invalid_grant"),
        not_before: None,
    };
    let why = ReauthorizationReason::GrantDead;
    let ends = [
        (
            Of::ReauthorizationRequired { grant, generation, why, diagnosis: diagnosis("invalid_grant") },
            Status::ReauthorizationRequired,
            Some(why),
        ),
        (
            Of::ConsentRequired { grant, generation, diagnosis: diagnosis("invalid_grant") },
            Status::ConsentRequired,
            None,
        ),
        (Of::Suspended { grant, generation, diagnosis: diagnosis("invalid_grant") }, Status::Suspended, None),
    ];
    for (end, status, why) in ends {
        let mut events = vec![linked(1), issued(1), of(1, 12, &failed), of(1, 12, &end)];
        let row = connection(&events).await;
        assert_eq!((row.status, row.why, row.diagnosis), (status, why, Some(diagnosis("invalid_grant"))));
        assert!(row.grant.is_some());

        events.extend([linked(1), issued(1)]);
        let row = connection(&events).await;
        assert_eq!((row.status, row.why, row.diagnosis), (Status::Active, None, None));
        assert_eq!(row.linked_at, at(10));
    }
    let row = connection(&[linked(1), issued(1), of(1, 13, &Of::Unlinked {})]).await;
    assert_eq!((row.status, row.why, row.diagnosis), (Status::Unlinked, None, None));
}

#[tokio::test]
async fn a_chat_is_known_until_it_is_lost() {
    let chat_id = || "19:chat".to_owned();
    let mut events = vec![linked(1), of(1, 12, &Of::ChatFound { chat_id: chat_id() })];
    assert!(connection(&events).await.chat_known);
    events.push(of(1, 13, &Of::ChatLost { chat_id: chat_id() }));
    assert!(!connection(&events).await.chat_known);
}

#[tokio::test]
async fn a_tenant_shows_what_was_said_of_it_last() {
    let surface = Surface::Graph;
    let policy = Policy { surface: Some(SurfaceChoice::Bot), password: Some(false) };
    let events = [
        of_tenant(1, &OfTenant::Admitted { name: Some("Contoso".parse().unwrap()) }),
        of_tenant(1, &OfTenant::Admitted { name: None }),
        of_tenant(1, &OfTenant::Seen {}),
        of_tenant(1, &OfTenant::PolicyChanged(policy)),
        of_tenant(2, &OfTenant::Blocked {}),
        of_tenant(2, &OfTenant::BreakerOpened { surface, unknowns: 3 }),
        of_tenant(3, &OfTenant::BreakerOpened { surface, unknowns: 3 }),
        of_tenant(3, &OfTenant::BreakerClosed { surface }),
    ];
    let rows = rows_of::<Connections>(&events).await;
    let row = |n| match &rows[&Key::Tenant(tenant(n))] {
        Row::Tenant(row) => row.clone(),
        Row::Connection(row) => panic!("{row:?}"),
    };
    assert_eq!((row(1).admission, row(1).first_seen_at), (Admission::Admitted, Some(at(5))));
    assert_eq!((row(2).admission, row(2).breakers), (Admission::Blocked, BTreeSet::from([surface])));
    assert!(row(3).breakers.is_empty());
    assert_eq!(row(1).policy, policy);
    assert_eq!(row(1).name.unwrap().to_string(), "Contoso");
    assert_eq!(row(2).name, None);
}

#[tokio::test]
async fn tenants_are_listed_with_their_connections_by_status() {
    let unlinked = of(3, 12, &Of::Unlinked {});
    let events = [
        of_tenant(100, &OfTenant::Seen {}),
        of_tenant(200, &OfTenant::Admitted { name: None }),
        of_tenant(300, &OfTenant::Blocked {}),
        linked(1),
        issued(1),
        linked(2),
        issued(2),
        linked(3),
        issued(3),
        unlinked,
    ];
    let open = open_for_reading::<Connections>(&events).await;
    let model = &open.model;
    let ids = |found: &[TenantSummary]| found.iter().map(|found| found.tenant).collect::<Vec<_>>();

    let found = queries::tenants(model, None, None, 10).await.unwrap();
    assert_eq!(ids(&found), [tenant(100), tenant(200), tenant(300)]);
    assert_eq!(found[0].connections, [("active".to_owned(), 2), ("unlinked".to_owned(), 1)]);
    assert_eq!(found[1].connections, []);

    let found = queries::tenants(model, Some(tenant(100)), None, 1).await.unwrap();
    assert_eq!(ids(&found), [tenant(200)]);
    let only = Some(vec![tenant(300), tenant(400)]);
    assert_eq!(ids(&queries::tenants(model, None, only, 10).await.unwrap()), [tenant(300)]);
    assert!(queries::tenants(model, None, Some(vec![]), 10).await.unwrap().is_empty());

    let counts = queries::count_by_status(model).await.unwrap();
    assert_eq!(counts, [("active".to_owned(), 2), ("unlinked".to_owned(), 1)]);
}

#[tokio::test]
async fn connections_of_a_tenant_are_listed_by_object_id_and_by_status() {
    let events = [linked(2), issued(2), linked(1), issued(1), linked(3)];
    let open = open_for_reading::<Connections>(&events).await;
    let listed = async |after: Option<u128>, status: Option<&str>, limit| {
        let after = after.map(|n| person(n).object_id.to_string());
        let status = status.map(str::to_owned);
        let found = queries::connections(&open.model, tenant(100), after, status, limit).await.unwrap();
        found.into_iter().map(|(id, row)| (id == row.person.connection(), row.person)).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, 2).await, [(true, person(1)), (true, person(2))]);
    assert_eq!(listed(Some(2), None, 2).await, [(true, person(3))]);
    assert_eq!(listed(None, Some("linked"), 9).await, [(true, person(3))]);
    assert_eq!(queries::connections(&open.model, tenant(1), None, None, 9).await.unwrap(), []);
}

#[tokio::test]
async fn the_bot_is_there_before_anybody_is_linked_and_its_loss_is_seen() {
    let conversation = Conversation {
        bot_id: "28:app".into(),
        service_url: "https://smba.trafficmanager.net/emea/".into(),
        conversation_id: "a:1".into(),
        user_id: "29:1".into(),
        locale: None,
        activity_id: "1".into(),
    };
    let installed = of(1, 5, &Of::BotInstalled { person: person(1), conversation, at: None });
    let row = connection(std::slice::from_ref(&installed)).await;
    assert_eq!((row.status, row.bot, row.linked_at), (Status::Absent, Some(Reachable::Installed), at(5)));

    let row = connection(&[installed.clone(), linked(1), issued(1), of(1, 20, &Of::BotBlocked {})]).await;
    assert_eq!((row.status, row.bot, row.linked_at), (Status::Active, Some(Reachable::Blocked), at(10)));

    let row = connection(&[installed, account_linked("alice", 1), account_unlinked("alice", 1)]).await;
    assert_eq!((row.accounts.len(), row.bot), (0, Some(Reachable::Installed)));
}
