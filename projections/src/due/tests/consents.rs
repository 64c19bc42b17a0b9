//! Where there is word of consent to be passed on, and to whom besides those whom the tenant itself knows.

use domain::{
    ShardId,
    tenant::{Event as OfTenant, Tenant},
};

use super::*;
use crate::fixtures::tenant;

fn of_tenant(event: &OfTenant) -> Told {
    told_at::<Tenant>(1, tenant(100), event)
}

fn reported(report: impl Into<Option<u32>>) -> Told {
    let report = report.into();
    of_tenant(&OfTenant::ConsentReported { report })
}

fn told_of(report: u32) -> Told {
    of_tenant(&OfTenant::ConsentTold { report })
}

async fn due(events: &[Told], shards: Option<Vec<ShardId>>) -> Vec<TenantId> {
    let open = open_for_reading::<Due>(events).await;
    queries::reported_consents(&open.model, shards).await.unwrap()
}

#[tokio::test]
async fn a_report_is_due_until_it_is_passed_on_and_another_meanwhile_as_well() {
    assert_eq!(due(&[reported(1)], None).await, [tenant(100)]);
    assert_eq!(due(&[reported(1), told_of(1)], None).await, []);
    assert_eq!(due(&[reported(1), reported(2), told_of(1)], None).await, [tenant(100)]);
    assert_eq!(due(&[reported(1), reported(2), told_of(2)], None).await, []);
    assert_eq!(due(&[reported(None)], None).await, [], "those who waited were told at once then");
}

#[tokio::test]
async fn only_tenants_of_the_named_shards_are_looked_at() {
    assert_eq!(due(&[reported(1)], Some(vec![tenant(100).shard()])).await, [tenant(100)]);
    assert_eq!(due(&[reported(1)], Some(vec![tenant(101).shard()])).await, []);
}

#[tokio::test]
async fn whose_link_waits_for_consent_is_found_by_tenant_and_in_parts() {
    let lost = |n| {
        let event = OfConnection::ConsentRequired {
            grant: sign_in(n),
            generation: 1,
            diagnosis: Diagnosis::default(),
        };
        in_connection(n, 11, &event)
    };
    let events = [
        linked(1),
        issued(1, 1, 9),
        lost(1),
        linked(2),
        issued(2, 1, 9),
        linked(3),
        issued(3, 1, 9),
        lost(3),
    ];
    let open = open_for_reading::<Due>(&events).await;
    let mut wanted = [person(1).connection(), person(3).connection()];
    wanted.sort();
    let mut found = Vec::new();
    while let Some((id, _)) =
        queries::connections_awaiting(&open.model, tenant(100), found.last().copied(), 1).await.unwrap().pop()
    {
        found.push(id);
    }
    assert_eq!(found, wanted);
    assert_eq!(queries::connections_awaiting(&open.model, tenant(101), None, 9).await.unwrap(), []);
}
