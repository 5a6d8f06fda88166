//! Files of the dashboard: complete, fast to load, and without external resources.

use std::collections::BTreeSet;
use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::http::{Request, header};
use flate2::read::GzDecoder;
use http_body_util::BodyExt;
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
    named(page)
        .into_iter()
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
async fn the_page_may_load_its_own_files_and_nothing_inline() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200);
    assert_eq!(
        page.headers[header::CONTENT_SECURITY_POLICY],
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(page.headers[header::REFERRER_POLICY], "no-referrer");
    // Markup that the content security policy would block.
    for refused in [" style=", "<style", " onclick=", " onload="] {
        assert!(!page.text.contains(refused), "{refused}");
    }
    for script in page.text.split("<script").skip(1) {
        let tag = script.split('>').next().unwrap();
        assert!(tag.contains(" src="), "{script}");
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
async fn a_page_of_another_version_gets_a_first_script_that_is_not_kept_and_nothing_else() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200).text;
    let files = files_of(&page);
    let script = files
        .iter()
        .find(|file| file.starts_with("assets/start-"))
        .expect("the first script");
    let own = app
        .anyone()
        .get(&format!("{PAGE}{script}"))
        .await
        .expect(200);
    let other = format!("{PAGE}assets/start-other123.js");
    let answer = app.anyone().get(&other).await.expect(200);
    assert_eq!(answer.text, own.text);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-cache");
    for file in [
        "app-other123.js",
        "style-other123.css",
        "start-other123.css",
    ] {
        let answer = app.anyone().get(&format!("{PAGE}assets/{file}")).await;
        assert_eq!(answer.refusal(), "404 unknown-path", "{file}");
    }
}

#[tokio::test]
async fn of_other_folders_there_are_no_files() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200).text;
    let files = files_of(&page);
    let script = files.iter().find(|file| file.contains("/app-")).unwrap();
    for file in [
        "assets/nothing.js".to_owned(),
        // The page must not be cached, and compressed files have no URL of their own.
        "index.html".to_owned(),
        "assets/../index.html".to_owned(),
        format!("{script}.br"),
        format!("{script}.gz"),
        "assets/..%2f..%2fCargo.toml".to_owned(),
        "assets/%2e%2e/%2e%2e/Cargo.toml".to_owned(),
        "src/app.tsx".to_owned(),
        "assets/".to_owned(),
        "assets".to_owned(),
    ] {
        let answer = app.anyone().get(&format!("{PAGE}{file}")).await;
        assert_eq!(answer.refusal(), "404 unknown-path", "{file}");
    }
}

#[tokio::test]
async fn the_licences_of_the_bundled_libraries_are_served() {
    let app = TestApp::start().await;
    let licences = app.anyone().get("/dashboard/licences.txt").await;
    let text = licences.expect(200).text;
    for library in [
        "preact ",
        "@preact/signals ",
        "@preact/signals-core ",
        "uplot ",
    ] {
        assert!(text.contains(library), "{library}");
    }
    assert!(text.contains("MIT"));
}

#[tokio::test]
async fn files_are_packed_for_those_who_can_unpack_them() {
    let app = TestApp::start().await;
    let page = app.anyone().get(PAGE).await.expect(200).text;
    let files = files_of(&page)
        .into_iter()
        .map(|file| format!("{PAGE}{file}"));
    for path in files.chain([PAGE.to_owned()]) {
        let (plain, content) = fetch(&app, &path, &[]).await;
        assert!(
            !plain.headers.contains_key(header::CONTENT_ENCODING),
            "{path}"
        );
        assert_eq!(plain.headers[header::VARY], "accept-encoding", "{path}");
        let mut sizes = vec![content.len()];
        for (accepted, coding) in [("gzip", "gzip"), ("gzip, deflate, br, zstd", "br")] {
            let (answer, sent) = fetch(&app, &path, &[("accept-encoding", accepted)]).await;
            assert_eq!(answer.headers[header::CONTENT_ENCODING], coding, "{path}");
            assert_eq!(answer.headers[header::VARY], "accept-encoding", "{path}");
            sizes.push(sent.len());
            if coding == "gzip" {
                let mut unpacked = Vec::new();
                GzDecoder::new(&*sent).read_to_end(&mut unpacked).unwrap();
                assert_eq!(unpacked, content, "{path}");
            }
        }
        assert!(
            sizes.is_sorted_by(|more, less| less < more),
            "{path}: {sizes:?}"
        );
    }
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
