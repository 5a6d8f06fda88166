//! The command `couponry import`: sends a file of codes to a running service, shows the progress, and prints the result.
//!
//! It uses the public API. Sending the same file again is safe, so the user can rerun an interrupted command.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::{Body, Client, RequestBuilder, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::config::Config;
use crate::outbound;

/// Interval at which the state of an import is requested.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Consecutive failed requests after which the command gives up.
const MAX_FAILED_POLLS: u32 = 60;

/// The file to import, and its destination.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The file to import; `-` is standard input.
    pub file: PathBuf,

    /// The id of the coupon set.
    #[arg(long)]
    pub set: Uuid,

    /// Address of the service.
    #[arg(long, env = "COUPONRY_URL", default_value = "http://127.0.0.1:8080")]
    pub url: Url,

    /// API key with the scopes imports:write and imports:read. Set it in the environment: other users on the machine can
    /// read the command line.
    #[arg(long, env = "COUPONRY_KEY", hide_env_values = true)]
    pub key: String,

    /// Only check the file, without storing anything.
    #[arg(long)]
    pub validate: bool,

    /// Import the file even if it was imported before.
    #[arg(long)]
    pub force: bool,

    /// The column with the codes: its name, or its number, counted from 1.
    #[arg(long)]
    pub code_column: Option<String>,

    /// The column with the expiry of the codes.
    #[arg(long)]
    pub expires_at_column: Option<String>,

    /// Columns to store with the codes, separated by commas.
    #[arg(long)]
    pub attribute_columns: Option<String>,

    /// The first row contains the names of the columns; detected by default.
    #[arg(long)]
    pub header: Option<bool>,

    /// The delimiter of the columns: `,`, `;`, `|` or `tab`; detected by default.
    #[arg(long)]
    pub delimiter: Option<String>,

    /// The encoding of the text, such as `windows-1252`; detected by default.
    #[arg(long)]
    pub encoding: Option<String>,

    /// The sheet of a workbook; defaults to the first.
    #[arg(long)]
    pub sheet: Option<String>,

    /// Save the report of rejected rows to this file.
    #[arg(long)]
    pub errors: Option<PathBuf>,

    /// Print the import as JSON, as the API returns it.
    #[arg(long)]
    pub json: bool,
}

/// Errors of the command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be read", .1.display())]
    Read(#[source] io::Error, PathBuf),
    #[error("{} cannot be written", .1.display())]
    Write(#[source] io::Error, PathBuf),
    #[error(
        "{0} is not a valid service address; expected a URL such as https://coupons.example.com"
    )]
    Address(Url),
    #[error("the API key contains invalid characters")]
    Key,
    #[error("the service is not reachable; it is safe to send the file again")]
    Unreachable(#[source] reqwest::Error),
    #[error("{0}")]
    Rejected(String),
    #[error("unexpected response; is {0} a Couponry server?")]
    UnexpectedResponse(Url),
    #[error("the import ended as {status}: {failure}")]
    NotFinished { status: String, failure: String },
    #[error("the terminal cannot be written to")]
    Terminal(#[source] io::Error),
}

/// An import as the API returns it, with the fields that the command uses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImportResponse {
    id: Uuid,
    status: String,
    total: u64,
    success: u64,
    errors: u64,
    duplicates: u64,
    #[serde(default)]
    errors_by_reason: std::collections::BTreeMap<String, u64>,
    failure: Option<String>,
    #[serde(default)]
    warnings: Vec<WarningResponse>,
    progress: ProgressResponse,
    /// The complete response.
    #[serde(skip)]
    document: Value,
}

#[derive(Debug, Deserialize)]
struct WarningResponse {
    detail: String,
    count: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct ProgressResponse {
    processed: u64,
}

impl ImportResponse {
    fn has_ended(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "inProgress")
    }
}

