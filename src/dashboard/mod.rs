//! The files of the web dashboard: its page at `/dashboard/`, and the other files at `/dashboard/assets/`.
//!
//! Vite builds the sources in `dashboard/src` into `dashboard/dist`, which is committed and compiled into the binary. The
//! names of the assets contain a hash of their content, so browsers can cache them as immutable. Nothing is loaded from
//! other sites. All URLs are relative, so that they also work behind a proxy under a sub-path.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::RustEmbed;

use crate::http::error::{Error, UNKNOWN_PATH};
use crate::http::extract::Path;
use crate::http::routes::Routes;

/// The built dashboard. A debug build reads the files from the disk each time, since they may change.
#[derive(RustEmbed)]
#[folder = "dashboard/dist/"]
struct Files;

/// File name of the page.
const PAGE: &str = "index.html";
/// The licences of the libraries in the bundle.
const LICENCES: &str = "licences.txt";
/// The first script of the page: how its path starts and ends.
const FIRST_SCRIPT: (&str, &str) = ("assets/start-", ".js");
/// The page loads only files of its own, and none of its scripts and styles is inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// `Cache-Control` of files that can change under the same URL.
const REVALIDATE: &str = "no-cache";
/// `Cache-Control` of files whose URL contains a hash of their content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Content codings in the order of preference, with the extension of the files that were compressed at the build.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Returns the routes, which need no authentication and no state.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .get("/", redirect_to_page)
        .get("/dashboard", redirect_to_page)
        .get("/dashboard/", page)
        .get("/dashboard/licences.txt", licences)
        .get("/dashboard/assets/{file}", asset)
}

async fn redirect_to_page() -> Redirect {
    Redirect::to("dashboard/")
}

async fn page(request: HeaderMap) -> Result<Response, Error> {
    let page = Files::get(PAGE).ok_or_else(no_file)?;
    // Weak, because the compressed page has the same tag. 9 bytes of the hash suffice to distinguish versions.
    let hash = URL_SAFE_NO_PAD.encode(&page.metadata.sha256_hash()[..9]);
    let etag = format!("W/\"{hash}\"");
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (ETAG, &etag),
        (CACHE_CONTROL, REVALIDATE),
        (REFERRER_POLICY, "no-referrer"),
    ];
    if list_items(&request, &IF_NONE_MATCH).any(|tag| tag == etag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    Ok((headers, file(PAGE, &request).ok_or_else(no_file)?).into_response())
}

async fn licences(request: HeaderMap) -> Result<Response, Error> {
    let file = file(LICENCES, &request).ok_or_else(no_file)?;
    Ok(([(CACHE_CONTROL, REVALIDATE)], file).into_response())
}

/// During a rolling upgrade a page may request the files of its version from a replica of another. The first script
/// exists in every version and handles the absence of the others, so each replica responds with its own.
async fn asset(Path(name): Path<String>, request: HeaderMap) -> Result<Response, Error> {
    let path = format!("assets/{name}");
    if let Some(file) = file(&path, &request) {
        return Ok(([(CACHE_CONTROL, IMMUTABLE)], file).into_response());
    }
    let (start, end) = FIRST_SCRIPT;
    let is_script = |path: &str| {
        let name = path.strip_prefix(start);
        name.is_some_and(|name| name.strip_suffix(end).is_some())
    };
    let own = is_script(&path).then(|| Files::iter().find(|path| is_script(path)));
    let file = own.flatten().and_then(|path| file(&path, &request));
    let file = file.ok_or_else(no_file)?;
    Ok(([(CACHE_CONTROL, REVALIDATE)], file).into_response())
}

fn no_file() -> Error {
    let detail = "The dashboard has no such file. Reload its page.";
    Error::refused(&UNKNOWN_PATH, detail)
}

/// Responds with a file, compressed if the client accepts it. Returns `None` if there is no such file.
fn file(path: &str, request: &HeaderMap) -> Option<impl IntoResponse + use<>> {
    let content_type = content_type(path)?;
    let compressed = CODINGS
        .into_iter()
        .filter(|(coding, _)| accepts(request, coding))
        .find_map(|(coding, extension)| {
            Some((Some(coding), content(&format!("{path}{extension}"))?))
        });
    let (coding, content) = match compressed {
        Some(compressed) => compressed,
        None => (None, content(path)?),
    };
    Some((
        [
            (CONTENT_TYPE, content_type),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (VARY, "accept-encoding"),
        ],
        coding.map(|coding| [(CONTENT_ENCODING, coding)]),
        content,
    ))
}

fn content(path: &str) -> Option<Bytes> {
    Some(match Files::get(path)?.data {
        Cow::Borrowed(content) => Bytes::from_static(content),
        Cow::Owned(content) => Bytes::from(content),
    })
}

/// Returns true if `Accept-Encoding` names a content coding with a weight above 0.
fn accepts(request: &HeaderMap, coding: &str) -> bool {
    list_items(request, &ACCEPT_ENCODING).any(|range| {
        let (name, weight) = range.split_once(';').unwrap_or((range, ""));
        let weight = weight.trim().strip_prefix("q=");
        name.trim_end().eq_ignore_ascii_case(coding)
            && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

/// Returns the items of a header whose value is a list.
fn list_items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Returns the content type of a file of the dashboard; `None` for other files, such as those that are compressed.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_for_those_who_take_it() {
        for (accept_encoding, accepted) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate,gzip ; q=1", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("x-gzip-not", false),
        ] {
            let headers = [(ACCEPT_ENCODING, accept_encoding.parse().expect("a header"))];
            assert_eq!(
                accepts(&headers.into_iter().collect(), "gzip"),
                accepted,
                "{accept_encoding}"
            );
        }
    }
}
