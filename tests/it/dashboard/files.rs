//! Files of the dashboard: complete, fast to load, and without external resources.

use std::collections::BTreeSet;
use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{Request, header};
use base64::Engine;
use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use crate::support::TestApp;

const PAGE: &str = "/dashboard/";
/// Maximum transfer size of the first screen, in bytes.
const FIRST_SCREEN: usize = 100_000;

/// Fetches a file as it is transferred: compressed, if the headers accept it.
async fn fetch(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> (Parts, Bytes) {
    let mut request = Request::get(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = app.app.router().oneshot(request).await;
    let (parts, body) = response.expect("the router answers").into_parts();
    (parts, body.collect().await.expect("all of it").to_bytes())
}

/// The text of the import map of a page.
fn import_map(page: &str) -> &str {
    let (_, rest) = page
        .split_once("<script type=\"importmap\">")
        .expect("it has one");
    rest.split("</script>").next().expect("it ends")
}

/// The URLs in the attributes of a page.
fn named(page: &str) -> Vec<&str> {
    let attributes = ["src=\"", "href=\""].into_iter();
    attributes
        .flat_map(|attribute| page.split(attribute).skip(1))
        .map(|rest| rest.split('"').next().expect("it ends"))
        .filter(|url| !url.starts_with("data:"))
        .collect()
}

/// The files that a page names, relative to the page.
pub fn files_of(page: &str) -> BTreeSet<String> {
    let map: Value = serde_json::from_str(import_map(page)).expect("JSON");
    let imports = map["imports"].as_object().expect("an object").values();
    let mapped = imports.map(|url| url.as_str().expect("a URL"));
    // Skip folders.
    let mapped = mapped.filter(|url| !url.ends_with('/'));
    mapped
        .chain(named(page))
        .map(|url| url.trim_start_matches("./").to_owned())
        .collect()
}

#[tokio::test]
async fn the_ways_to_the_dashboard_are_relative_so_that_a_proxy_may_put_it_under_a_sub_path() {
    let app = TestApp::start().await;
    for path in ["/", "/dashboard"] {
        let answer = app.anyone().get(path).await.expect(303);
        assert_eq!(answer.headers[header::LOCATION], "dashboard/", "{path}");
    }
    let page = app.anyone().get(PAGE).await.expect(200).text;
    for url in files_of(&page) {
        let relative = !url.starts_with('/') && !url.starts_with('.') && !url.contains("//");
        assert!(relative, "{url}");
    }
}

#[tokio::test]
async fn the_page_may_load_its_own_files_and_its_import_map_and_nothing_else() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200);
    let hash = Sha256::digest(import_map(&page.text));
    let hash = base64::engine::general_purpose::STANDARD.encode(hash);
    assert_eq!(
        page.headers[header::CONTENT_SECURITY_POLICY],
        format!(
            "default-src 'none'; script-src 'self' 'sha256-{hash}'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    );
    assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(page.headers[header::REFERRER_POLICY], "no-referrer");
    // Markup that the content security policy would block.
    for refused in [" style=", "<style", " onclick=", " onload="] {
        assert!(!page.text.contains(refused), "{refused}");
    }
    let scripts = page.text.split("<script").skip(1);
    for script in scripts {
        let inline = !script.split('>').next().unwrap().contains(" src=");
        assert_eq!(
            inline,
            script.starts_with(" type=\"importmap\""),
            "{script}"
        );
    }
}

#[tokio::test]
async fn the_page_is_asked_for_each_time_and_sent_when_it_has_changed() {
    let app = TestApp::start().await;
    let (page, text) = fetch(&app, PAGE, &[]).await;
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-cache");
    assert_eq!(
        page.headers[header::CONTENT_TYPE],
        "text/html; charset=utf-8"
    );
    assert!(!text.is_empty());
    let tag = page.headers[header::ETAG].to_str().unwrap();
    for known in [tag, &format!("\"other\", {tag}")] {
        let (again, text) = fetch(&app, PAGE, &[("if-none-match", known)]).await;
        assert_eq!((again.status.as_u16(), text.len()), (304, 0));
        assert_eq!(again.headers[header::ETAG], tag);
    }
    let (other, _) = fetch(&app, PAGE, &[("if-none-match", "W/\"other\"")]).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn every_file_that_the_page_names_is_there_and_kept_for_ever() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200).text;
    assert!(!page.contains("%VERSION%"));
    let mut kinds = BTreeSet::new();
    for file in files_of(&page) {
        let answer = app.anyone().get(&format!("{PAGE}{file}")).await.expect(200);
        let kind = match file.rsplit_once('.').unwrap().1 {
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        };
        kinds.insert(kind);
        for (header, value) in [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            assert_eq!(answer.headers[header], value, "{file}");
        }
    }
    assert!(kinds.len() >= 2, "scripts and styles: {kinds:?}");
}

#[tokio::test]
async fn what_a_page_of_another_version_names_is_there_but_not_kept() {
    let app = TestApp::start().await;
    for file in ["app.js", "style/base+tokens.css"] {
        let path = format!("{PAGE}other/{file}");
        let answer = app.anyone().get(&path).await.expect(200);
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-cache", "{file}");
    }
}

#[tokio::test]
async fn of_other_folders_there_are_no_files() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200).text;
    let files = files_of(&page);
    let script = files.iter().find(|file| file.ends_with("/app.js"));
    let version = script.unwrap().split('/').next().unwrap();
    for file in [
        "other/nothing.js".to_owned(),
        format!("{version}/nothing.js"),
        // Without its version in the URL a page would be cached indefinitely.
        format!("{version}/index.html"),
        format!("{version}/../index.html"),
        format!("{version}/..%2f..%2fCargo.toml"),
        format!("{version}/%2e%2e/%2e%2e/Cargo.toml"),
        format!("{version}/vendor/swagger-ui/swagger-ui.css"),
        format!("{version}/"),
        version.to_owned(),
    ] {
        let answer = app.anyone().get(&format!("{PAGE}{file}")).await;
        assert_eq!(answer.refusal(), "404 unknown-path", "{file}");
    }
}

