//! Imports: deliveries of codes into `multiple` sets, as CSV, workbook, pasted list or JSON.
//!
//! An upload is received into a temporary file, so a slow client holds no database connection. Then the file is read, and
//! its rows are stored in chunks in the transaction that creates the import. The 201 response follows the commit. A worker
//! applies the chunks and publishes all cards at once. Cards are assigned soonest expiry first, so rows in another order
//! are sorted before they are applied.

mod admission;
mod apply;
mod code_names;
mod db;
mod fingerprint;
mod form;
mod http;
mod jobs;
mod lifecycle;
mod limits;
mod preview;
mod progress;
mod pull;
mod report;
mod retention;
mod spool;
mod undo;
mod upload;
mod worker;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use delivery_reader::{
    DeliveryFault, DeliveryLayout, ReadError, TableOptions, TextFormat, Warning, encoding_named,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::background::Tasks;
use crate::config::Config;
use crate::database::Database;
use crate::dirty_sets::DirtySets;
use crate::http::error::{Error, Fault, OVERLOADED, TOO_LARGE, UNREADABLE_FILE};
use crate::http::extract::check_text;
use crate::http::routes::Routes;
use crate::http::state::feature_state;
use crate::load::LoadSignal;
use crate::tenants::auth::{Auth, Origin};
use crate::text_enum::text_enum;
use code_names::CODE_NAMES;
use limits::UploadLimits;
use progress::ImportProgress;
use pull::Fetcher;
use upload::{ReceivedUploads, StoringSlots};

feature_state! {
    /// State of the routes and workers of imports.
    Imports {
        auth: Auth,
        database: Database,
        dirty_sets: DirtySets,
        load: LoadSignal,
        received: ReceivedUploads,
        storing_slots: StoringSlots,
        limits: UploadLimits,
        fetcher: Fetcher,
        queued: Arc<Notify>,
        retention_days: u16,
    }
}

impl Imports {
    pub(crate) fn new(
        auth: &Auth,
        database: &Database,
        dirty_sets: &DirtySets,
        load: &LoadSignal,
        config: &Config,
    ) -> Self {
        Self(Arc::new(Parts {
            auth: auth.clone(),
            database: database.clone(),
            dirty_sets: dirty_sets.clone(),
            load: load.clone(),
            received: ReceivedUploads::default(),
            storing_slots: StoringSlots::default(),
            limits: UploadLimits::new(config),
            fetcher: Fetcher::new(config),
            queued: Arc::default(),
            retention_days: config.retention_import_reports_days,
        }))
    }
}

pub(crate) fn routes(state: Imports) -> Routes {
    http::routes().with_state(state)
}

pub(crate) fn spawn(state: &Imports, tasks: &Tasks) {
    worker::spawn(state, tasks);
    if state.retention_days > 0 {
        let days = i32::from(state.retention_days);
        tasks.spawn(retention::work(state.database.clone(), days, tasks.clone()));
    }
}

/// One delivery of codes, as the API returns it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Import {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub coupon_set_id: Uuid,
    pub coupon_set_name: String,
    pub status: ImportStatus,
    pub origin: Origin,
    /// The API key that created the import; `None` for imports from before this was recorded.
    pub api_key_id: Option<Uuid>,
    pub api_key_name: Option<String>,
    pub mode: Mode,
    /// Rows of the file that are not blank. Once the import has ended, this is `success` + `errors`.
    pub total: i32,
    pub success: i32,
    pub errors: i32,
    /// Errors that are duplicates.
    pub duplicates: i32,
    /// Number of errors by reason.
    pub errors_by_reason: serde_json::Value,
    pub error_report_file_url: Option<String>,
    /// Reason why the job itself failed or was cancelled.
    pub failure: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub undone_at: Option<DateTime<Utc>>,
    /// Number of codes that its undo withdrew.
    pub withdrawn: Option<i32>,
    pub options: serde_json::Value,
    /// Reasons why the codes may not be those that the sender meant.
    pub warnings: serde_json::Value,
    pub progress: ImportProgress,
}

/// Options of an import. They are stored with it, completed by the detected layout.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImportOptions {
    delimiter: Option<String>,
    header: Option<bool>,
    code_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute_columns: Option<String>,
    /// Absent if the caller did not name an encoding and the text is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sheet: Option<String>,
    /// Accepted and returned for compatibility with existing scripts. It has no effect: codes are never overwritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    override_existing: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_only_empty_fields: Option<bool>,
    /// Not part of the stored options: the import has a field for it.
    #[serde(skip_serializing)]
    mode: Option<Mode>,
    /// Imports the file even if it was imported before.
    #[serde(skip_serializing)]
    force: Option<bool>,
}

text_enum! {
    /// State of an import.
    pub(crate) enum ImportStatus {
        Queued = "queued",
        InProgress = "inProgress",
        Finished = "finished",
        Error = "error",
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// Purpose of an import: to import the codes, or only to validate them.
    #[derive(Default)]
    pub(crate) enum Mode {
        #[default]
        Import = "import",
        Validate = "validate",
    }
}

impl ImportOptions {
    fn table(&self) -> Result<TableOptions, Error> {
        let mut faults = Vec::new();
        let delimiter = self.delimiter.as_deref().and_then(|text| text.parse().ok());
        if delimiter.is_none() && self.delimiter.is_some() {
            faults.push(Fault::new(
                "delimiter",
                "This must be one of `,`, `;`, `|` and tab.",
            ));
        }
        let encoding = self.encoding.as_deref().and_then(encoding_named);
        if encoding.is_none() && self.encoding.is_some() {
            faults.push(Fault::new(
                "encoding",
                "This must be the name of an encoding, such as \"UTF-8\", \"UTF-16LE\" or \"windows-1252\".",
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

    /// Fills in the detected layout, so that the import reports how its file was read. Returns the warnings.
    fn fill_in(&mut self, layout: DeliveryLayout) -> Vec<Warning> {
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
        layout.warnings
    }

    /// Validates the options for a format: a list and a JSON document have no columns and no header, and JSON is UTF-8.
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
            faults.extend(
                present
                    .map(|(name, _)| Fault::new(name, "This option is only allowed for a table.")),
            );
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

/// Converts an error of reading a file into the error of the request.
fn read_error(error: ReadError<Error>) -> Error {
    match error {
        ReadError::Fault(
            fault @ (DeliveryFault::UnpackedTooLarge { .. }
            | DeliveryFault::WorkbookTooLarge { .. }),
        ) => Error::refused(&TOO_LARGE, format!("The file cannot be imported: {fault}.")),
        ReadError::Busy => {
            let detail = "Too many workbooks are being read. Nothing was stored. Send the file again in a moment.";
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
        ReadError::Io(error) => upload::file_error(&error),
        ReadError::Sink(error) => error,
    }
}

fn unclosed_quote(line: u32) -> String {
    format!(
        "The quote opened in line {line} is never closed. Nothing was imported. Close the quote and send the file again."
    )
}
