//! The files of the web dashboard: its page at `/dashboard/`, and the other files at `/dashboard/<version>/`.
//!
//! The files of `dashboard/` and `vendor/` are compiled into the binary unchanged. The version is a hash of all of them,
//! so browsers can cache each file as immutable, and a new binary has new URLs. Nothing is loaded from other sites. All
//! URLs are relative, so that they also work behind a proxy under a sub-path.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::{Arc, LazyLock, OnceLock};

use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use crate::http::error::{Error, UNKNOWN_PATH};
use crate::http::extract::Path;
use crate::http::routes::Routes;

#[derive(RustEmbed)]
#[folder = "dashboard/"]
struct OwnFiles;

/// Third-party files, except those that only the reference page at `/docs` uses.
#[derive(RustEmbed)]
#[folder = "vendor/"]
#[prefix = "vendor/"]
#[exclude = "swagger-ui/*"]
#[exclude = "README.md"]
struct VendoredFiles;

/// File name of the page.
const PAGE: &str = "index.html";
/// Placeholder for the version in the page.
const VERSION_PLACEHOLDER: &str = "%VERSION%";
/// Start tag of the import map, the only inline script of the page.
const IMPORT_MAP: &str = "<script type=\"importmap\">";

/// Returns the routes, which need no authentication and no state.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .get("/", redirect_to_page)
        .get("/dashboard", redirect_to_page)
        .get("/dashboard/", page)
        .get("/dashboard/{version}/{*file}", file)
}

async fn redirect_to_page() -> Redirect {
    Redirect::to("dashboard/")
}

async fn page(request: HeaderMap) -> Response {
    let page = &Dashboard::current().page;
    let headers = [
        (CONTENT_SECURITY_POLICY, page.policy.clone()),
        (ETAG, page.etag.clone()),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    let is_cached = list_items(&request, &IF_NONE_MATCH).any(|tag| tag == page.etag);
    if is_cached {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, page.file.respond(&request)).into_response()
}

async fn file(
    Path((version, path)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Response, Error> {
    let dashboard = Dashboard::current();
    let joined;
    let file = if let Some(file) = dashboard.files.get(&path) {
        file
    } else {
        // The page of another version may combine other style sheets.
        let sheet = join_sheets(&path, |path| Some(&dashboard.files.get(path)?.content));
        let sheet = sheet.ok_or_else(|| {
            let detail = "The dashboard has no such file. Reload its page.";
            Error::refused(&UNKNOWN_PATH, detail)
        })?;
        joined = StaticFile::new(content_type(&path), sheet);
        &joined
    };
    // During a rolling upgrade a page may request files of one version from a replica of another. It responds with its
    // own files, which work as well, but must not be cached under the other version.
    let cache = if version == dashboard.version && dashboard.files.contains_key(&path) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    Ok(([(CACHE_CONTROL, cache)], file.respond(&request)).into_response())
}

/// The page and all other files, of one version.
struct Dashboard {
    version: String,
    page: HtmlPage,
    /// All files except the page, by path.
    files: BTreeMap<String, StaticFile>,
}

struct HtmlPage {
    file: StaticFile,
    etag: String,
    policy: String,
}

impl Dashboard {
    /// Returns the embedded files. A debug build reads them from the disk each time, since they may change.
    fn current() -> Arc<Self> {
        static EMBEDDED: LazyLock<Arc<Dashboard>> = LazyLock::new(|| Arc::new(Dashboard::read()));
        if cfg!(debug_assertions) {
            Arc::new(Self::read())
        } else {
            Arc::clone(&EMBEDDED)
        }
    }

    fn read() -> Self {
        let mut files = contents::<OwnFiles>();
        files.append(&mut contents::<VendoredFiles>());
        let mut hash = Sha256::new();
        for (path, content) in &files {
            hash.update(format!("{path} {}\n", content.len()));
            hash.update(content);
        }
        let version = short(hash);
        let page = files.remove(PAGE).unwrap_or_default();
        let html = String::from_utf8_lossy(&page);
        for path in html
            .split('"')
            .filter_map(|part| part.strip_prefix(VERSION_PLACEHOLDER))
        {
            let path = path.trim_start_matches('/');
            if let Some(sheet) = join_sheets(path, |path| files.get(path)) {
                files.insert(path.to_owned(), sheet);
            }
        }
        let page = HtmlPage::new(&html.replace(VERSION_PLACEHOLDER, &version));
        let files = files.into_iter().map(|(path, content)| {
            let file = StaticFile::new(content_type(&path), content);
            (path, file)
        });
        Self {
            version,
            page,
            files: files.collect(),
        }
    }
}

fn contents<Folder: RustEmbed>() -> BTreeMap<String, Bytes> {
    let read = |path: Cow<'static, str>| {
        let content = match Folder::get(&path)?.data {
            Cow::Borrowed(content) => Bytes::from_static(content),
            Cow::Owned(content) => Bytes::from(content),
        };
        Some((path.into_owned(), content))
    };
    Folder::iter().filter_map(read).collect()
}

/// Concatenates style sheets: `style/base+table.css` is both sheets in this order. A separate request for each sheet
/// would cost a browser more than its content. Returns `None` if a sheet does not exist or is named twice.
fn join_sheets<'a>(path: &str, find: impl Fn(&str) -> Option<&'a Bytes>) -> Option<Bytes> {
    let (folder, names) = path.strip_suffix(".css")?.rsplit_once('/')?;
    let names: Vec<&str> = names.split('+').collect();
    if names.iter().collect::<HashSet<_>>().len() < names.len() {
        return None;
    }
    let sheets = names
        .iter()
        .map(|name| find(&format!("{folder}/{name}.css")).map(AsRef::as_ref))
        .collect::<Option<Vec<&[u8]>>>()?;
    Some(sheets.concat().into())
}

/// Returns the first 9 bytes of a hash in base64, which suffice to distinguish versions.
fn short(hash: Sha256) -> String {
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..9])
}

