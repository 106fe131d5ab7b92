//! The OpenAPI document, made from the code.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::PartialSchema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, SecurityRequirement,
};

use super::ApiState;
use super::problem::{Always, Details};
use super::take::Asked;

/// The document without its pages.
pub(super) fn empty() -> OpenApi {
    let plain = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-KEY")));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = ComponentsBuilder::new()
        .schema("Problem", Details::schema())
        .security_scheme("key", plain)
        .security_scheme("bearer", SecurityScheme::Http(bearer));
    let nothing = Vec::<String>::new;
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("mutt-remediation")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Looks into the dead letters of a MUTT pipeline, and acts on them.",
                ))
                .license(Some(License::new(env!("CARGO_PKG_LICENSE")))),
        )
        .components(Some(components.build()))
        .security(Some([
            SecurityRequirement::new("key", nothing()),
            SecurityRequirement::new("bearer", nothing()),
        ]))
        .build()
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "status",
    responses((status = 200, description = "The document.", body = serde_json::Value), Always),
)]
pub(super) async fn openapi(State(api): State<ApiState>, _: Asked<()>) -> Response {
    let text = api.0.document.get().cloned().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
