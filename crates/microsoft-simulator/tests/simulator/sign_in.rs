//! The authorize endpoint and admin consent.

use chancery_microsoft_simulator::CONTOSO;
use chancery_microsoft_simulator::control::PersonChange;

use crate::harness::*;

#[tokio::test]
async fn a_person_picks_consents_and_comes_back_with_code_and_state() {
    let microsoft = Microsoft::start().await;
    let url = microsoft.authorize_url(&[("login_hint", BRUNO)]);
    let page = microsoft.client.get(url.clone()).send().await.unwrap().text().await.unwrap();
    assert!(page.find("Bruno").unwrap() < page.find("Ada").unwrap(), "the hinted person comes first");
    assert!(!page.contains("Gwen"), "personal accounts are not for organizations");

    let asked = microsoft.pick(url.clone(), &[("person", BRUNO)]).await;
    assert_eq!(asked.status(), 200);
    assert!(asked.text().await.unwrap().contains("ChatMessage.Send"));

    let answer = microsoft.pick(url.clone(), &[("person", BRUNO), ("consent", "accept")]).await;
    let fields = location(&answer);
    assert_eq!(fields["state"], "a state & more");
    assert!(fields["code"].starts_with("1.A"));

    let again = microsoft.pick(url, &[("person", BRUNO)]).await;
    assert!(location(&again).contains_key("code"), "consent is remembered");
}

#[tokio::test]
async fn consent_is_asked_again_when_prompted_or_revoked_or_wider() {
    let microsoft = Microsoft::start().await;
    microsoft.code(ADA, &[("scope", "openid User.Read")]).await;
    let pick = [("person", ADA)];
    let narrow = [("scope", "User.Read")];
    assert_eq!(microsoft.pick(microsoft.authorize_url(&narrow), &pick).await.status(), 302);
    assert_eq!(microsoft.pick(microsoft.authorize_url(&[]), &pick).await.status(), 200);
    let prompted = microsoft.authorize_url(&[("scope", "User.Read"), ("prompt", "consent")]);
    assert_eq!(microsoft.pick(prompted, &pick).await.status(), 200);
    microsoft.change(ADA, PersonChange { consent_revoked: Some(true), ..PersonChange::default() });
    assert_eq!(microsoft.pick(microsoft.authorize_url(&narrow), &pick).await.status(), 200);
}

#[tokio::test]
async fn an_unregistered_address_is_never_redirected_to() {
    let microsoft = Microsoft::start().await;
    let cases = [
        ("redirect_uri", "http://localhost:8080/callback", "AADSTS50011"),
        ("redirect_uri", "", "AADSTS900144"),
        ("client_id", "11111111-1111-4111-8111-111111111111", "AADSTS700016"),
        ("tenant", "nowhere.example", "AADSTS90002"),
    ];
    for (field, value, expected) in cases {
        let url = microsoft.authorize_url(&[(field, value)]);
        for answer in [
            microsoft.client.get(url.clone()).send().await.unwrap(),
            microsoft.pick(url, &[("person", ADA), ("consent", "accept")]).await,
        ] {
            assert_eq!(answer.status(), 400);
            assert!(answer.text().await.unwrap().contains(expected), "{expected}");
        }
    }
}

#[tokio::test]
async fn a_bad_request_goes_back_with_its_error() {
    let microsoft = Microsoft::start().await;
    let cases = [
        ("response_type", "token", "unsupported_response_type"),
        ("response_mode", "form_post", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("scope", "Mail.Read", "invalid_scope"),
        ("scope", "", "invalid_request"),
        ("prompt", "none", "interaction_required"),
    ];
    for (field, value, expected) in cases {
        let url = microsoft.authorize_url(&[(field, value)]);
        let fields = location(&microsoft.client.get(url).send().await.unwrap());
        assert_eq!(fields["error"], expected, "{field}={value}");
        assert_eq!(fields["state"], "a state & more");
    }
}

#[tokio::test]
async fn declining_is_access_denied() {
    let microsoft = Microsoft::start().await;
    for form in [vec![("consent", "cancel")], vec![("person", ADA), ("consent", "cancel")]] {
        let fields = location(&microsoft.pick(microsoft.authorize_url(&[]), &form).await);
        assert_eq!(fields["error"], "access_denied");
        assert_eq!(fields["error_subcode"], "cancel");
        assert!(fields["error_description"].starts_with("AADSTS65004"));
    }
}

#[tokio::test]
async fn each_path_admits_its_own_people() {
    let microsoft = Microsoft::start().await;
    let contoso = CONTOSO.to_string();
    let cases = [
        ("organizations", GWEN, 400),
        ("common", GWEN, 302),
        ("consumers", GWEN, 302),
        ("consumers", ADA, 400),
        (contoso.as_str(), ADA, 302),
        ("contoso.example", ADA, 302),
        (contoso.as_str(), ADA_OF_FABRIKAM, 400),
        ("organizations", "nobody@contoso.example", 400),
    ];
    for (tenant, person, status) in cases {
        let url = microsoft.authorize_url(&[("tenant", tenant)]);
        let answer = microsoft.pick(url, &[("person", person), ("consent", "accept")]).await;
        assert_eq!(answer.status(), status, "{person} at {tenant}");
    }
}

#[tokio::test]
async fn disabled_and_blocked_people_see_a_page() {
    let microsoft = Microsoft::start().await;
    microsoft.change(ADA, PersonChange { disabled: Some(true), ..PersonChange::default() });
    microsoft.change(BRUNO, PersonChange { ca_blocked: Some(true), ..PersonChange::default() });
    for (person, expected) in [(ADA, "AADSTS50057"), (BRUNO, "AADSTS53003")] {
        let answer = microsoft.pick(microsoft.authorize_url(&[]), &[("person", person)]).await;
        assert_eq!(answer.status(), 400);
        assert!(answer.text().await.unwrap().contains(expected));
    }
}

#[tokio::test]
async fn an_administrator_can_consent_where_people_cannot() {
    let microsoft = Microsoft::start().await;
    microsoft.change(ADA, PersonChange { admin_consent_required: Some(true), ..PersonChange::default() });
    let url = microsoft.authorize_url(&[]);
    let accepted = microsoft.pick(url.clone(), &[("person", ADA), ("consent", "accept")]).await;
    assert!(accepted.text().await.unwrap().contains("AADSTS90094"));
    for (choice, code) in [("cancel", "AADSTS90094"), ("request", "AADSTS90095")] {
        let fields = location(&microsoft.pick(url.clone(), &[("person", ADA), ("consent", choice)]).await);
        assert_eq!(fields["error"], "consent_required");
        assert!(fields["error_description"].starts_with(code));
    }

    let mut admin = microsoft.authorize_url(&[("tenant", "organizations")]);
    admin.set_path("/organizations/v2.0/adminconsent");
    let page = microsoft.client.get(admin.clone()).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("Accept for Fabrikam"));
    let declined = location(&microsoft.pick(admin.clone(), &[("consent", "cancel")]).await);
    assert_eq!((declined["error"].as_str(), declined["admin_consent"].as_str()), ("access_denied", "True"));
    let contoso = CONTOSO.to_string();
    let fields = location(&microsoft.pick(admin, &[("consent", "accept"), ("tenant", &contoso)]).await);
    assert_eq!((fields["admin_consent"].as_str(), &fields["tenant"]), ("True", &contoso));
    assert_eq!(fields["state"], "a state & more");

    assert!(location(&microsoft.pick(url, &[("person", ADA)]).await).contains_key("code"));
}
