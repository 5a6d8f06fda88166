//! The files of the web dashboard: its page at `/dashboard/`, and all else below the version that the page names.
//!
//! They are compiled into the binary as they stand in `dashboard/` and `vendor/`. The version is a hash over all of them: a
//! browser keeps each file for ever, and a new binary has new URLs. Nothing is loaded from elsewhere, and all URLs are
//! relative, so that they hold behind a proxy under a sub-path too.

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
struct Own;

/// What the reference page at `/docs` alone needs is not part of it.
#[derive(RustEmbed)]
#[folder = "vendor/"]
#[prefix = "vendor/"]
#[exclude = "swagger-ui/*"]
#[exclude = "README.md"]
struct Vendored;

/// The page, as it is named among the files.
const PAGE: &str = "index.html";
/// What stands in the page where the version belongs.
const PLACE: &str = "%VERSION%";
/// What begins the one script that the page holds itself.
const IMPORT_MAP: &str = "<script type=\"importmap\">";

/// The routes, which need no key and no state.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .get("/", lead_to_page)
        .get("/dashboard", lead_to_page)
        .get("/dashboard/", page)
        .get("/dashboard/{version}/{*file}", file)
}

async fn lead_to_page() -> Redirect {
    Redirect::to("dashboard/")
}

async fn page(asked: HeaderMap) -> Response {
    let page = &Dashboard::current().page;
    let about = [
        (CONTENT_SECURITY_POLICY, page.policy.clone()),
        (ETAG, page.etag.clone()),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    let known = listed(&asked, &IF_NONE_MATCH).any(|tag| tag == page.etag);
    if known {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, page.file.answer(&asked)).into_response()
}

async fn file(
    Path((version, path)): Path<(String, String)>,
    asked: HeaderMap,
) -> Result<Response, Error> {
    let dashboard = Dashboard::current();
    let elsewhere;
    let file = if let Some(file) = dashboard.files.get(&path) {
        file
    } else {
        // The page of another version may join its sheets otherwise.
        let sheet = joined(&path, |path| Some(&dashboard.files.get(path)?.content));
        let sheet = sheet.ok_or_else(|| {
            let detail = "The dashboard has no such file. Reload its page.";
            Error::refused(&UNKNOWN_PATH, detail)
        })?;
        elsewhere = File::new(content_type(&path), sheet);
        &elsewhere
    };
    // While replicas of two versions run, a page may ask the one for the files of the other. Those of its own are as good
    // as a neighbour's, but are not to be kept under that name.
    let cache = if version == dashboard.version && dashboard.files.contains_key(&path) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    Ok(([(CACHE_CONTROL, cache)], file.answer(&asked)).into_response())
}

/// All files at one moment.
struct Dashboard {
    version: String,
    page: Page,
    /// By their paths, the page aside.
    files: BTreeMap<String, File>,
}

struct Page {
    file: File,
    etag: String,
    policy: String,
}

impl Dashboard {
    /// A debug build finds the files on the disk, where they may change at any time.
    fn current() -> Arc<Self> {
        static EMBEDDED: LazyLock<Arc<Dashboard>> = LazyLock::new(|| Arc::new(Dashboard::read()));
        if cfg!(debug_assertions) {
            Arc::new(Self::read())
        } else {
            Arc::clone(&EMBEDDED)
        }
    }

    fn read() -> Self {
        let mut files = contents::<Own>();
        files.append(&mut contents::<Vendored>());
        let mut hash = Sha256::new();
        for (path, content) in &files {
            hash.update(format!("{path} {}\n", content.len()));
            hash.update(content);
        }
        let version = short(hash);
        let page = files.remove(PAGE).unwrap_or_default();
        let html = String::from_utf8_lossy(&page);
        for path in html.split('"').filter_map(|part| part.strip_prefix(PLACE)) {
            let path = path.trim_start_matches('/');
            if let Some(sheet) = joined(path, |path| files.get(path)) {
                files.insert(path.to_owned(), sheet);
            }
        }
        let page = Page::new(&html.replace(PLACE, &version));
        let files = files.into_iter().map(|(path, content)| {
            let file = File::new(content_type(&path), content);
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

/// What the page names `style/base+table.css` is both sheets, one after the other: to a browser each file of its own costs more than
/// what is in it. `None` if there is no such sheet, or one comes twice.
fn joined<'a>(path: &str, find: impl Fn(&str) -> Option<&'a Bytes>) -> Option<Bytes> {
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

/// The beginning of a hash, which is long enough to tell versions apart.
fn short(hash: Sha256) -> String {
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..9])
}

impl Page {
    fn new(html: &str) -> Self {
        let policy = policy(html);
        let hash = Sha256::new().chain_update(html).chain_update(&policy);
        Self {
            file: File::new("text/html; charset=utf-8", html.to_owned().into()),
            // Weak, because it is the same for the packed page.
            etag: format!("W/\"{}\"", short(hash)),
            policy,
        }
    }
}

/// What the page may load: its own files, and the import map that it holds, which cannot be a file.
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

struct File {
    content_type: &'static str,
    content: Bytes,
    /// As gzip, from when somebody first asked for it; `None` if that is no shorter.
    packed: OnceLock<Option<Bytes>>,
}

impl File {
    fn new(content_type: &'static str, content: Bytes) -> Self {
        Self {
            content_type,
            content,
            packed: OnceLock::new(),
        }
    }

    fn answer(&self, asked: &HeaderMap) -> impl IntoResponse + use<> {
        let packed = takes_gzip(asked).then(|| self.packed.get_or_init(|| pack(&self.content)));
        let packed = packed.and_then(Option::as_ref);
        (
            [
                (CONTENT_TYPE, self.content_type),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (VARY, "accept-encoding"),
            ],
            packed.map(|_| [(CONTENT_ENCODING, "gzip")]),
            packed.unwrap_or(&self.content).clone(),
        )
    }
}

fn pack(content: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < content.len()).then(|| packed.into())
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    listed(asked, &ACCEPT_ENCODING).any(|range| {
        let (coding, weight) = range.split_once(';').unwrap_or((range, ""));
        let weight = weight.trim().strip_prefix("q=");
        coding.trim_end().eq_ignore_ascii_case("gzip")
            && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0))
    })
}

/// The items of a header that is a list.
fn listed<'a>(asked: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = asked.get_all(name).into_iter();
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
        for (path, content) in contents::<Vendored>() {
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
        let joined = |path| joined(path, |path| files.get(path));
        let both = joined("style/table+base.css");
        assert_eq!(both.as_deref(), Some(b"b{}\na{}\n".as_slice()));
        assert_eq!(joined("style/table+other.css"), None);
        assert_eq!(joined("style/table+table.css"), None);
        assert_eq!(joined("app.js"), None);
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (accepted, taken) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate,gzip ; q=1", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("x-gzip-not", false),
        ] {
            let headers = [(ACCEPT_ENCODING, accepted.parse().expect("a header"))];
            assert_eq!(
                takes_gzip(&headers.into_iter().collect()),
                taken,
                "{accepted}"
            );
        }
    }
}
