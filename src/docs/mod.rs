//! The API document at `/openapi.yaml` and the page that shows it, `/docs`.
//!
//! All of it is compiled into the binary and nothing is loaded from elsewhere, so the page works without the internet and its
//! content security policy can forbid the rest. The page's URLs are relative (`docs/init.js`, seen from `/docs`): behind a proxy
//! under a sub-path they still hold, while `/docs/`, from where they would not, does not exist.

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

/// For what changes with the binary under the same URL.
const ASK_AGAIN: &str = "no-cache";
/// For the viewer's files: the page names them with their version.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Swagger UI draws icons from `data:` URLs; it works without inline scripts, inline styles and `eval`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes, which need no key and no state.
pub(crate) fn routes() -> Routes {
    let page = (
        [
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, "no-referrer"),
        ],
        file("text/html; charset=utf-8", ASK_AGAIN, PAGE),
    );
    Routes::new()
        .get(
            "/openapi.yaml",
            file("application/yaml", ASK_AGAIN, DOCUMENT),
        )
        .get("/docs", page)
        .get(
            "/docs/init.js",
            file("text/javascript; charset=utf-8", ASK_AGAIN, INIT),
        )
        .get(
            "/docs/swagger-ui-bundle.js",
            file("text/javascript; charset=utf-8", FOR_EVER, VIEWER),
        )
        .get(
            "/docs/swagger-ui.css",
            file("text/css; charset=utf-8", FOR_EVER, STYLE),
        )
}

/// A response that is the same for every request; axum takes it as the handler.
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
