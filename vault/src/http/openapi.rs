//! The contract: OpenAPI 3.1, generated from the handlers, committed, and checked for freshness.
//!
//! Promises: what a running vault takes and answers is in it; tests hold one to the other.
//! Upholds: C-35.

use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityScheme;

use super::problem::ProblemBody;
use super::routes::cards::list::BrandName;
use super::routes::events::list::EventStateName;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Strongroom vault",
        description = "Replaces card numbers with tokens. Every call needs a client certificate (mTLS, TLS 1.3) that policy grants \
                       the call. Errors are problem documents (RFC 9457) whose types are listed in vault/docs/problems.md. \
                       `/v1` only ever gains fields.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody, BrandName, EventStateName)),
    modifiers(&MutualTls),
    security(("mutualTLS" = [])),
)]
struct Head;

struct MutualTls;

impl utoipa::Modify for MutualTls {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = openapi.components.as_mut() {
            let scheme = SecurityScheme::MutualTls {
                description: Some("client certificate".to_owned()),
                extensions: None,
                deprecated: None,
            };
            components.add_security_scheme("mutualTLS", scheme);
        }
    }
}

/// Title, words and security of the contract.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// What the handlers' descriptions cannot say of themselves: a parameter that is not given is left out; no text in a path,
/// query or header stands for null.
pub(super) fn finish(mut openapi: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in openapi.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        let operations = operations.map(|operation| operation.as_mut().map(super::receipted::describe));
        for parameter in
            operations.into_iter().flatten().filter_map(|each| each.parameters.as_mut()).flatten()
        {
            if let RefOr::T(parameter) = parameter
                && let Some(RefOr::T(schema)) =
                    parameter.schema.take_if(|schema| matches!(schema, RefOr::T(_)))
            {
                parameter.schema = Some(never_null(schema));
            }
        }
    }
    openapi
}

fn never_null(mut schema: Schema) -> RefOr<Schema> {
    match &mut schema {
        Schema::Object(object) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|kind| *kind != Type::Null);
                if let [kind] = types.as_slice() {
                    object.schema_type = SchemaType::Type(kind.clone());
                }
            }
        }
        Schema::OneOf(choice) => {
            choice.items.retain(|item| !is_null(item));
            if let [_] = choice.items.as_slice() {
                return choice.items.remove(0);
            }
        }
        _ => {}
    }
    RefOr::T(schema)
}

fn is_null(item: &RefOr<Schema>) -> bool {
    let RefOr::T(Schema::Object(object)) = item else { return false };
    object.schema_type == SchemaType::Type(Type::Null)
}

/// The contract as committed: pretty JSON with a final newline.
///
/// # Errors
/// Only if the contract cannot be serialized, which is a defect.
pub fn committed_form() -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(&super::contract())? + "\n")
}
