//! The API as callers see it: one endpoint, one file; errors meet HTTP once, in [`problem`].

pub mod asking;
pub mod body;
mod conditional;
mod console;
mod guard;
mod idempotency;
pub mod openapi;
pub mod problem;
pub mod query;
mod receipted;
pub mod routes;
mod sites;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use strongroom_perimeter::problem::with_fallbacks;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::operation::Vault;

/// Every endpoint, with its description.
fn endpoints() -> OpenApiRouter<Arc<Vault>> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(routes::cards::create::create, routes::cards::list::list))
        .routes(
            routes!(routes::cards::batch::batch)
                .layer(DefaultBodyLimit::max(routes::cards::batch::BATCH_BYTES_MAX)),
        )
        .routes(
            routes!(routes::cards::updates::updates)
                .layer(DefaultBodyLimit::max(routes::cards::batch::BATCH_BYTES_MAX)),
        )
        .routes(routes!(routes::cards::lookup::lookup))
        .routes(routes!(routes::cards::match_number::match_number))
        .routes(routes!(
            routes::cards::show::show,
            routes::cards::update::update,
            routes::cards::erase::erase
        ))
        .routes(routes!(routes::cards::restore::restore))
        .routes(routes!(routes::cards::restore_many::restore_many))
        .routes(routes!(routes::tenants::list::list))
        .routes(routes!(routes::retention::report))
        .routes(
            routes!(routes::evidence::make, routes::evidence::make_with_proofs)
                .layer(DefaultBodyLimit::max(crate::evidence::PROOFS_BYTES_MAX)),
        )
        .routes(routes!(routes::suspensions::list::list, routes::suspensions::suspend::suspend))
        .routes(routes!(routes::suspensions::lift::lift))
        .routes(routes!(routes::reviews::show::show, routes::reviews::file::file))
        .routes(routes!(routes::tenants::put::put, routes::tenants::show::show))
        .routes(routes!(routes::events::list::list))
        .routes(routes!(routes::events::replay::replay))
        .routes(routes!(routes::exports::list::list, routes::exports::request::request))
        .routes(routes!(routes::exports::show::show))
        .routes(routes!(routes::exports::approve::approve))
        .routes(routes!(routes::exports::run::run))
        .routes(routes!(routes::forwards::open::open))
        .routes(routes!(routes::forwards::show::show))
        .routes(routes!(routes::forwards::outcome::outcome))
        .routes(routes!(routes::forwards::read::read))
        .routes(routes!(routes::forwards::reconcile::reconcile))
        .routes(routes!(routes::find::entries::find))
        .routes(routes!(routes::find::entries::find_of_tenant))
        .routes(routes!(routes::find::blast_radius::list))
        .routes(routes!(routes::audit::receipt::receipt))
        .routes(routes!(routes::keys::succeed::succeed))
        .route(routes::audit::log::PATH, axum::routing::get(routes::audit::log::file))
}

/// The router of the `api` listener.
pub fn router(vault: Arc<Vault>) -> Router {
    let (router, _) = endpoints().split_for_parts();
    let router = router.merge(console::routes()).with_state(Arc::clone(&vault));
    with_fallbacks(router)
        .layer(middleware::from_fn_with_state(Arc::clone(&vault), sites::refuse_other_sites))
        .layer(middleware::from_fn(receipted::name_receipts))
        .layer(middleware::from_fn(guard::refuse_card_data_outside_bodies))
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(vault, console::finish))
}

/// The contract, as it is committed in `vault/openapi.json`.
#[must_use]
pub fn contract() -> utoipa::openapi::OpenApi {
    openapi::finish(endpoints().split_for_parts().1)
}
