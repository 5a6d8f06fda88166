//! The export by OTLP, as protobuf over HTTP.
//!
//! The variables of the OpenTelemetry specification that the SDK reads apply too, such as `OTEL_EXPORTER_OTLP_HEADERS`,
//! `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_TRACES_SAMPLER`.

use std::collections::HashMap;
use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Status, TraceContextExt, TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use tracing::{Metadata, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use super::{ExportError, TraceLayer};

/// Name of the header in the maps of the propagator.
const TRACE_PARENT: &str = "traceparent";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Starts the export to the collector at this base URL, for the life of the process. Must be called in a runtime.
pub(crate) fn start(endpoint: &str, client: reqwest::Client) -> Result<TraceLayer, ExportError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name("couponry")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .with_resource(resource)
        .build();
    let layer = tracing_opentelemetry::layer::<Registry>()
        .with_tracer(provider.tracer("couponry"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        // Spans of the service alone: no lines of the log, and none of the export.
        .with_filter(filter_fn(|metadata: &Metadata<'_>| {
            metadata.is_span() && metadata.target().starts_with("couponry")
        }));
    let _ = PROVIDER.set(provider);
    Ok(Box::new(layer))
}

/// Exports the spans that have ended and stops. It blocks until the collector has responded, for some seconds at most.
pub(crate) fn stop() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown()
    {
        tracing::warn!(%error, "the last spans could not be exported");
    }
}

/// Returns true if spans are exported. Ask it before a span that has no other use is made.
pub(crate) fn is_exported() -> bool {
    PROVIDER.get().is_some()
}

/// Makes a new span a part of a trace, or the first of one. Returns the `traceparent` for what the span calls.
pub(crate) fn join(span: &Span, parent: Option<&str>) -> Option<String> {
    if !is_exported() {
        return None;
    }
    let propagator = TraceContextPropagator::new();
    if let Some(parent) = parent {
        let header = HashMap::from([(TRACE_PARENT.to_owned(), parent.to_owned())]);
        // Fails only for a span that was entered or is disabled.
        let _ = span.set_parent(propagator.extract(&header));
    }
    let mut headers = HashMap::new();
    propagator.inject_context(&span.context(), &mut headers);
    headers.remove(TRACE_PARENT)
}

/// Names the current span, that of a request, by what the request was.
pub(crate) fn describe_request(method: &'static str, route: &str, status: u16) {
    if !is_exported() {
        return;
    }
    let span = Span::current();
    span.context()
        .span()
        .update_name(format!("{method} {route}"));
    span.set_attribute("http.request.method", method);
    span.set_attribute("http.route", route.to_owned());
    set_status(&span, Some(status));
}

/// Sets the status of the response; `None` if there was none. A status of 500 or more, or none, is an error.
pub(crate) fn set_status(span: &Span, status: Option<u16>) {
    if !is_exported() {
        return;
    }
    if let Some(status) = status {
        span.set_attribute("http.response.status_code", i64::from(status));
    }
    if status.is_none_or(|status| status >= 500) {
        span.set_status(Status::error(""));
    }
}
