//! `…/imports`: the bodies of an upload, the imports and their reports.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, OriginalUri, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use delivery_reader::{ContentTypeHint, TextFormat};
use serde::Deserialize;
use uuid::Uuid;

use super::form::{Form, Gap};
use super::spool::{self, Stored, UploadDetails};
use super::upload::Slot;
use super::{Import, Options, db, life, preview, pull, report, undo, upload};
use crate::app::App;
use crate::assignments::key::IdempotencyKey;
use crate::coupon_sets;
use crate::error::{E0401, Error, TOO_MANY_IMPORTS, UNSUPPORTED_MEDIA_TYPE};
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::tenants::TenantId;
use crate::tenants::auth::{Caller, ImportsRead, ImportsWrite};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route(
            "/v1/coupon-sets/{couponSetId}/imports",
            post(import_into_set),
        )
        .route("/v1/imports", get(list).post(import_multipart))
        .route("/v1/imports/", post(import_multipart))
        .route("/v1/imports/preview", post(preview::preview))
        .route("/v1/imports/{importId}", get(find).delete(delete))
        .route("/v1/imports/{importId}/cancel", post(cancel))
        .route("/v1/imports/{importId}/errors.csv", get(errors))
        .route("/v1/imports/{importId}/undo", post(undo::undo))
        // `upload` has the limit of a file.
        .layer(DefaultBodyLimit::disable())
}

async fn import_into_set(
    State(app): State<App>,
    caller: Caller<ImportsWrite>,
    Path(set): Path<Uuid>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Import>), Error> {
    let key = IdempotencyKey::of(&headers)?.map(|key| key.hash());
    let mut hint = upload::content_type_hint(&headers)?;
    if hint.format != TextFormat::Json {
        options.check_for(hint.format)?;
    }
    // Before the upload, so that no one sends 2 GiB to learn of a wrong id.
    check_set(&app, caller.tenant, set).await?;
    let slot = app.uploads.take(caller.tenant).await?;
    let mut file = upload::receive(body, app.uploads.limits.bytes).await?;
    if hint.format == TextFormat::Json {
        if let Some(source) = pull::Source::read(&mut file)? {
            (file, hint) = pull::fetch(&app, &source).await?;
        }
        options.check_for(hint.format)?;
    }
    queue(
        &app,
        caller.tenant,
        UploadDetails {
            set,
            hint,
            options,
            key,
            origin: caller.origin,
            caller: caller.key,
        },
        file,
        slot,
    )
    .await
}

async fn check_set(app: &App, tenant: TenantId, set: Uuid) -> Result<(), Error> {
    let mut transaction = app.database.tenant(tenant).await?;
    coupon_sets::find_fillable(&mut transaction, tenant, set).await?;
    transaction.commit().await?;
    Ok(())
}

async fn queue(
    app: &App,
    tenant: TenantId,
    details: UploadDetails,
    file: std::fs::File,
    slot: Slot,
) -> Result<(StatusCode, Json<Import>), Error> {
    // On a task of its own, which keeps the turn also where the client has gone: what is read then is read to its end.
    let (database, waiting) = (app.database.clone(), app.waiting.clone());
    let limits = app.uploads.limits.clone();
    let storing = tokio::spawn(async move {
        let stored = spool::store(&database, &waiting, tenant, details, file, &limits).await;
        drop(slot);
        stored
    });
    let Stored { import, created } = storing
        .await
        .map_err(|error| Error::Internal(format!("a task of an upload failed: {error}")))??;
    if !created {
        return Ok((StatusCode::OK, Json(import)));
    }
    app.bell.ring();
    Ok((StatusCode::CREATED, Json(import)))
}

/// The form of the product we follow: fields in any order, so the file is kept until all of them are known.
async fn import_multipart(
    State(app): State<App>,
    caller: Caller<ImportsWrite>,
    request: Request,
) -> Result<(StatusCode, Json<Import>), Error> {
    let key = IdempotencyKey::of(request.headers())?.map(|key| key.hash());
    if upload::is_gzip(request.headers())? {
        let detail = "Send the form as it is; the file in it may be packed.";
        return Err(Error::refused(&UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let gap = Gap::default();
    let multipart = Multipart::from_request(gap.watch(request), &app)
        .await
        .map_err(|_| {
            Error::refused(
                &UNSUPPORTED_MEDIA_TYPE,
                "Send the form as multipart/form-data.",
            )
        })?;
    let slot = app.uploads.take(caller.tenant).await?;
    let (set, options, file) = Form::receive(multipart, &gap, app.uploads.limits.bytes)
        .await?
        .check()?;
    queue(
        &app,
        caller.tenant,
        UploadDetails {
            set,
            hint: ContentTypeHint {
                format: TextFormat::Csv,
                gzip: false,
            },
            options,
            key,
            origin: caller.origin,
            caller: caller.key,
        },
        file,
        slot,
    )
    .await
    .map_err(as_they_know_it)
}

/// Scripts for the product we follow know one refusal by its status and its code.
fn as_they_know_it(error: Error) -> Error {
    match error {
        Error::Refused {
            kind: &TOO_MANY_IMPORTS,
            detail,
            ..
        } => Error::refused(&E0401, detail).with("problem", TOO_MANY_IMPORTS.code),
        other => other,
    }
}

async fn cancel(
    State(app): State<App>,
    caller: Caller<ImportsWrite>,
    Path(id): Path<Uuid>,
) -> Result<Json<Import>, Error> {
    life::cancel(&app.database, caller.tenant, id)
        .await
        .map(Json)
}

async fn delete(
    State(app): State<App>,
    caller: Caller<ImportsWrite>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    life::delete(&app.database, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(
    State(app): State<App>,
    caller: Caller<ImportsRead>,
    Path(id): Path<Uuid>,
) -> Result<Json<Import>, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let import = db::find(&mut transaction, caller.tenant, id).await?;
    transaction.commit().await?;
    import.map(Json).ok_or_else(|| Error::not_found("import"))
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Queued,
    InProgress,
    Finished,
    Error,
    Cancelled,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "inProgress",
            Self::Finished => "finished",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ListQuery {
    coupon_set_id: Option<Uuid>,
    status: Option<Status>,
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(app): State<App>,
    caller: Caller<ImportsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Import>>, Error> {
    let paging: Paging<Uuid> = Paging::new(query.limit, query.cursor.as_deref())?;
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let set_no = match query.coupon_set_id {
        Some(set) => Some(
            coupon_sets::find_no_of_any(&mut transaction, caller.tenant, set)
                .await?
                .ok_or_else(|| Error::not_found("coupon set"))?,
        ),
        None => None,
    };
    let filter = db::ListFilter {
        set_no,
        status: query.status.map(Status::as_str),
        after: paging.key().copied(),
        back: paging.back(),
        rows: paging.rows(),
    };
    let rows = db::list(&mut transaction, caller.tenant, &filter).await?;
    transaction.commit().await?;
    Ok(Json(paging.page(rows, &uri, |import| import.id)))
}

async fn errors(
    State(app): State<App>,
    caller: Caller<ImportsRead>,
    Path(id): Path<Uuid>,
) -> Result<Response, Error> {
    let mut transaction = app.database.tenant(caller.tenant).await?;
    let import = db::find(&mut transaction, caller.tenant, id).await?;
    transaction.commit().await?;
    import.ok_or_else(|| Error::not_found("import"))?;
    Ok(report::stream(app.database.clone(), caller.tenant, id))
}
