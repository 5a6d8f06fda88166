//! The layers around every request: request id, log line, time limit, and problem documents for all failures.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::{Instrument, field};

use super::error::{
    Error, METHOD_NOT_ALLOWED, REQUEST_TIMEOUT, TOO_LARGE, UNAVAILABLE, UNKNOWN_PATH,
    UNSUPPORTED_MEDIA_TYPE,
};
use super::host;
use super::rate_status::RateSlot;
use super::request_id::{REQUEST_ID, RequestId};
use super::trace_parent::Trace;
use crate::metrics;
use crate::telemetry::AccessLog;
use crate::traces;

/// Time limit of a request other than an upload. The steps of a request have shorter limits; this one backs them up.
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// The response for a path without a route.
pub(crate) async fn unknown_path(uri: Uri) -> Error {
    let detail = match uri.path() {
        "/metrics" => {
            "The metrics are not served here. COUPONRY_METRICS_LISTEN names the address and port for them."
        }
        _ => "See /docs for the available paths.",
    };
    Error::refused(&UNKNOWN_PATH, detail)
}

/// Cancels a request that exceeds the time limit.
pub(crate) async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::refused(
            &UNAVAILABLE,
            "The request took longer than one minute and was cancelled.",
        )
        .into_response(),
    }
}

/// The outermost layer but the compression: assigns the request id and the span that bears it on each line of the log, checks `Host`, catches
/// panics, logs and counts, and renders every failure as a problem document, including rejections by axum.
pub(crate) async fn envelope(
    State(access_log): State<AccessLog>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(&request);
    let trace = Trace::of(request.headers());
    // Of the highest level, so that no setting of the log disables it.
    let span = tracing::error_span!(
        "request",
        request_id = id.as_str(),
        trace_id = trace.id(),
        otel.kind = field::Empty
    );
    let is_new = trace.id().is_none();
    let trace = trace.join(&span, "server");
    if is_new && let Some(id) = trace.id() {
        span.record("trace_id", id);
    }
    if let Trace(Some(trace)) = trace {
        request.extensions_mut().insert(trace);
    }
    request.extensions_mut().insert(id.clone());
    respond(access_log, id, request, next)
        .instrument(span)
        .await
}

async fn respond(
    access_log: AccessLog,
    id: RequestId,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let rate = RateSlot::default();
    request.extensions_mut().insert(rate.clone());
    let method = request.method().clone();
    // Only the template is logged, because paths and queries contain contact ids and codes.
    let route = request.extensions().get::<MatchedPath>().cloned();

    let run = async move {
        match host::check(&request) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    let mut response = AssertUnwindSafe(run)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .or(panic.downcast_ref::<String>().map(String::as_str));
            Error::Internal(format!(
                "a handler panicked: {}",
                message.unwrap_or("without a message")
            ))
            .into_response()
        });
    if let Some(error) = failure(&response) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = error.render(id.as_str());
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    record(
        access_log,
        method_name(&method),
        route,
        response.status(),
        started.elapsed(),
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.0);
    rate.add_headers(headers);
    // A request may be authenticated by a cookie, and a shared cache could return its response to another caller.
    let cache = headers.entry(header::CACHE_CONTROL);
    cache.or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Logs and counts a response.
fn record(
    access_log: AccessLog,
    method: &'static str,
    route: &str,
    status: StatusCode,
    duration: Duration,
) {
    metrics::response(method, route, status.as_u16(), duration);
    traces::describe_request(method, route, status.as_u16());
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(target: "couponry::access", method, route, status = status.as_u16(), micros, "request")
        };
    }
    match access_log {
        AccessLog::Off => {}
        _ if status.is_server_error() => log!(warn),
        AccessLog::Errors if status != StatusCode::TOO_MANY_REQUESTS => {}
        AccessLog::Errors | AccessLog::All => log!(info),
    }
}

/// Returns the name of a method. Those that HTTP does not define have one name, because a client can make up any.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| method.as_str() == *known);
    known.unwrap_or("_OTHER")
}

/// Returns the error to render: that of a handler, or one for a bare status of axum.
fn failure(response: &Response) -> Option<Arc<Error>> {
    if let Some(error) = response.extensions().get::<Arc<Error>>() {
        return Some(Arc::clone(error));
    }
    let error = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => Error::refused(
            &METHOD_NOT_ALLOWED,
            "See the `Allow` header for the supported methods.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Error::refused(&TOO_LARGE, "Send a smaller body."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Error::refused(
            &UNSUPPORTED_MEDIA_TYPE,
            "See /docs for the supported content types.",
        ),
        StatusCode::REQUEST_TIMEOUT => Error::refused(&REQUEST_TIMEOUT, "Send the request again."),
        status if status.is_client_error() => Error::malformed("The request cannot be read."),
        status if status.is_server_error() => Error::Internal(format!(
            "a response with status {status} had no problem document"
        )),
        _ => return None,
    };
    Some(Arc::new(error))
}
