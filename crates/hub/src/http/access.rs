//! Who may do what: one table of all routes.
//!
//! **Invariant.** A route that is not in the table is refused to everybody, and a test holds the table against all
//! registered routes.

use axum::http::Method;
use domain::client::Role;

/// The role as it is written, in JSON and on the command line.
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Service => "service",
        Role::Auditor => "auditor",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Public,
    Roles(&'static [Role]),
}

use Access::{Public, Roles};
use Role::{Admin, Auditor, Operator, Service};

const ALL: Access = Roles(&[Service, Auditor, Operator, Admin]);
const READERS: Access = Roles(&[Auditor, Operator, Admin]);
const SENDERS: Access = Roles(&[Service, Admin]);
const HISTORIANS: Access = Roles(&[Auditor, Admin]);
const ADMINS: Access = Roles(&[Admin]);
const OPERATORS: Access = Roles(&[Operator, Admin]);
const UNLINKERS: Access = Roles(&[Service, Operator, Admin]);

/// Method, route as registered, and who may use it. `HEAD` goes with `GET`.
pub const TABLE: &[(Method, &str, Access)] = &[
    (Method::GET, "/health/live", Public),
    (Method::GET, "/health/ready", Public),
    (Method::GET, "/metrics", READERS),
    (Method::GET, "/openapi.json", Public),
    (Method::GET, "/problems/{kind}", Public),
    (Method::GET, "/sign-in/style.css", Public),
    (Method::GET, "/sign-in/callback", Public),
    (Method::GET, "/sign-in/{link}", Public),
    (Method::GET, "/sign-in/{link}/microsoft", Public),
    (Method::POST, "/sign-in/{link}/microsoft", Public),
    (Method::GET, "/sign-in/{link}/password", Public),
    (Method::POST, "/sign-in/{link}/password", Public),
    (Method::GET, "/consent/{link}", Public),
    (Method::POST, "/consent/{link}", Public),
    // Who posts there has a token of Microsoft's, which the handler checks.
    (Method::GET, "/api/messages", Public),
    (Method::POST, "/api/messages", Public),
    // Only where `chancery dev` adds them; they look at `Host`, and the clock at a token of its own.
    (Method::GET, "/dev", Public),
    (Method::POST, "/dev/sign-in", Public),
    (Method::GET, "/dev/return", Public),
    (Method::POST, "/dev/clock/advance", Public),
    (Method::GET, "/dev/templates", Public),
    (Method::GET, "/dev/style.css", Public),
    (Method::POST, "/v1/sign-ins", SENDERS),
    (Method::GET, "/v1/sign-ins/{id}", SENDERS),
    (Method::POST, "/v1/sign-ins/{id}/confirm", SENDERS),
    (Method::POST, "/v1/messages", SENDERS),
    (Method::POST, "/v1/messages:batch", SENDERS),
    (Method::GET, "/v1/messages", ALL),
    (Method::GET, "/v1/messages/{id}", ALL),
    (Method::GET, "/v1/tenants", READERS),
    (Method::GET, "/v1/tenants/{tid}", READERS),
    (Method::POST, "/v1/tenants/{tid}/admit", OPERATORS),
    (Method::POST, "/v1/tenants/{tid}/block", OPERATORS),
    (Method::PUT, "/v1/tenants/{tid}/policy", OPERATORS),
    (Method::GET, "/v1/tenants/{tid}/connections", READERS),
    // What `?reveal=` shows is for auditors and admins; the handler looks.
    (Method::GET, "/v1/tenants/{tid}/connections/{oid}", READERS),
    (Method::GET, "/v1/tenants/{tid}/connections/{oid}/history", HISTORIANS),
    (Method::GET, "/v1/accounts/{account}/history", HISTORIANS),
    (Method::POST, "/v1/accounts/{account}/unlink", UNLINKERS),
    (Method::GET, "/v1/events", ALL),
    (Method::GET, "/v1/hubs", READERS),
    (Method::POST, "/v1/clients", ADMINS),
    (Method::GET, "/v1/clients", ADMINS),
    (Method::POST, "/v1/clients/{client}/keys", ADMINS),
    (Method::POST, "/v1/clients/{client}/keys/{key}/rotate", ADMINS),
    (Method::DELETE, "/v1/clients/{client}/keys/{key}", ADMINS),
    (Method::POST, "/v1/clients/{client}/role", ADMINS),
];

/// What a hub tells of itself from memory, also while it can't know whether the key that asks was revoked meanwhile.
pub const OF_THE_HUB_ITSELF: [&str; 2] = ["/metrics", "/v1/hubs"];

/// Whatever can be got answers it.
static HEAD: Method = Method::HEAD;

/// Who may use the route; otherwise, the methods it has.
pub fn of(method: &Method, route: &str) -> Result<Access, Vec<&'static Method>> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let rules = || TABLE.iter().filter(|(_, known, _)| *known == route);
    if let Some((.., access)) = rules().find(|(known, ..)| known == method) {
        return Ok(*access);
    }
    let also = |method: &Method| (*method == Method::GET).then_some(&HEAD);
    Err(rules().flat_map(|(method, ..)| [Some(method), also(method)]).flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_has_two_rules() {
        for (at, (method, route, _)) in TABLE.iter().enumerate() {
            assert!(!TABLE[..at].iter().any(|(m, r, _)| m == method && r == route), "{method} {route}");
        }
    }

    #[test]
    fn auditors_change_nothing() {
        for (method, route, access) in TABLE {
            if let Roles(roles) = access {
                assert!(method == Method::GET || !roles.contains(&Auditor), "{method} {route}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        assert_eq!(of(&Method::GET, "/nowhere"), Err(vec![]));
        assert_eq!(
            of(&Method::DELETE, "/v1/messages"),
            Err(vec![&Method::POST, &Method::GET, &Method::HEAD])
        );
        assert_eq!(of(&Method::HEAD, "/health/live"), Ok(Public));
    }
}
