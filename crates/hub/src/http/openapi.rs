//! The description of the API, gathered from the handlers and completed with what holds for all of them.

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse as _,
    routing::get,
};
use serde_json::{Value, json};
use utoipa::{OpenApi, PartialSchema as _, ToSchema as _};

use super::{
    access::{self, Access},
    problem::Problem,
};

/// The parts that no handler brings.
#[derive(OpenApi)]
#[openapi(info(
    title = "Chancery",
    description = "Ties the users of a product to Microsoft Teams: sign-ins, tokens, and messages that arrive once, in order.",
))]
pub(super) struct Frame;

/// Adds to each operation who may use it, and that it may answer with a problem.
pub(super) fn complete(gathered: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(gathered).expect("a description is JSON");
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
    }
    document["components"]["securitySchemes"]["api_key"] =
        json!({ "type": "http", "scheme": "bearer", "description": "An API key: `chk_` and 43 characters." });
    document["components"]["schemas"][&*Problem::name()] =
        serde_json::to_value(Problem::schema()).expect("a schema is JSON");
    document
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    // Handlers are named within their file; clients are generated from names that must be unique.
    let (tag, handler) = (operation["tags"][0].as_str(), operation["operationId"].as_str());
    let name = format!("{}_{}", tag.unwrap_or_default(), handler.unwrap_or_default());
    operation["operationId"] = name.replace('-', "_").into();
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        // OpenAPI wants a description of each; where the handler has none, the status says it all.
        if response["description"].as_str().is_none_or(str::is_empty) {
            let status: Option<StatusCode> = status.parse().ok();
            response["description"] =
                status.and_then(|status| status.canonical_reason()).unwrap_or_default().into();
        }
    }
    operation["responses"]["default"] = json!({
        "description": "A problem (RFC 9457).",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let method = method.to_ascii_uppercase().parse().expect("a method of OpenAPI is one of HTTP");
    if let Ok(Access::Roles(roles)) = access::of(&method, path) {
        operation["security"] = json!([{ "api_key": [] }]);
        operation["x-roles"] = roles.iter().map(|role| access::role_name(*role)).collect();
    }
}

/// Serves the document.
pub(super) fn route(document: &Value) -> Router {
    let text = axum::body::Bytes::from(document.to_string());
    let answer = || async move { ([(header::CONTENT_TYPE, "application/json")], text).into_response() };
    Router::new().route("/openapi.json", get(answer))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn every_answer_has_a_description_as_openapi_wants_it() {
        let document = crate::app::openapi();
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
        for (method, operation) in operations {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let described = answer["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described, "{method} {}: {status}", operation["operationId"]);
            }
        }
        assert_eq!(
            document["paths"]["/metrics"]["get"]["responses"]["200"]["description"],
            Value::from("OK")
        );
    }
}
