//! What an import would make of a file, told from its first part. Nothing is stored.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use delivery_reader::{RowRules, Sample, TextFormat, sample};
use serde::Deserialize;

use super::limits::Limits;
use super::{Options, refuse, upload};
use crate::app::App;
use crate::error::{Error, UNSUPPORTED_MEDIA_TYPE};
use crate::extract::{Json, Query};
use crate::tenants::auth::{Caller, ImportsWrite};

/// The bytes of the part that are taken.
const MAX_BYTES: u64 = 1024 * 1024;

/// The most that a part is unpacked, in bytes.
const MAX_UNPACKED: u64 = 64 * 1024 * 1024;

/// The options of an import that say how it is read, and whether the part is all of the file.
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
    whole: Option<bool>,
}

pub(super) async fn preview(
    State(app): State<App>,
    caller: Caller<ImportsWrite>,
    Query(query): Query<PreviewQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Sample>, Error> {
    let hint = upload::content_type_hint(&headers)?;
    if hint.format == TextFormat::Json {
        let detail = "JSON says itself what it is; only tables and lists have a preview.";
        return Err(Error::refused(&UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let whole = query.whole.unwrap_or(false);
    let options = Options {
        delimiter: query.delimiter,
        header: query.header,
        code_column: query.code_column,
        expires_at_column: query.expires_at_column,
        attribute_columns: query.attribute_columns,
        encoding: query.encoding,
        sheet: query.sheet,
        ..Options::default()
    };
    options.check_for(hint.format)?;
    let options = options.table()?;
    let limits = Limits {
        unpacked: MAX_UNPACKED,
        ..app.uploads.limits.clone()
    };
    let slot = app.uploads.take(caller.tenant).await?;
    let file = upload::receive(body, MAX_BYTES).await?;
    let rules = RowRules {
        // The set is not known yet, and whether a date can be read does not depend on it.
        zone: chrono_tz::UTC,
        max_code_chars: limits.code_chars,
    };
    // The turn is kept also where the client has gone.
    let sample = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        sample(file, hint, whole, &options, rules, &limits.of_reader())
    })
    .await
    .map_err(|error| Error::Internal(format!("a preview failed: {error}")))?;
    sample.map(Json).map_err(refuse)
}
