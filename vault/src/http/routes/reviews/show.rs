//! `GET /v1/reviews/{kind}`: what is to be reviewed, and what is signed for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::{Problem, ProblemKind, Timestamp};
use utoipa::ToSchema;

use crate::audit::{Event, Object};
use crate::authz::{AccessReview, ReviewAccess, ReviewLog};
use crate::http::problem::{Denial, Refused};
use crate::operation::review::{Reviews, ShownReview};
use crate::operation::{Asking, OperationError, Vault};
use crate::review::{LogDigest, ReviewKind, ReviewRecord};

/// What is to be reviewed.
#[derive(Serialize, ToSchema)]
#[schema(as = ReviewToSign)]
pub struct ReviewBody {
    /// What is signed, in RFC 8785 JSON, once `decision` and `remarks` are said (vault/docs/reviews.md).
    #[schema(value_type = Object)]
    record: ReviewRecord,
    /// The access matrix; null if the log is reviewed.
    #[schema(value_type = Option<Object>)]
    matrix: Option<AccessReview>,
    /// What is on the log since the last review; null if access is reviewed.
    #[schema(value_type = Option<Object>)]
    digest: Option<LogDigest>,
    /// When the last review was filed; null if there was none.
    #[schema(value_type = Option<String>, format = DateTime)]
    last: Option<Timestamp>,
    /// Overdue from then on.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// Whether it is overdue.
    overdue: bool,
}

impl From<ShownReview> for ReviewBody {
    fn from(shown: ShownReview) -> Self {
        let ShownReview { record, matrix, digest, last, standing } = shown;
        Self { record, matrix, digest, last, due_at: standing.due_at, overdue: standing.overdue }
    }
}

/// Show what is to be reviewed.
///
/// `access`: who can do what, by the policy bundle in force. `log`: entries since the last review, counted by event and outcome, and what rules
/// found. For people with the grant to review.
#[utoipa::path(
    get,
    path = "/v1/reviews/{kind}",
    tag = "reviews",
    operation_id = "showReview",
    params(("kind" = String, Path, description = "what is reviewed", pattern = "^(access|log)$")),
    responses(
        (status = 200, description = "what is to be reviewed", body = ReviewBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(kind): Path<String>,
) -> Result<Response, Refused> {
    let shown = match ReviewKind::parse(&kind) {
        Some(ReviewKind::Access) => try_show::<ReviewAccess>(&vault, &asking).await,
        Some(ReviewKind::Log) => try_show::<ReviewLog>(&vault, &asking).await,
        None => Err(unknown()),
    };
    match shown {
        Ok(shown) => Ok(Json(ReviewBody::from(shown)).into_response()),
        Err(error) => {
            let object = Object::Operation("GET /v1/reviews/{kind}");
            Err(Refused::new(&vault, &asking, Event::ReviewRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_show<A: Reviews>(vault: &Vault, asking: &Asking) -> Result<ShownReview, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<A>(&asking.caller.workload)?;
    let permit = authorizer.decide::<A>(&asking.caller.workload, (), &())?;
    vault.show_review(asking, permit).await
}

/// Nothing else is reviewed.
pub(super) fn unknown() -> OperationError {
    OperationError::Request(Problem::new(ProblemKind::NotFound))
}
