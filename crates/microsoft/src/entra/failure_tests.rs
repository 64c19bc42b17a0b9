//! One line for each code of Entra's that we know, and what becomes of those that we don't.

use serde_json::json;

use super::{ReauthorizationReason as Reason, *};

fn of(status: u16, error: &str, suberror: Option<&str>, aadsts: Option<u32>) -> TokenFailure {
    let mut body = json!({
        "error": error,
        "error_description": "AADSTS1: a text that may name alice@example.com\r\nTrace ID: x",
        "trace_id": "1b4f4f0c-3a05-4d52-8c2c-1f0f9d6c0100",
        "correlation_id": "7c9f3f3e-53a6-45f5-9c5e-52a7cbb8a200",
    });
    if let Some(suberror) = suberror {
        body["suberror"] = json!(suberror);
    }
    if let Some(aadsts) = aadsts {
        body["error_codes"] = json!([aadsts]);
    }
    classify(diagnose(status, &body), None)
}

/// The case's name, with what distinguishes it further.
fn name(failure: &TokenFailure) -> String {
    match failure {
        TokenFailure::Final { reason, .. } => format!("Final {reason:?}"),
        TokenFailure::ConsentRequired { admin, .. } => format!("ConsentRequired admin={admin}"),
        TokenFailure::PersonSuspended { .. } => "PersonSuspended".into(),
        TokenFailure::TenantProblem { .. } => "TenantProblem".into(),
        TokenFailure::HubProblem { .. } => "HubProblem".into(),
        TokenFailure::Throttled { retry_after, .. } => {
            format!("Throttled {:?}", retry_after.map(|d| d.as_secs()))
        }
        TokenFailure::NotSent { .. } => "NotSent".into(),
        TokenFailure::Transient { .. } => "Transient".into(),
        TokenFailure::Ambiguous { .. } => "Ambiguous".into(),
    }
}

#[test]
fn every_known_number_means_what_the_reference_says() {
    let grant = |reason: Reason| format!("Final {reason:?}");
    let table: &[(&str, &[u32], String)] = &[
        ("invalid_grant", &[50173, 70000], grant(Reason::Revoked)),
        ("invalid_grant", &[70008, 700_084], grant(Reason::Expired)),
        ("invalid_grant", &[700_082], grant(Reason::Inactive)),
        ("invalid_grant", &[70043], grant(Reason::SignInFrequency)),
        ("invalid_grant", &[50076, 50078, 50079, 50074, 50072], grant(Reason::InteractionRequired)),
        ("interaction_required", &[50076, 50078, 50079, 50074, 50072], grant(Reason::InteractionRequired)),
        ("invalid_grant", &[53003, 53000, 53001, 530_032, 50131], grant(Reason::ConditionalAccess)),
        ("interaction_required", &[53003, 53000, 53001, 530_032, 50131], grant(Reason::ConditionalAccess)),
        ("invalid_grant", &[50105], grant(Reason::NotAssigned)),
        ("access_denied", &[65004], grant(Reason::Declined)),
        ("invalid_grant", &[501_481, 50147, 54005, 700_005], grant(Reason::CodeRefused)),
        ("invalid_grant", &[65001], "ConsentRequired admin=false".into()),
        ("invalid_grant", &[90094, 90095], "ConsentRequired admin=true".into()),
        ("invalid_grant", &[50057, 50034, 51004], "PersonSuspended".into()),
        ("unauthorized_client", &[700_016, 700_011, 7_000_112, 70001, 1_000_031], "TenantProblem".into()),
        ("invalid_request", &[90002], "TenantProblem".into()),
        ("invalid_client", &[7_000_215, 7_000_222], "HubProblem".into()),
        ("invalid_scope", &[70011, 28002, 700_022], "HubProblem".into()),
        ("invalid_grant", &[50196], "Throttled Some(300)".into()),
        ("temporarily_unavailable", &[90006, 90012, 90024, 90033, 50033, 50087, 90090], "Transient".into()),
        ("server_error", &[90006, 90012, 90024, 90033, 50033, 50087, 90090], "Transient".into()),
        ("temporarily_unavailable", &[90055], "Throttled None".into()),
    ];
    for (error, numbers, meaning) in table {
        for number in *numbers {
            let status = if *error == "invalid_client" { 401 } else { 400 };
            assert_eq!(name(&of(status, error, None, Some(*number))), *meaning, "{error} AADSTS{number}");
        }
    }
}

#[test]
fn words_decide_where_the_number_is_missing_or_new() {
    for number in [None, Some(424_242)] {
        for (error, suberror, meaning) in [
            ("invalid_grant", None, "Final Unknown"),
            ("invalid_grant", Some("bad_token"), "Final Revoked"),
            ("invalid_grant", Some("basic_action"), "Final InteractionRequired"),
            ("invalid_grant", Some("consent_required"), "ConsentRequired admin=false"),
            ("interaction_required", None, "Final InteractionRequired"),
            ("login_required", None, "Final InteractionRequired"),
            ("access_denied", None, "Final Declined"),
            ("consent_required", None, "ConsentRequired admin=false"),
            ("invalid_client", None, "HubProblem"),
            ("unauthorized_client", None, "HubProblem"),
            ("invalid_scope", None, "HubProblem"),
            ("invalid_request", None, "HubProblem"),
            ("temporarily_unavailable", None, "Transient"),
            ("something_new", None, "Transient"),
        ] {
            assert_eq!(name(&of(400, error, suberror, number)), meaning, "{error} {suberror:?} {number:?}");
        }
    }
}

#[test]
fn a_number_never_makes_a_wrong_client_secret_the_persons_fault() {
    assert_eq!(name(&of(401, "invalid_client", None, Some(50173))), "HubProblem");
}

#[test]
fn status_429_is_throttling_whatever_the_body_says() {
    let wait = Some(Duration::from_secs(9));
    let failure = classify(diagnose(429, &json!({ "error": "invalid_grant" })), wait);
    assert!(matches!(failure, TokenFailure::Throttled { retry_after, .. } if retry_after == wait));
}

#[test]
fn an_answer_without_a_wellformed_error_leaves_the_outcome_open() {
    for body in
        [json!(null), json!("text"), json!({ "error": 7 }), json!({ "error": "Not A Code" }), json!({})]
    {
        for status in [400, 404, 500, 502, 503, 504] {
            assert_eq!(name(&classify(diagnose(status, &body), None)), "Ambiguous", "{status} {body}");
        }
    }
    assert_eq!(name(&classify(diagnose(302, &json!(null)), None)), "HubProblem");
}

#[test]
fn only_codes_and_ids_are_kept_of_an_answer() {
    let failure = of(400, "invalid_grant", Some("bad_token"), None);
    assert_eq!(
        *failure.diagnosis(),
        Diagnosis {
            error: Some("invalid_grant".into()),
            suberror: Some("bad_token".into()),
            aadsts: Some(1), // Read from the description where `error_codes` is missing.
            trace_id: Some("1b4f4f0c-3a05-4d52-8c2c-1f0f9d6c0100".parse().unwrap()),
            correlation_id: Some("7c9f3f3e-53a6-45f5-9c5e-52a7cbb8a200".parse().unwrap()),
            http_status: Some(400),
            transport: None,
        }
    );
    assert!(!format!("{failure:?} {failure}").contains("alice"));
    assert_eq!(
        failure.to_string(),
        "the grant can't be used any more (Revoked; status 400, invalid_grant, bad_token, AADSTS1)"
    );
}
