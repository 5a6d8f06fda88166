//! Routes of `/v1/imports` and `/v1/coupon-sets/{couponSetId}/imports`.

use std::fs::File;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, OriginalUri, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use delivery_reader::{ContentTypeHint, TextFormat};
use serde::Deserialize;
use uuid::Uuid;

use super::form::{Form, PartHeaderLimit};
use super::spool::{self, StoreResult, UploadDetails};
use super::upload::ReceivedUpload;
use super::{
    Import, ImportOptions, ImportStatus, Imports, db, lifecycle, preview, pull, report, undo,
    upload,
};
use crate::coupon_sets;
use crate::database::Database;
use crate::http::error::{E0401, Error, TOO_MANY_IMPORTS, UNSUPPORTED_MEDIA_TYPE};
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency_key::IdempotencyKey;
use crate::http::page::{Page, Paging};
use crate::http::routes::Routes;
use crate::ids::TenantId;
use crate::tenants::auth::{Caller, ImportsRead, ImportsWrite};

pub(super) fn routes() -> Routes<Imports> {
    Routes::new()
        .post("/v1/coupon-sets/{couponSetId}/imports", import_into_set)
        .get("/v1/imports", list)
        .post("/v1/imports", import_multipart)
        .post("/v1/imports/", import_multipart)
        .post("/v1/imports/preview", preview::preview)
        .get("/v1/imports/{importId}", find)
        .delete("/v1/imports/{importId}", delete)
        .post("/v1/imports/{importId}/cancel", cancel)
        .get("/v1/imports/{importId}/errors.csv", errors)
        .post("/v1/imports/{importId}/undo", undo::undo)
        // `upload` enforces the limit of a file.
        .wrap(|router| router.layer(DefaultBodyLimit::disable()))
}

async fn import_into_set(
    State(imports): State<Imports>,
    caller: Caller<ImportsWrite>,
    Path(set): Path<Uuid>,
    Query(options): Query<ImportOptions>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Import>), Error> {
    let key = IdempotencyKey::of(&headers)?.map(|key| key.hash());
    let hint = upload::content_type_hint(&headers)?;
    if hint.format != TextFormat::Json {
        options.check_for(hint.format)?;
    }
    // Checked before the upload, so that a client need not send 2 GiB before a wrong id is rejected.
    check_set(&imports.database, caller.tenant, set).await?;
    let received = imports.received.begin(caller.tenant)?;
    let (file, hint) = receive(&imports, body, hint, &options).await?;
    queue(
        &imports,
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
        received,
    )
    .await
}

/// Receives the file of a request, or fetches the one that the request refers to.
async fn receive(
    imports: &Imports,
    body: Body,
    hint: ContentTypeHint,
    options: &ImportOptions,
) -> Result<(File, ContentTypeHint), Error> {
    let mut file = upload::receive(body, imports.limits.bytes).await?;
    if hint.format != TextFormat::Json {
        return Ok((file, hint));
    }
    let (file, hint) = match pull::FileReference::read(&mut file)? {
        Some(reference) => imports.fetcher.fetch(&reference).await?,
        None => (file, hint),
    };
    options.check_for(hint.format)?;
    Ok((file, hint))
}

async fn check_set(database: &Database, tenant: TenantId, set: Uuid) -> Result<(), Error> {
    database
        .with_tenant(tenant, async |connection| {
            coupon_sets::find_fillable(connection, tenant, set).await
        })
        .await?;
    Ok(())
}

async fn queue(
    imports: &Imports,
    tenant: TenantId,
    details: UploadDetails,
    file: File,
    received: ReceivedUpload,
) -> Result<(StatusCode, Json<Import>), Error> {
    let slot = imports.storing_slots.take(tenant).await?;
    drop(received);
    // A separate task holds the slot: if the client disconnects, the file is still read to its end.
    let state = imports.clone();
    let storing = tokio::spawn(async move {
        let stored = spool::store(&state, tenant, details, file).await;
        drop(slot);
        stored
    });
    let StoreResult { import, created } = storing
        .await
        .map_err(|error| Error::Internal(format!("an upload task failed: {error}")))??;
    if !created {
        return Ok((StatusCode::OK, Json(import)));
    }
    imports.queued.notify_one();
    Ok((StatusCode::CREATED, Json(import)))
}

async fn import_multipart(
    State(imports): State<Imports>,
    caller: Caller<ImportsWrite>,
    request: Request,
) -> Result<(StatusCode, Json<Import>), Error> {
    let key = IdempotencyKey::of(request.headers())?.map(|key| key.hash());
    if upload::is_gzip(request.headers())? {
        let detail =
            "Send the form without `Content-Encoding`; only the file in it may be compressed.";
        return Err(Error::refused(&UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let header_limit = PartHeaderLimit::default();
    let multipart = Multipart::from_request(header_limit.apply(request), &())
        .await
        .map_err(|_| {
            Error::refused(
                &UNSUPPORTED_MEDIA_TYPE,
                "Send the form as multipart/form-data.",
            )
        })?;
    let received = imports.received.begin(caller.tenant)?;
    let (set, options, file) = Form::receive(multipart, &header_limit, imports.limits.bytes)
        .await?
        .check()?;
    queue(
        &imports,
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
        received,
    )
    .await
    .map_err(with_compatible_code)
}

/// Replaces the problem code of a full queue by the one that existing scripts for the form expect.
fn with_compatible_code(error: Error) -> Error {
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
    State(database): State<Database>,
    caller: Caller<ImportsWrite>,
    Path(id): Path<Uuid>,
) -> Result<Json<Import>, Error> {
    lifecycle::cancel(&database, caller.tenant, id)
        .await
        .map(Json)
}

async fn delete(
    State(database): State<Database>,
    caller: Caller<ImportsWrite>,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Error> {
    lifecycle::delete(&database, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(
    State(database): State<Database>,
    caller: Caller<ImportsRead>,
    Path(id): Path<Uuid>,
) -> Result<Json<Import>, Error> {
    let import = database
        .with_tenant(caller.tenant, async |connection| {
            db::find(connection, caller.tenant, id).await
        })
        .await?;
    import.map(Json).ok_or_else(|| Error::not_found("import"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ListQuery {
    coupon_set_id: Option<Uuid>,
    status: Option<ImportStatus>,
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(database): State<Database>,
    caller: Caller<ImportsRead>,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Import>>, Error> {
    let paging: Paging<Uuid> = Paging::new(query.limit, query.cursor.as_deref())?;
    let mut transaction = database.tenant(caller.tenant).await?;
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
        status: query.status,
        after: paging.key().copied(),
        back: paging.back(),
        rows: paging.rows(),
    };
    let rows = db::list(&mut transaction, caller.tenant, &filter).await?;
    transaction.commit().await?;
    Ok(Json(paging.page(rows, &uri, |import| import.id)))
}

async fn errors(
    State(database): State<Database>,
    caller: Caller<ImportsRead>,
    Path(id): Path<Uuid>,
) -> Result<Response, Error> {
    let import = database
        .with_tenant(caller.tenant, async |connection| {
            db::find(connection, caller.tenant, id).await
        })
        .await?;
    import.ok_or_else(|| Error::not_found("import"))?;
    Ok(report::stream(database, caller.tenant, id))
}
