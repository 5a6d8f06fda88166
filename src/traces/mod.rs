//! Traces: the spans that are exported to a collector by OTLP, in programs that were built with the feature `otlp`.
//!
//! Without the feature or the setting, the functions do nothing. Spans have the highest level, so that no setting of the log
//! disables them.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
mod without;

#[cfg(feature = "otlp")]
pub(crate) use otlp::{describe_request, is_exported, join, set_status, start, stop};
#[cfg(not(feature = "otlp"))]
pub(crate) use without::{describe_request, is_exported, join, set_status, start, stop};

use tracing_subscriber::{Layer, Registry};

/// Exports the spans of the log's subscriber.
pub(crate) type TraceLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Makes a span that has no use but to be exported.
macro_rules! exported_span {
    ($($span:tt)*) => {
        if crate::traces::is_exported() {
            tracing::error_span!($($span)*)
        } else {
            tracing::Span::none()
        }
    };
}

pub(crate) use exported_span;

/// The reason why traces are not exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[cfg(not(feature = "otlp"))]
    #[error("the program was built without the feature `otlp`")]
    NotBuilt,
    #[cfg(feature = "otlp")]
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}
