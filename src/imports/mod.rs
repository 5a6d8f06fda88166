//! Imports: deliveries of codes into `multiple` sets, by CSV, by workbook, by paste and as JSON.
//!
//! An upload is received into a temporary file, so that a slow client holds nothing of the database. Then it is read,
//! and its rows are stored in chunks in the transaction that creates the import; the 201 comes after that commit. A
//! worker applies the chunks and publishes the cards all at once. Cards are dealt soonest expiry first, so rows that come
//! in another order are sorted before.

mod admission;
mod apply;
mod code_names;
mod db;
mod fingerprint;
mod form;
mod http;
mod jobs;
mod life;
mod limits;
mod preview;
mod progress;
pub(crate) mod pull;
mod report;
mod spool;
mod undo;
pub(crate) mod upload;
pub(crate) mod worker;

use chrono::{DateTime, Utc};
use delivery_reader::{
    DeliveryFault, DeliveryLayout, ReadError, TableOptions, TextFormat, encoding_named,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use http::router;
pub(crate) use report::csv_safe;

use crate::error::{Error, Fault, OVERLOADED, TOO_LARGE, UNREADABLE_FILE};
use crate::extract::check_text;
use code_names::CODE_NAMES;
use progress::Progress;

/// One delivery of codes, as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Import {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub coupon_set_id: Uuid,
    pub coupon_set_name: String,
    /// `queued`, `inProgress`, `finished`, `error` or `cancelled`.
    pub status: String,
    pub origin: String,
    /// The key that made it; unknown of imports from before this was noted.
    pub api_key_id: Option<Uuid>,
    pub api_key_name: Option<String>,
    /// `import` or `validate`.
    pub mode: String,
    /// Rows of the file that are not blank; once nothing more comes in of them, `success` + `errors`.
    pub total: i32,
    pub success: i32,
    pub errors: i32,
    /// How many of the errors are duplicates.
    pub duplicates: i32,
    /// How many of the errors have which reason.
    pub errors_by_reason: serde_json::Value,
    pub error_report_file_url: Option<String>,
    /// Why the job itself failed or was cancelled.
    pub failure: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub undone_at: Option<DateTime<Utc>>,
    /// How many codes its undo withdrew.
    pub withdrawn: Option<i32>,
    pub options: serde_json::Value,
    pub progress: Progress,
}

/// What the caller told about the file, kept with the import as it was understood.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    delimiter: Option<String>,
    header: Option<bool>,
    code_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute_columns: Option<String>,
    /// Absent where it is UTF-8 without having been told.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sheet: Option<String>,
    /// Of the product we follow: taken, echoed, without effect, since codes are never overwritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    override_existing: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_only_empty_fields: Option<bool>,
    /// How the file is taken rather than read; the import tells its mode itself.
    #[serde(skip_serializing)]
    mode: Option<Mode>,
    /// Imports the file also if it came before.
    #[serde(skip_serializing)]
    force: Option<bool>,
}

/// Whether the codes are taken in, or only judged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mode {
    #[default]
    Import,
    Validate,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Validate => "validate",
        }
    }
}

impl Options {
    fn table(&self) -> Result<TableOptions, Error> {
        let mut faults = Vec::new();
        let delimiter = self.delimiter.as_deref().and_then(|text| text.parse().ok());
        if delimiter.is_none() && self.delimiter.is_some() {
            faults.push(Fault::new(
                "delimiter",
                "This must be one of , ; | and tab.",
            ));
        }
        let encoding = self.encoding.as_deref().and_then(encoding_named);
        if encoding.is_none() && self.encoding.is_some() {
            faults.push(Fault::new(
                "encoding",
                "This must be the name of an encoding, as in \"UTF-8\", \"UTF-16LE\" or \"windows-1252\".",
            ));
        }
        for (option, text, max) in [
            ("codeColumn", &self.code_column, 255),
            ("expiresAtColumn", &self.expires_at_column, 255),
            ("attributeColumns", &self.attribute_columns, 1024),
            ("sheet", &self.sheet, 255),
        ] {
            if let Some(detail) = text.as_deref().and_then(|name| check_text(name, max).err()) {
                faults.push(Fault::new(option, detail));
            }
        }
        if faults.is_empty() {
            Ok(TableOptions {
                delimiter,
                header: self.header,
                code_column: self.code_column.clone(),
                expires_at_column: self.expires_at_column.clone(),
                attribute_columns: self.attribute_columns.clone(),
                encoding,
                sheet: self.sheet.clone(),
                code_names: CODE_NAMES,
            })
        } else {
            Err(Error::Invalid(faults))
        }
    }

