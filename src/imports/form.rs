//! The multipart form. Fields may come in any order, so the file is stored until all of them are read.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{Multipart, Request};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use uuid::Uuid;

use super::{ImportOptions, Mode, upload};
use crate::http::error::{Error, Fault};
use crate::text_enum::expectation;

/// Most fields of a form, unknown ones included.
const MAX_PARTS: usize = 16;
/// Most bytes of a field that is not the file.
const MAX_FIELD_BYTES: usize = 1024;

/// Most bytes between the contents of two fields. Bytes of the next content that arrive in the same frame count too.
const MAX_PART_HEADER_BYTES: usize = 64 * 1024;
/// Value of a `PartHeaderLimit` while the content of a field is read.
const IN_CONTENT: usize = usize::MAX;

/// Limit for the bytes between the contents of two fields, and the number read so far. The parser of the form buffers all
/// of them until the next content starts, and has no limit of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct PartHeaderLimit(Arc<AtomicUsize>);

impl PartHeaderLimit {
    /// Counts the bytes of a request's body, and fails the body when the limit is exceeded.
    pub(super) fn apply(&self, request: Request) -> Request {
        let header_limit = self.clone();
        request.map(|body| {
            // The parser reads all frames that are ready before it returns anything, so the body yields after each
            // frame. (If it yielded before the first, the parser would treat a short form as interrupted.)
            let frames = (body.into_data_stream(), false);
            Body::from_stream(stream::unfold(frames, move |(mut frames, has_more)| {
                let header_limit = header_limit.clone();
                async move {
                    if has_more {
                        tokio::task::yield_now().await;
                    }
                    let frame = header_limit.count(frames.next().await?);
                    Some((frame, (frames, true)))
                }
            }))
        })
    }

    fn count(&self, frame: Result<Bytes, axum::Error>) -> io::Result<Bytes> {
        let frame = frame.map_err(io::Error::other)?;
        match self.0.load(Ordering::Relaxed) {
            IN_CONTENT => Ok(frame),
            read if read > MAX_PART_HEADER_BYTES => Err(io::ErrorKind::InvalidData.into()),
            read => {
                self.0.store(read + frame.len(), Ordering::Relaxed);
                Ok(frame)
            }
        }
    }

    fn is_exceeded(&self) -> bool {
        let read = self.0.load(Ordering::Relaxed);
        read != IN_CONTENT && read > MAX_PART_HEADER_BYTES
    }

    fn begin_header(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn begin_content(&self) {
        self.0.store(IN_CONTENT, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
pub(super) struct Form {
    kind: Option<String>,
    coupon_set_id: Option<String>,
    delimiter: Option<String>,
    header: Option<String>,
    code_column: Option<String>,
    expires_at_column: Option<String>,
    attribute_columns: Option<String>,
    encoding: Option<String>,
    sheet: Option<String>,
    override_existing: Option<String>,
    update_only_empty_fields: Option<String>,
    mode: Option<String>,
    force: Option<String>,
    file: Option<std::fs::File>,
    faults: Vec<Fault>,
}

impl Form {
    pub(super) async fn receive(
        mut multipart: Multipart,
        header_limit: &PartHeaderLimit,
        limit: u64,
    ) -> Result<Self, Error> {
        let mut form = Self::default();
        let mut names = HashSet::new();
        loop {
            header_limit.begin_header();
            let field = match with_timeout(multipart.next_field()).await {
                Err(_) if header_limit.is_exceeded() => {
                    return Err(Error::malformed(
                        "More than 64 KiB of the form is outside of its fields. Nothing was stored.",
                    ));
                }
                field => field?,
            };
            let Some(field) = field else {
                return Ok(form);
            };
            header_limit.begin_content();
            let name = field.name().unwrap_or_default().to_owned();
            if names.len() == MAX_PARTS {
                return Err(Error::malformed(format!(
                    "The form can have at most {MAX_PARTS} fields."
                )));
            }
            if !names.insert(name.clone()) {
                return Err(Error::invalid(
                    format!("/{name}"),
                    "This field occurs more than once.",
                ));
            }
            if name == "file" {
                let frames = field.map(|frame| frame.map_err(|_| upload::interrupted()));
                form.file = Some(upload::receive_stream(frames, limit).await?);
                continue;
            }
            let target = match name.as_str() {
                "type" => &mut form.kind,
                "couponSetId" => &mut form.coupon_set_id,
                "delimiter" => &mut form.delimiter,
                "header" => &mut form.header,
                "codeColumn" => &mut form.code_column,
                "expiresAtColumn" => &mut form.expires_at_column,
                "attributeColumns" => &mut form.attribute_columns,
                "encoding" => &mut form.encoding,
                "sheet" => &mut form.sheet,
                "overrideExisting" => &mut form.override_existing,
                "updateOnlyEmptyFields" => &mut form.update_only_empty_fields,
                "mode" => &mut form.mode,
                "force" => &mut form.force,
                _ => {
                    form.faults
                        .push(Fault::new(format!("/{name}"), "Unknown field."));
                    &mut None
                }
            };
            *target = Some(read_text(field).await?);
        }
    }

    pub(super) fn check(mut self) -> Result<(Uuid, ImportOptions, std::fs::File), Error> {
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
            self.fault("file", "This field is required.");
        }
        let filled = |field: Option<String>| field.filter(|text| !text.is_empty());
        let header = self.header.take();
        let mode = filled(self.mode.take());
        let force = filled(self.force.take());
        let override_existing = self.override_existing.take();
        let update_only_empty_fields = self.update_only_empty_fields.take();
        let options = ImportOptions {
            delimiter: filled(self.delimiter.take()),
            header: self.boolean("header", filled(header)),
            code_column: filled(self.code_column.take()),
            expires_at_column: filled(self.expires_at_column.take()),
            attribute_columns: filled(self.attribute_columns.take()),
            encoding: filled(self.encoding.take()),
            sheet: filled(self.sheet.take()),
            override_existing: self.boolean("overrideExisting", filled(override_existing)),
            update_only_empty_fields: self
                .boolean("updateOnlyEmptyFields", filled(update_only_empty_fields)),
            mode: self.mode(mode.as_deref()),
            force: self.boolean("force", force),
        };
        if let Err(Error::Invalid(faults)) = options.table() {
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

    fn mode(&mut self, text: Option<&str>) -> Option<Mode> {
        let mode = Mode::parse(text?);
        if mode.is_none() {
            self.fault("mode", &expectation::<Mode>());
        }
        mode
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

async fn read_text(mut field: axum::extract::multipart::Field<'_>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = with_timeout(field.chunk()).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            return Err(Error::malformed(format!(
                "A field of the form can have at most {MAX_FIELD_BYTES} bytes."
            )));
        }
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::malformed("The fields of the form must be encoded in UTF-8."))?;
    // Some clients append a line break. Other white space stays, because a tab is a valid delimiter.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Waits for the next part of the form, up to the timeout.
async fn with_timeout<T>(
    next: impl Future<Output = Result<T, MultipartError>>,
) -> Result<T, Error> {
    timeout(upload::STALL_TIMEOUT, next)
        .await
        .map_err(|_| upload::too_slow())?
        .map_err(|_| upload::interrupted())
}
