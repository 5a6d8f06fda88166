//! Preview of an import from the first part of a file. Nothing is stored.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use delivery_reader::{RowRules, Sample, TextFormat, sample};
use serde::Deserialize;

use super::limits::UploadLimits;
use super::{ImportOptions, Imports, read_error, upload};
use crate::http::error::{Error, UNSUPPORTED_MEDIA_TYPE};
use crate::http::extract::{Json, Query};
use crate::tenants::auth::{Caller, ImportsWrite};

/// Most bytes of the part.
const MAX_BYTES: u64 = 1024 * 1024;

/// Most bytes to which the part may be unpacked.
const MAX_UNPACKED_BYTES: u64 = 64 * 1024 * 1024;

/// The options for reading a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PreviewQuery {
    delimiter: Option<String>,
    header: Option<bool>,
    code_column: Option<String>,
    expires_at_column: Option<String>,
    attribute_columns: Option<String>,
    encoding: Option<String>,
    sheet: Option<String>,
    /// The part is the whole file.
    whole: Option<bool>,
}

pub(super) async fn preview(
    State(imports): State<Imports>,
    caller: Caller<ImportsWrite>,
    Query(query): Query<PreviewQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Sample>, Error> {
    let hint = upload::content_type_hint(&headers)?;
    if hint.format == TextFormat::Json {
        let detail = "A preview is supported for tables and lists, but not for JSON.";
        return Err(Error::refused(&UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let whole = query.whole.unwrap_or(false);
    let options = ImportOptions {
        delimiter: query.delimiter,
        header: query.header,
        code_column: query.code_column,
        expires_at_column: query.expires_at_column,
        attribute_columns: query.attribute_columns,
        encoding: query.encoding,
        sheet: query.sheet,
        ..ImportOptions::default()
    };
    options.check_for(hint.format)?;
    let options = options.table()?;
    let limits = UploadLimits {
        unpacked: MAX_UNPACKED_BYTES,
        ..imports.limits.clone()
    };
    let received = imports.received.begin(caller.tenant)?;
    let file = upload::receive(body, MAX_BYTES).await?;
    let slot = imports.storing_slots.take(caller.tenant).await?;
    drop(received);
    let rules = RowRules {
        // The set is not known yet. Its zone would not change which dates are valid.
        zone: chrono_tz::UTC,
        max_code_chars: limits.code_chars,
    };
    // The slot moves into the task, so that it is held until the reading ends, even if the client disconnects.
    let sample = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        sample(file, hint, whole, &options, rules, &limits.of_reader())
    })
    .await
    .map_err(|error| Error::Internal(format!("a preview failed: {error}")))?;
    sample.map(Json).map_err(read_error)
}