    /// Fills in what was detected, so that the import tells how its file was read.
    fn fill_in(&mut self, layout: DeliveryLayout) {
        if layout.encoding.is_some() {
            self.encoding = layout.encoding.map(str::to_owned);
        } else if self.encoding.is_some() {
            self.encoding = Some("UTF-8".to_owned());
        }
        self.sheet = layout.sheet;
        if let Some(table) = layout.table {
            self.delimiter = table
                .delimiter
                .map(|delimiter| delimiter.as_str().to_owned());
            self.header = Some(table.header);
            self.code_column = Some(table.code_column);
            self.expires_at_column = table.expires_at_column;
            self.attribute_columns = table.attribute_columns;
        }
    }

    /// A list and a JSON document have neither columns nor a header, and JSON is UTF-8.
    fn check_for(&self, format: TextFormat) -> Result<(), Error> {
        let of_tables = [
            ("delimiter", self.delimiter.is_some()),
            ("header", self.header.is_some()),
            ("codeColumn", self.code_column.is_some()),
            ("expiresAtColumn", self.expires_at_column.is_some()),
            ("attributeColumns", self.attribute_columns.is_some()),
            ("sheet", self.sheet.is_some()),
            ("overrideExisting", self.override_existing.is_some()),
            (
                "updateOnlyEmptyFields",
                self.update_only_empty_fields.is_some(),
            ),
        ];
        let mut faults = Vec::new();
        if format != TextFormat::Csv {
            let present = of_tables.into_iter().filter(|(_, present)| *present);
            faults
                .extend(present.map(|(name, _)| Fault::new(name, "Only a table has this option.")));
        }
        if format == TextFormat::Json && self.encoding.is_some() {
            faults.push(Fault::new("encoding", "JSON is always UTF-8."));
        }
        if faults.is_empty() {
            self.table().map(|_| ())
        } else {
            Err(Error::Invalid(faults))
        }
    }
}

/// Faults of a file that show before it is stored.
fn refuse(error: ReadError<Error>) -> Error {
    match error {
        ReadError::Fault(
            fault @ (DeliveryFault::UnpackedTooLarge { .. }
            | DeliveryFault::WorkbookTooLarge { .. }),
        ) => Error::refused(&TOO_LARGE, format!("The file cannot be imported: {fault}.")),
        ReadError::Busy => {
            let detail = "Too many workbooks are being read. Nothing was stored; send the file again in a moment.";
            Error::refused(&OVERLOADED, detail)
        }
        ReadError::Fault(fault) => Error::refused(
            &UNREADABLE_FILE,
            format!("The file cannot be imported: {fault}."),
        ),
        ReadError::Syntax {
            line,
            column,
            message,
        } => Error::malformed(format!(
            "The body is not JSON: {message} at line {line} column {column}."
        )),
        ReadError::Fields(faults) => Error::Invalid(
            faults
                .into_iter()
                .map(|fault| Fault::new(fault.pointer, fault.detail))
                .collect(),
        ),
        ReadError::UnclosedQuote { line } => Error::refused(&UNREADABLE_FILE, unclosed_quote(line)),
        ReadError::Io(error) => Error::Internal(format!(
            "the temporary file of an upload cannot be read: {error}"
        )),
        ReadError::Sink(error) => error,
    }
}

fn unclosed_quote(line: u32) -> String {
    format!(
        "The quote that opens in line {line} is never closed. Nothing was imported; close it and send the file again."
    )
}
