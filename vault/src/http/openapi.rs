//! The head of the contract: OpenAPI 3.1, generated from the handlers, committed, and checked for freshness.

use utoipa::OpenApi;
use utoipa::openapi::security::SecurityScheme;

use super::problem::ProblemBody;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Strongroom vault",
        description = "Replaces card numbers with tokens. Every call needs a client certificate (mTLS, TLS 1.3) that policy grants \
                       the call. Errors are problem documents (RFC 9457) whose types are listed in vault/docs/problems.md. \
                       `/v1` only ever gains fields.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody)),
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

/// The contract as committed: pretty JSON with a final newline.
///
/// # Errors
/// Only if the contract cannot be serialized, which is a defect.
pub fn committed_form() -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(&super::contract())? + "\n")
}