impl HtmlPage {
    fn new(html: &str) -> Self {
        let policy = policy(html);
        let hash = Sha256::new().chain_update(html).chain_update(&policy);
        Self {
            file: StaticFile::new("text/html; charset=utf-8", html.to_owned().into()),
            // Weak, because the compressed page has the same tag.
            etag: format!("W/\"{}\"", short(hash)),
            policy,
        }
    }
}

/// Builds the content security policy of the page, which allows its own files and its import map. An import map cannot be
/// a separate file.
fn policy(html: &str) -> String {
    let import_map = html
        .split_once(IMPORT_MAP)
        .and_then(|(_, rest)| rest.split_once("</script>"))
        .map(|(text, _)| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(text))))
        .unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'{import_map}; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

struct StaticFile {
    content_type: &'static str,
    content: Bytes,
    /// The content as gzip, compressed at the first request; `None` if that is not shorter.
    gzipped: OnceLock<Option<Bytes>>,
}

impl StaticFile {
    fn new(content_type: &'static str, content: Bytes) -> Self {
        Self {
            content_type,
            content,
            gzipped: OnceLock::new(),
        }
    }

    fn respond(&self, request: &HeaderMap) -> impl IntoResponse + use<> {
        let gzipped =
            accepts_gzip(request).then(|| self.gzipped.get_or_init(|| gzip(&self.content)));
        let gzipped = gzipped.and_then(Option::as_ref);
        (
            [
                (CONTENT_TYPE, self.content_type),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (VARY, "accept-encoding"),
            ],
            gzipped.map(|_| [(CONTENT_ENCODING, "gzip")]),
            gzipped.unwrap_or(&self.content).clone(),
        )
    }
}

/// Compresses content; `None` if the result is not shorter.
fn gzip(content: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    let gzipped = encoder.finish().ok()?;
    (gzipped.len() < content.len()).then(|| gzipped.into())
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    list_items(request, &ACCEPT_ENCODING).any(|range| {
        let (coding, weight) = range.split_once(';').unwrap_or((range, ""));
        let weight = weight.trim().strip_prefix("q=");
        coding.trim_end().eq_ignore_ascii_case("gzip")
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

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_vendored_files_are_those_that_the_list_names() {
        let list = include_str!("../../vendor/README.md");
        for (path, content) in contents::<VendoredFiles>() {
            let hash = Sha256::digest(&content)
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02x}").expect("a string takes every write");
                    hex
                });
            let path = path.strip_prefix("vendor/").expect("the prefix");
            assert!(
                list.contains(&format!("| `{path}` | `{hash}` |")),
                "{path} is {hash}"
            );
        }
    }

    #[test]
    fn a_name_that_joins_sheets_is_all_of_them_in_its_order() {
        let files = [("style/base.css", "a{}\n"), ("style/table.css", "b{}\n")]
            .map(|(path, sheet)| (path.to_owned(), Bytes::from_static(sheet.as_bytes())));
        let files = BTreeMap::from(files);
        let joined = |path| join_sheets(path, |path| files.get(path));
        let both = joined("style/table+base.css");
        assert_eq!(both.as_deref(), Some(b"b{}\na{}\n".as_slice()));
        assert_eq!(joined("style/table+other.css"), None);
        assert_eq!(joined("style/table+table.css"), None);
        assert_eq!(joined("app.js"), None);
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
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
                accepts_gzip(&headers.into_iter().collect()),
                accepted,
                "{accept_encoding}"
            );
        }
    }
}