/// Imports the file and prints the result to standard output.
///
/// # Panics
///
/// Never: the settings of the client are constants.
pub async fn run(arguments: &Arguments, config: &Config) -> Result<(), Error> {
    let authorities = config.ca_file.clone().unwrap_or_default();
    let service = ServiceClient {
        client: outbound::builder(&authorities)
            .build()
            .expect("the settings are right"),
        arguments,
    };
    let (import, is_new) = service.upload().await?;
    let import = service.wait_for_end(import).await?;
    if let Some(path) = &arguments.errors
        && import.errors > 0
    {
        service.save_errors(&import, path).await?;
    }
    let report = if arguments.json {
        format!("{}\n", import.document)
    } else {
        summary(&import, is_new, arguments)
    };
    io::stdout()
        .write_all(report.as_bytes())
        .map_err(Error::Terminal)?;
    if import.status == "finished" {
        Ok(())
    } else {
        Err(Error::NotFinished {
            failure: import
                .failure
                .unwrap_or_else(|| "no reason given".to_owned()),
            status: import.status,
        })
    }
}

struct ServiceClient<'a> {
    client: Client,
    arguments: &'a Arguments,
}

impl ServiceClient<'_> {
    /// Uploads the file. Returns its import, and true if this upload created the import.
    async fn upload(&self) -> Result<(ImportResponse, bool), Error> {
        let path = &self.arguments.file;
        let unreadable = |error| Error::Read(error, path.clone());
        let (input, length): (Box<dyn AsyncRead + Send + Unpin>, _) = if path == Path::new("-") {
            (Box::new(tokio::io::stdin()), None)
        } else {
            let file = File::open(path).await.map_err(unreadable)?;
            let metadata = file.metadata().await.map_err(unreadable)?;
            (Box::new(file), metadata.is_file().then_some(metadata.len()))
        };
        let bar = bar(
            length,
            "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}",
        );
        bar.set_message("Uploading");
        let sent = bar.clone();
        let body = ReaderStream::with_capacity(input, 256 * 1024)
            .inspect_ok(move |block| sent.inc(block.len() as u64));
        let mut url = self.url(&[
            "v1",
            "coupon-sets",
            &self.arguments.set.to_string(),
            "imports",
        ])?;
        url.query_pairs_mut().extend_pairs(self.options());
        let mut request = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, content_type(path))
            .body(Body::wrap_stream(body));
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let (status, import) = self.fetch_import(request).await?;
        bar.finish_and_clear();
        Ok((import, status == StatusCode::CREATED))
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        let Arguments {
            code_column,
            expires_at_column,
            attribute_columns,
            delimiter,
            encoding,
            sheet,
            ..
        } = self.arguments;
        let options = [
            ("codeColumn", code_column.clone()),
            ("expiresAtColumn", expires_at_column.clone()),
            ("attributeColumns", attribute_columns.clone()),
            ("delimiter", delimiter.clone()),
            ("encoding", encoding.clone()),
            ("sheet", sheet.clone()),
            (
                "header",
                self.arguments.header.map(|header| header.to_string()),
            ),
            (
                "mode",
                self.arguments.validate.then(|| "validate".to_owned()),
            ),
            ("force", self.arguments.force.then(|| "true".to_owned())),
        ];
        options
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// Waits until the import has ended. Tolerates an outage of the service, because the import is resumed after it.
    async fn wait_for_end(&self, mut import: ImportResponse) -> Result<ImportResponse, Error> {
        let bar = bar(
            Some(import.total),
            "{msg} {wide_bar} {human_pos}/{human_len} rows {per_sec} {eta}",
        );
        bar.set_message("Importing");
        let url = self.url(&["v1", "imports", &import.id.to_string()])?;
        let mut failed_polls = 0;
        while !import.has_ended() {
            bar.set_position(import.progress.processed);
            tokio::time::sleep(POLL_INTERVAL).await;
            match self.fetch_import(self.client.get(url.clone())).await {
                Ok((_, current)) => {
                    import = current;
                    failed_polls = 0;
                }
                Err(Error::Unreachable(_)) if failed_polls < MAX_FAILED_POLLS => failed_polls += 1,
                Err(error) => return Err(error),
            }
        }
        bar.finish_and_clear();
        Ok(import)
    }

    async fn save_errors(&self, import: &ImportResponse, path: &Path) -> Result<(), Error> {
        let url = self.url(&["v1", "imports", &import.id.to_string(), "errors.csv"])?;
        let mut report = self.send_request(self.client.get(url)).await?;
        let unwritable = |error| Error::Write(error, path.to_owned());
        let mut file = File::create(path).await.map_err(unwritable)?;
        while let Some(block) = report.chunk().await.map_err(Error::Unreachable)? {
            file.write_all(&block).await.map_err(unwritable)?;
        }
        file.flush().await.map_err(unwritable)
    }

    async fn fetch_import(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, ImportResponse), Error> {
        let response = self.send_request(request).await?;
        let status = response.status();
        let body = response.bytes().await.map_err(Error::Unreachable)?;
        let unexpected = |_| Error::UnexpectedResponse(self.arguments.url.clone());
        let document: Value = serde_json::from_slice(&body).map_err(unexpected)?;
        let mut import = ImportResponse::deserialize(&document).map_err(unexpected)?;
        import.document = document;
        Ok((status, import))
    }

    /// Sends a request with the API key. Returns the response if its status is a success, else the problem as an error.
    async fn send_request(&self, request: RequestBuilder) -> Result<reqwest::Response, Error> {
        let mut key = header::HeaderValue::from_str(&format!("Bearer {}", self.arguments.key))
            .map_err(|_| Error::Key)?;
        key.set_sensitive(true);
        let response = request
            .header(header::AUTHORIZATION, key)
            .send()
            .await
            .map_err(Error::Unreachable)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(Error::Unreachable)?;
        let problem = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        Err(problem_text(&problem).map_or_else(
            || Error::UnexpectedResponse(self.arguments.url.clone()),
            Error::Rejected,
        ))
    }

    fn url(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.arguments.url.clone();
        url.path_segments_mut()
            .map_err(|()| Error::Address(self.arguments.url.clone()))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }
}

