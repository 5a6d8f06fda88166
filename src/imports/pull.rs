//! Fetching a file from a URL that the caller names.
//!
//! The operator configures the allowed hosts. The target of a redirect is checked like the first URL. The file is received
//! into a temporary file, like an upload, before it is read.

use std::fs::File;
use std::io::{Read, Seek};
use std::sync::Arc;
use std::time::Duration;

use delivery_reader::{ContentTypeHint, TextFormat};
use futures_util::StreamExt;
use reqwest::{Response, StatusCode, Url, header};
use serde::Deserialize;
use tokio::time::timeout;

use super::upload;
use crate::config::Config;
use crate::http::error::{Error, FETCH_FAILED, TOO_LARGE};
use crate::outbound::{Hosts, Outbound, UrlRules};
use crate::telemetry::Chain;

/// Most redirects that are followed.
const MAX_REDIRECTS: u32 = 5;

const URL_RULES: UrlRules = UrlRules {
    http_allowed: false,
    verbatim: false,
    example: "https://files.example.com/codes.csv",
};

/// Most bytes of a body that names a file.
const MAX_BODY_BYTES: u64 = 16 * 1024;

/// A request body that names a file instead of containing it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileReference {
    url: String,
}

impl FileReference {
    /// Parses a body that names a file. Returns `None` for any other body, and rewinds the file in both cases.
    pub(super) fn read(body: &mut File) -> Result<Option<Self>, Error> {
        let mut text = Vec::new();
        let unreadable = |error| {
            Error::Internal(format!(
                "the temporary file of an upload cannot be read: {error}"
            ))
        };
        body.take(MAX_BODY_BYTES)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        body.rewind().map_err(unreadable)?;
        // Serde would also accept an array of one string.
        let is_object = text.trim_ascii_start().starts_with(b"{");
        Ok(serde_json::from_slice(&text).ok().filter(|_| is_object))
    }
}

/// Fetches files. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Fetcher(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    outbound: Outbound,
    hosts: Hosts,
    time_limit: Duration,
    max_bytes: u64,
}

impl Fetcher {
    pub(super) fn new(config: &Config) -> Self {
        let authorities = config.ca_file.clone().unwrap_or_default();
        Self(Arc::new(Settings {
            outbound: Outbound::new(&authorities, config.pull_private, false),
            hosts: config.pull_hosts.clone(),
            time_limit: Duration::from_secs(config.pull_seconds.into()),
            max_bytes: config.import_max_bytes,
        }))
    }

    /// Fetches a file, in constant memory.
    pub(super) async fn fetch(
        &self,
        reference: &FileReference,
    ) -> Result<(File, ContentTypeHint), Error> {
        let limit = self.0.time_limit;
        timeout(limit, self.receive(&reference.url))
            .await
            .map_err(|_| {
                failed(format!(
                    "The transfer took longer than {} seconds.",
                    limit.as_secs()
                ))
            })?
    }

    async fn receive(&self, url: &str) -> Result<(File, ContentTypeHint), Error> {
        let response = self.request(url).await?;
        if response.content_length() > Some(self.0.max_bytes) {
            return Err(Error::refused(
                &TOO_LARGE,
                format!("A file can have at most {} bytes.", self.0.max_bytes),
            ));
        }
        let hint = content_type_hint(&response);
        let frames = response.bytes_stream().map(|frame| {
            frame.map_err(|error| {
                failed(format!(
                    "The transfer was interrupted: {}.",
                    Chain(&error.without_url())
                ))
            })
        });
        let file = upload::receive_stream(frames, self.0.max_bytes).await?;
        Ok((file, hint))
    }

    /// Requests the file, and follows redirects.
    async fn request(&self, url: &str) -> Result<Response, Error> {
        let mut url = self.check(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let client =
                self.0.outbound.client(&url).map_err(|error| {
                    invalid_url(format!("The file cannot be fetched: {error}."))
                })?;
            let response = timeout(upload::STALL_TIMEOUT, client.get(url.clone()).send())
                .await
                .map_err(|_| failed("The server does not respond."))?
                .map_err(|error| failed(format!("{}.", Chain(&error.without_url()))))?;
            match response.status() {
                StatusCode::OK => return Ok(response),
                status if status.is_redirection() => {
                    let target = response
                        .headers()
                        .get(header::LOCATION)
                        .and_then(|location| location.to_str().ok())
                        .and_then(|location| url.join(location).ok())
                        .ok_or_else(|| {
                            failed("The server sent a redirect without a valid location.")
                        })?;
                    url = self.check(target.as_str())?;
                }
                status => {
                    return Err(failed(format!("The server responded with {status}.")));
                }
            }
        }
        Err(failed(format!(
            "The server redirected more than {MAX_REDIRECTS} times."
        )))
    }

    /// Checks the text and the host of a URL. The resolver checks the address later.
    fn check(&self, url: &str) -> Result<Url, Error> {
        let url = URL_RULES.check(url).map_err(invalid_url)?;
        let host = url.host_str().unwrap_or_default();
        let hosts = &self.0.hosts;
        if !hosts.allow(host) {
            let detail = if hosts.is_empty() {
                "Fetching files is disabled. The operator can allow hosts with COUPONRY_PULL_HOSTS."
                    .to_owned()
            } else {
                format!("The operator does not allow fetching from the host {host:?}.")
            };
            return Err(invalid_url(detail));
        }
        Ok(url)
    }
}

/// Determines the format by the content type, else by the file name. The reader detects workbooks and packing.
fn content_type_hint(response: &Response) -> ContentTypeHint {
    let content_type = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let format = if content_type.starts_with("application/json") {
        TextFormat::Json
    } else if content_type.starts_with("text/plain") && !has_extension(response.url(), "csv") {
        TextFormat::List
    } else {
        TextFormat::Csv
    };
    ContentTypeHint {
        format,
        gzip: false,
    }
}

fn has_extension(url: &Url, extension: &str) -> bool {
    let path = std::path::Path::new(url.path());
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn invalid_url(detail: impl Into<String>) -> Error {
    Error::invalid("/url", detail)
}

/// The error of a failed transfer. It does not contain the URL, which may hold a secret.
fn failed(what: impl std::fmt::Display) -> Error {
    Error::refused(
        &FETCH_FAILED,
        format!("The file cannot be fetched. {what} Nothing was stored."),
    )
}
