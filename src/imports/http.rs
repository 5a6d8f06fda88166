//! `…/imports`: the four bodies of an upload, the imports and their reports.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, OriginalUri, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::StreamExt;
use serde::Deserialize;
use uuid::Uuid;

use super::spool::{self, Delivery};
use super::{Format, Import, Options, db, report, upload};
use crate::app::App;
use crate::coupon_sets;
use crate::error::{Error, Fault, UNSUPPORTED_MEDIA_TYPE};
use crate::extract::{Json, Path, Query, content_type};
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
        .route("/v1/imports/{importId}", get(find))
        .route("/v1/imports/{importId}/errors.csv", get(errors))
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
    let format = match content_type(&headers).as_deref() {
        Some("text/csv") => Format::Csv,
        Some("text/plain") => Format::List,
        Some("application/json") => Format::Json,
        _ => {
            let detail = "Send the codes as text/csv, text/plain or application/json.";
            return Err(Error::refused(&UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    if format == Format::Csv {
        options.csv().map(|_| ())?;
    } else {
        options.check_none()?;
    }
    // Before the upload, so that no one sends 2 GiB to learn of a wrong id.
    check_set(&app, caller.tenant, set).await?;
    let file = upload::receive(body).await?;
    queue(
        &app,
        caller.tenant,
        Delivery {
            set,
            format,
            options,
        },
        file,
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
    delivery: Delivery,
    file: std::fs::File,
) -> Result<(StatusCode, Json<Import>), Error> {
    let id = spool::store(&app.database, tenant, delivery, file).await?;
    app.bell.ring();
    let mut transaction = app.database.tenant(tenant).await?;
    let import = db::find(&mut transaction, tenant, id)
        .await?
        .ok_or_else(|| Error::not_found("import"))?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(import)))
}

/// The form of the product we follow: fields in any order, so the file is kept until all of them are known.
async fn import_multipart(
    State(app): State<App>,
    caller: Caller<ImportsWrite>,
    request: Request,
) -> Result<(StatusCode, Json<Import>), Error> {
    let multipart = Multipart::from_request(request, &app).await.map_err(|_| {
        Error::refused(
            &UNSUPPORTED_MEDIA_TYPE,
            "Send the form as multipart/form-data.",
        )
    })?;
    let form = Form::receive(multipart).await?;
    let (set, options, file) = form.check()?;
    queue(
        &app,
        caller.tenant,
        Delivery {
            set,
            format: Format::Csv,
            options,
        },
        file,
    )
    .await
}

/// Characters of a field of the form that is not the file.
const MAX_FIELD_BYTES: usize = 1024;

#[derive(Debug, Default)]
struct Form {
    kind: Option<String>,
    coupon_set_id: Option<String>,
    delimiter: Option<String>,
    header: Option<String>,
    code_column: Option<String>,
    override_existing: Option<String>,
    update_only_empty_fields: Option<String>,
    file: Option<std::fs::File>,
    faults: Vec<Fault>,
}

impl Form {
    async fn receive(mut multipart: Multipart) -> Result<Self, Error> {
        let mut form = Self::default();
        while let Some(field) = multipart
            .next_field()
            .await
            .map_err(|_| upload::broken_off())?
        {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" {
                let frames = field.map(|frame| frame.map_err(|_| upload::broken_off()));
                form.file = Some(upload::receive_stream(frames).await?);
                continue;
            }
            let slot = match name.as_str() {
                "type" => &mut form.kind,
                "couponSetId" => &mut form.coupon_set_id,
                "delimiter" => &mut form.delimiter,
                "header" => &mut form.header,
                "codeColumn" => &mut form.code_column,
                "overrideExisting" => &mut form.override_existing,
                "updateOnlyEmptyFields" => &mut form.update_only_empty_fields,
                _ => {
                    form.faults.push(Fault::new(
                        format!("/{name}"),
                        "There is no such field here.",
                    ));
                    &mut None
                }
            };
            *slot = Some(text(field).await?);
        }
        Ok(form)
    }

    fn check(mut self) -> Result<(Uuid, Options, std::fs::File), Error> {
        if self.kind.as_deref() != Some("coupons") {
            self.fault("type", "This must be \"coupons\".");
        }
        let set = self
            .coupon_set_id
            .as_deref()
            .and_then(|id| Uuid::try_parse(id).ok());
        if set.is_none() {
            self.fault("couponSetId", "This must be the UUID of a coupon set.");
        }
        if self.file.is_none() {
            self.fault("file", "This field is needed.");
        }
        let filled = |field: Option<String>| field.filter(|text| !text.is_empty());
        let header = self.header.take();
        let override_existing = self.override_existing.take();
        let update_only_empty_fields = self.update_only_empty_fields.take();
        let options = Options {
            delimiter: filled(self.delimiter.take()),
            header: self.boolean("header", filled(header)),
            code_column: filled(self.code_column.take()),
            override_existing: self.boolean("overrideExisting", filled(override_existing)),
            update_only_empty_fields: self
                .boolean("updateOnlyEmptyFields", filled(update_only_empty_fields)),
        };
        if let Err(Error::Invalid(faults)) = options.csv() {
            self.faults.extend(
                faults
                    .into_iter()
                    .map(|fault| Fault::new(format!("/{}", fault.pointer), fault.detail)),
            );
        }
        match (set, self.file) {
            (Some(set), Some(file)) if self.faults.is_empty() => Ok((set, options, file)),
            _ => Err(Error::Invalid(self.faults)),
        }
    }

    fn fault(&mut self, name: &str, detail: &str) {
        self.faults.push(Fault::new(format!("/{name}"), detail));
    }

    fn boolean(&mut self, name: &str, text: Option<String>) -> Option<bool> {
        let text = text?;
        let value = text.parse().ok();
        if value.is_none() {
            self.fault(name, "This must be true or false.");
        }
        value
    }
}

async fn text(mut field: axum::extract::multipart::Field<'_>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|_| upload::broken_off())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            return Err(Error::malformed(format!(
                "A field of the form may have at most {MAX_FIELD_BYTES} bytes."
            )));
        }
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::malformed("The fields of the form must be UTF-8."))?;
    // A tab is a delimiter, so only the line break that some clients add is taken away.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ListQuery {
    coupon_set_id: Option<Uuid>,
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
    let after = paging.key().copied();
    let rows = db::list(
        &mut transaction,
        caller.tenant,
        set_no,
        after,
        paging.back(),
        paging.rows(),
    )
    .await?;
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