/// Formats a problem: its detail, each invalid field, and the request id.
fn problem_text(problem: &Value) -> Option<String> {
    let mut text = problem["detail"]
        .as_str()
        .or_else(|| problem["title"].as_str())?
        .to_owned();
    for fault in problem["errors"].as_array().into_iter().flatten() {
        let (pointer, detail) = (fault["pointer"].as_str()?, fault["detail"].as_str()?);
        write!(text, "\n  {pointer}: {detail}").ok()?;
    }
    if let Some(request) = problem["requestId"].as_str() {
        write!(text, "\n  (request {request})").ok()?;
    }
    Some(text)
}

/// The content type by the file name; the service detects the formats that the name does not determine.
fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("txt") => "text/plain",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

/// Creates a progress bar on standard error; it is hidden if standard error is not a terminal.
fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(length, target);
    bar.set_style(ProgressStyle::with_template(template).expect("the templates are right"));
    bar
}

/// Formats the result of an import.
fn summary(import: &ImportResponse, is_new: bool, arguments: &Arguments) -> String {
    let ImportResponse {
        id,
        status,
        total,
        success,
        errors,
        duplicates,
        ..
    } = import;
    let mut text = String::new();
    if !is_new {
        text.push_str(
            "This file was already imported; use --force to import it again. The earlier import:\n",
        );
    }
    let done = if arguments.validate {
        "can be imported"
    } else {
        "imported"
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "Import {id} is {status}: {total} rows, {success} {done}, {errors} rejected ({duplicates} duplicates)."
    );
    for (reason, count) in &import.errors_by_reason {
        let _ = writeln!(text, "  {count:>10} {reason}");
    }
    for WarningResponse { detail, count } in &import.warnings {
        let _ = match count {
            Some(count) => writeln!(text, "Warning ({count} rows): {detail}"),
            None => writeln!(text, "Warning: {detail}"),
        };
    }
    if *errors > 0 {
        match &arguments.errors {
            Some(path) => {
                let _ = writeln!(text, "The rejected rows were saved to {}.", path.display());
            }
            None => text.push_str("Use --errors FILE to save the rejected rows.\n"),
        }
    }
    text
}
