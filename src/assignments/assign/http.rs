//! Routes of `/v1/coupon-sets/{couponSetId}/assignments`.

use axum::extract::State;
use axum::http::HeaderMap;
use uuid::Uuid;

use super::dry_run::dry_run;
use super::{AssignRequest, AssignResponse, NewAssignment, Target, batch, db};
use crate::assignments::Assignments;
use crate::batching::{Atomicity, TIMEOUT};
use crate::http::error::Error;
use crate::http::extract::{Json, Path};
use crate::http::idempotency_key::IdempotencyKey;
use crate::http::routes::Routes;
use crate::tenants::auth::{AssignmentsWrite, Caller};

pub(in crate::assignments) fn routes() -> Routes<Assignments> {
    Routes::new()
        .post("/v1/coupon-sets/{couponSetId}/assignments", assign)
        .post(
            "/v1/coupon-sets/{couponSetId}/assignments/batch",
            batch::assign_batch,
        )
}

async fn assign(
    State(assignments): State<Assignments>,
    caller: Caller<AssignmentsWrite>,
    Path(set): Path<Uuid>,
    headers: HeaderMap,
    Json(new): Json<NewAssignment>,
) -> Result<AssignResponse, Error> {
    let key = IdempotencyKey::of(&headers)?.unwrap_or_else(IdempotencyKey::generate);
    let target = Target {
        tenant: caller.tenant,
        set,
        child: new.child,
    };
    let kind = new.dry_run;
    let request = AssignRequest::new(set, new, key);
    if let Some(kind) = kind {
        let database = &assignments.database;
        let context = database
            .with_tenant(caller.tenant, async |connection| {
                db::find_dry_run_context(connection, target).await
            })
            .await?;
        let context = context.ok_or_else(|| Error::not_found("coupon set"))?;
        return dry_run(&context, kind, request);
    }
    let items = vec![request.item(caller.key)];
    let replies = assignments
        .assigner
        .assign(target, items, Atomicity::PerItem, TIMEOUT);
    let reply = replies.await.pop();
    request.respond(reply.ok_or_else(|| Error::Internal("the batcher gave no answer".to_owned()))?)
}
