//! Spans of calls, sent to a collector over OTLP, as parts of the trace that the client began.
//!
//! A span has what the decision log has of a call, without who it was: no credential, no name, no
//! raw path. Spans wait in a queue that is bounded and are sent by a thread of its own; when the
//! collector is slow or gone they are dropped, and no call waits for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    FutureExt as _, Span as _, SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::config::Otlp;
use crate::contract as pb;

/// Spans that wait; about 2 MB when full.
const QUEUE: usize = 2048;
const BATCH: usize = 256;

/// The longest a span waits for others to go with.
const DELAY: Duration = Duration::from_secs(1);

/// Of one batch, with all that is tried.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Spans that are left when the server stops get this long.
const LAST: Duration = Duration::from_secs(2);

/// Longest value of a span, in characters.
const MAX_VALUE: usize = 256;

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("otlp_ca: cannot read {path}: {why}")]
    File { path: PathBuf, why: std::io::Error },
    #[error("otlp_endpoint: {0}")]
    Endpoint(tonic::transport::Error),
    #[error("otlp_endpoint: {0}")]
    Exporter(opentelemetry_otlp::ExporterBuildError),
}

/// Makes spans, or none where no collector is configured.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<SdkTracerProvider>);

/// Travels with the call, for [`step`].
#[derive(Debug)]
struct Within(SdkTracer);

impl Traces {
    /// Needs to be called within the runtime. Connects when there is something to send.
    ///
    /// # Errors
    /// `SetupError`; a collector that does not answer is none.
    pub fn start(config: Option<&Otlp>) -> Result<Self, SetupError> {
        let Some(config) = config else { return Ok(Self::default()) };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_channel(channel(config)?)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(SetupError::Exporter)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        // Who sent a trace context has decided whether it is recorded.
        let own = Sampler::TraceIdRatioBased(f64::from(config.sample_percent) / 100.0);
        let resource = Resource::builder()
            .with_service_name("mlgate-policy-server")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(own)))
            .with_resource(resource)
            .build();
        Ok(Self(Some(provider)))
    }

    /// Answers a call within a span; `describe` says what came of it.
    pub async fn call<T>(
        &self,
        method: &'static str,
        info: Option<&pb::RequestInfo>,
        answer: impl Future<Output = T>,
        describe: impl FnOnce(&T) -> Vec<KeyValue>,
    ) -> T {
        let Some(provider) = &self.0 else { return answer.await };
        let tracer = provider.tracer("mlgate");
        let parent = parent(info);
        let mut span = tracer
            .span_builder(method)
            .with_kind(SpanKind::Server)
            .start_with_context(&tracer, &parent);
        span.set_attribute(KeyValue::new("rpc.system", "grpc"));
        span.set_attribute(KeyValue::new("rpc.service", "mlgate.policy.v1.Policy"));
        span.set_attribute(KeyValue::new("rpc.method", method));
        for (name, value) in info.into_iter().flat_map(asked) {
            span.set_attribute(KeyValue::new(name, cut(value)));
        }
        let context = parent.with_span(span).with_value(Within(tracer));
        let answer = answer.with_context(context.clone()).await;
        context.span().set_attributes(describe(&answer));
        context.span().end();
        answer
    }

    /// Sends what is left, for a short time.
    pub async fn stop(self) {
        let Some(provider) = self.0 else { return };
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST));
        if !matches!(stopped.await, Ok(Ok(()))) {
            tracing::warn!("the last spans could not be sent");
        }
    }
}

/// A part of the call that is under way, if that has a span.
pub async fn step<T>(name: &'static str, part: impl Future<Output = T>) -> T {
    let call = Context::current();
    let Some(Within(tracer)) = call.get() else { return part.await };
    let span = tracer.start_with_context(name, &call);
    part.with_context(call.with_span(span)).await
}

fn channel(config: &Otlp) -> Result<Channel, SetupError> {
    let endpoint = Channel::from_shared(config.endpoint.to_string()).map_err(|_| {
        // The configuration has parsed it as a URL already.
        SetupError::Exporter(opentelemetry_otlp::ExporterBuildError::InternalFailure(
            "is no URI".to_owned(),
        ))
    })?;
    let mut endpoint = endpoint.timeout(TIMEOUT).connect_timeout(TIMEOUT);
    if let Some(path) = &config.ca {
        let pem =
            std::fs::read(path).map_err(|why| SetupError::File { path: path.clone(), why })?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(tls).map_err(SetupError::Endpoint)?;
    }
    Ok(endpoint.connect_lazy())
}

/// The client's span, as the filter has read it.
fn parent(info: Option<&pb::RequestInfo>) -> Context {
    let traceparent = info.map(|info| info.traceparent.clone()).unwrap_or_default();
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent)]);
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}

fn asked(info: &pb::RequestInfo) -> [(&'static str, &str); 3] {
    [
        ("http.request.method", &info.method),
        ("http.route", &info.route),
        ("mlgate.request_id", &info.request_id),
    ]
}

fn cut(value: &str) -> String {
    value.chars().take(MAX_VALUE).collect()
}

/// What came of a question.
pub fn decided<E>(answer: &Result<pb::AuthorizeResponse, E>) -> Vec<KeyValue> {
    match answer {
        Ok(answer) => vec![
            KeyValue::new("mlgate.outcome", answer.outcome().as_str_name()),
            KeyValue::new("mlgate.reason", cut(&answer.reason)),
            KeyValue::new("mlgate.revision", i64::try_from(answer.revision).unwrap_or(i64::MAX)),
        ],
        Err(_) => vec![KeyValue::new("error.type", "refused")],
    }
}

/// What came of a call of the REST API.
pub fn administered<E>(answer: &Result<pb::AdministerResponse, E>) -> Vec<KeyValue> {
    match answer {
        Ok(answer) => vec![KeyValue::new("http.response.status_code", i64::from(answer.status))],
        Err(_) => vec![KeyValue::new("error.type", "refused")],
    }
}
