//! Fetching a file that a caller names by its URL.
//!
//! The operator says which hosts it may come from. A redirect is a URL like the first and is checked like it. The file is
//! received as an upload is, and only then read.

use std::fs::File;
use std::io::{Read, Seek};
use std::time::Duration;

use delivery_reader::{ContentTypeHint, TextFormat};
use futures_util::StreamExt;
use reqwest::{Response, StatusCode, Url, header};
use serde::Deserialize;
use tokio::time::timeout;

use super::upload;
use crate::app::App;
use crate::error::{Chain, Error, FETCH_FAILED, TOO_LARGE};

/// Redirects that are followed.
const MAX_REDIRECTS: u32 = 5;
/// The longest URL that is taken, in characters.
const MAX_URL: usize = 2_000;

/// The longest body that names a file, in bytes.
const MAX_BODY: u64 = 16 * 1024;

/// The body that names a file instead of holding one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    url: String,
}

impl Source {
    /// Reads the body that names a file; `None` if it is another one, which is left as it was.
    pub(super) fn read(body: &mut File) -> Result<Option<Self>, Error> {
        let mut text = Vec::new();
        let unreadable = |error| {
            Error::Internal(format!(
                "the temporary file of an upload cannot be read: {error}"
            ))
        };
        body.take(MAX_BODY)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        body.rewind().map_err(unreadable)?;
        // An array of one text would pass for it too.
        let is_object = text.trim_ascii_start().starts_with(b"{");
        Ok(serde_json::from_slice(&text).ok().filter(|_| is_object))
    }
}

/// The hosts that files may be fetched from.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<Host>);

impl std::str::FromStr for Hosts {
    type Err = NotHost;

    /// Reads them from a list with commas.
    fn from_str(text: &str) -> Result<Self, NotHost> {
        let hosts = text
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty());
        hosts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    /// In lower case, as the URL has it.
    name: String,
    /// All names that end like this are meant.
    below: bool,
}

/// What is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host is a name as in files.example.com, *.example.com for all names below it, or * for all hosts"
)]
pub struct NotHost;

impl std::str::FromStr for Host {
    type Err = NotHost;

    fn from_str(text: &str) -> Result<Self, NotHost> {
        if text == "*" {
            return Ok(Self {
                name: String::new(),
                below: true,
            });
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (format!(".{name}"), true),
            None => (text.to_owned(), false),
        };
        // Whatever a URL would not have as its host is a mistake here.
        let host = name.trim_start_matches('.');
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| NotHost)?;
        if host.contains('*') || url.host_str() != Some(host.to_lowercase().as_str()) {
            return Err(NotHost);
        }
        Ok(Self {
            name: name.to_lowercase(),
            below,
        })
    }
}

impl Host {
    fn matches(&self, host: &str) -> bool {
        if self.below {
            host.ends_with(&self.name)
        } else {
            host == self.name
        }
    }
}

/// Fetches a file, in constant memory.
pub(super) async fn fetch(app: &App, source: &Source) -> Result<(File, ContentTypeHint), Error> {
    let limit = Duration::from_secs(app.config.pull_seconds.into());
    timeout(limit, receive(app, &source.url))
        .await
        .map_err(|_| failed(format!("It took longer than {} seconds.", limit.as_secs())))?
}

async fn receive(app: &App, url: &str) -> Result<(File, ContentTypeHint), Error> {
    let response = request(app, url).await?;
    if response.content_length() > Some(app.config.import_max_bytes) {
        return Err(Error::refused(
            &TOO_LARGE,
            format!(
                "A file may have at most {} bytes.",
                app.config.import_max_bytes
            ),
        ));
    }
    let hint = content_type_hint(&response);
    let frames = response.bytes_stream().map(|frame| {
        frame.map_err(|error| failed(format!("It broke off: {}.", Chain(&error.without_url()))))
    });
    let file = upload::receive_stream(frames, app.config.import_max_bytes).await?;
    Ok((file, hint))
}

/// What a file is by the word of its server, else by its name. What is not a list or JSON is looked into.
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

/// Asks for the file, and follows where its server points.
async fn request(app: &App, url: &str) -> Result<Response, Error> {
    let mut url = check(app, url)?;
    for _ in 0..=MAX_REDIRECTS {
        let client = app
            .outbound
            .client(&url)
            .map_err(|error| refused(format!("The file cannot be fetched: {error}.")))?;
        let response = timeout(upload::PATIENCE, client.get(url.clone()).send())
            .await
            .map_err(|_| failed("Its server does not answer."))?
            .map_err(|error| failed(format!("{}.", Chain(&error.without_url()))))?;
        match response.status() {
            StatusCode::OK => return Ok(response),
            status if status.is_redirection() => {
                let target = response
                    .headers()
                    .get(header::LOCATION)
                    .and_then(|location| location.to_str().ok())
                    .and_then(|location| url.join(location).ok())
                    .ok_or_else(|| failed("Its server redirects to nowhere."))?;
                url = check(app, target.as_str())?;
            }
            status => {
                return Err(failed(format!("Its server answers {status}.")));
            }
        }
    }
    Err(failed(format!(
        "Its server redirects more than {MAX_REDIRECTS} times."
    )))
}

/// Whether a URL may be fetched, as far as it can be told by its looks.
fn check(app: &App, url: &str) -> Result<Url, Error> {
    if url.len() > MAX_URL {
        return Err(refused(format!(
            "A URL may have at most {MAX_URL} characters."
        )));
    }
    let url = Url::parse(url).map_err(|_| {
        refused("This is not a URL, as https://files.example.com/codes.csv is one.")
    })?;
    if url.scheme() != "https" {
        return Err(refused("Only https is fetched."));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("A URL with a user or a password is not fetched."));
    }
    let host = url.host_str().unwrap_or_default();
    let Hosts(hosts) = &app.config.pull_hosts;
    if !hosts.iter().any(|allowed| allowed.matches(host)) {
        let detail = if hosts.is_empty() {
            "This service fetches no files. Its operator can allow hosts by COUPONRY_PULL_HOSTS."
                .to_owned()
        } else {
            format!("The operator of this service does not allow to fetch from the host {host:?}.")
        };
        return Err(refused(detail));
    }
    Ok(url)
}

fn has_extension(url: &Url, extension: &str) -> bool {
    let path = std::path::Path::new(url.path());
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn refused(detail: impl Into<String>) -> Error {
    Error::invalid("/url", detail)
}

/// What happens on the way to the file. The URL is not in it: it may hold a secret.
fn failed(what: impl std::fmt::Display) -> Error {
    Error::refused(
        &FETCH_FAILED,
        format!("The file cannot be fetched. {what} Nothing was stored."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_whole_or_from_their_end() {
        let matches = |allowed: &str, host: &str| allowed.parse::<Host>().unwrap().matches(host);
        assert!(matches("files.example.com", "files.example.com"));
        assert!(matches("Files.Example.com", "files.example.com"));
        assert!(!matches("files.example.com", "www.files.example.com"));
        assert!(!matches("files.example.com", "files.example.com.evil.net"));
        assert!(matches("*.example.com", "files.example.com"));
        assert!(matches("*.example.com", "a.b.example.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", "notexample.com"));
        assert!(matches("*", "whatever.net"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "https://example.com",
            "example.com/files",
            "example.com:444",
            "*.",
            "a b",
            "*example.com",
        ] {
            assert_eq!(text.parse::<Host>(), Err(NotHost), "{text}");
        }
    }
}
