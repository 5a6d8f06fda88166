//! The API document at `/openapi.yaml` and the page that shows it, `/docs`.
//!
//! All files are compiled into the binary. Nothing is loaded from other sites, so the page works without internet access
//! and its content security policy can forbid them. The URLs of the page are relative to `/docs`, such as `docs/init.js`,
//! so that they also work behind a proxy under a sub-path. `/docs/` does not exist, because they would not work from
//! there.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;

use crate::http::routes::Routes;

const DOCUMENT: &str = include_str!("../../openapi.yaml");
const PAGE: &str = include_str!("page.html");
const INIT: &str = include_str!("init.js");
const VIEWER: &str = include_str!("../../vendor/swagger-ui/swagger-ui-bundle.js");
const STYLE: &str = include_str!("../../vendor/swagger-ui/swagger-ui.css");

/// `Cache-Control` of files that change with the binary under the same URL.
const REVALIDATE: &str = "no-cache";
/// `Cache-Control` of the viewer's files, whose URLs contain their version.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Swagger UI uses icons from `data:` URLs. It works without inline scripts, inline styles and `eval`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the routes, which need no authentication and no state.
pub(crate) fn routes() -> Routes {
    let page = (
        [
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
        ],
        file("text/html; charset=utf-8", REVALIDATE, PAGE),
    );
    Routes::new()
        .get(
            "/openapi.yaml",
            file("application/yaml", REVALIDATE, DOCUMENT),
        )
        .get("/docs", page)
        .get(
            "/docs/init.js",
            file("text/javascript; charset=utf-8", REVALIDATE, INIT),
        )
        .get(
            "/docs/swagger-ui-bundle.js",
            file("text/javascript; charset=utf-8", IMMUTABLE, VIEWER),
        )
        .get(
            "/docs/swagger-ui.css",
            file("text/css; charset=utf-8", IMMUTABLE, STYLE),
        )
}

/// Builds a constant response, which axum accepts as a handler.
fn file(
    content_type: &'static str,
    cache: &'static str,
    body: &'static str,
) -> impl IntoResponse + Clone + Send + Sync + 'static {
    (
        [
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, cache),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        body,
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_viewer_is_the_one_that_the_list_of_vendored_files_names() {
        let list = include_str!("../../vendor/README.md");
        for (name, content) in [("swagger-ui-bundle.js", VIEWER), ("swagger-ui.css", STYLE)] {
            let hash = Sha256::digest(content)
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02x}").expect("a string takes every write");
                    hex
                });
            assert!(
                list.contains(&format!("| `swagger-ui/{name}` | `{hash}` |")),
                "{name} is {hash}"
            );
        }
    }

    #[test]
    fn the_page_names_the_viewer_by_the_version_in_the_list() {
        let list = include_str!("../../vendor/README.md");
        for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
            let (_, rest) = PAGE
                .split_once(&format!("docs/{name}?v="))
                .expect("the page loads the file");
            let (version, _) = rest.split_once('"').expect("the attribute ends");
            assert!(
                list.contains(&format!("| Swagger UI | {version} |")),
                "{name} is called version {version}"
            );
        }
    }
}