#[tokio::test]
async fn files_are_packed_for_those_who_can_unpack_them() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200).text;
    let mut packed = 0;
    let files = files_of(&page)
        .into_iter()
        .map(|file| format!("{PAGE}{file}"));
    for path in files.chain([PAGE.to_owned()]) {
        let (plain, content) = fetch(&app, &path, &[]).await;
        let (answer, sent) = fetch(&app, &path, &[("accept-encoding", "br, gzip")]).await;
        for answer in [&plain, &answer] {
            assert_eq!(answer.headers[header::VARY], "accept-encoding", "{path}");
        }
        assert!(
            !plain.headers.contains_key(header::CONTENT_ENCODING),
            "{path}"
        );
        if !answer.headers.contains_key(header::CONTENT_ENCODING) {
            assert_eq!(sent, content, "{path}");
            continue;
        }
        assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip", "{path}");
        assert!(sent.len() < content.len(), "{path}");
        let mut unpacked = Vec::new();
        GzDecoder::new(&*sent).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, content, "{path}");
        packed += 1;
    }
    assert!(packed > 0);
}

#[tokio::test]
async fn the_first_screen_is_light() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200).text;
    // Files that the page itself loads or preloads.
    let first = named(&page).into_iter().collect::<BTreeSet<_>>();
    let paths = first.into_iter().map(|url| format!("{PAGE}{url}"));
    let mut weight = 0;
    for path in paths.chain([PAGE.to_owned()]) {
        let (_, sent) = fetch(&app, &path, &[("accept-encoding", "gzip")]).await;
        weight += sent.len();
    }
    assert!(weight < FIRST_SCREEN, "{weight} bytes");
}
