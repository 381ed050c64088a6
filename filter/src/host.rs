//! What the filter needs from the proxy, as a trait: every status is data and nothing panics.
//!
//! The one implementation that runs in Envoy is [`envoy`]; tests use a mock.

#[cfg(target_arch = "wasm32")]
mod abi;
#[cfg(target_arch = "wasm32")]
pub mod envoy;
#[cfg(target_arch = "wasm32")]
mod exports;
#[cfg(target_arch = "wasm32")]
mod logger;

pub use crate::headers::Headers;

/// A status other than `Ok` of a host function (proxy-wasm ABI 0.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    NotFound,
    BadArgument,
    CasMismatch,
    /// What came back was larger than the caller accepts.
    TooLarge,
    Other(u32),
}

/// Names a unary call or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u32);

/// Names an HTTP stream or a root context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextId(pub u32);

/// Names a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MetricId(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

/// What a callback tells the proxy to do with the stream.
///
/// The SDK's `Action` lacks [`Flow::Hold`], without which an upload that waits for its decision
/// runs into the buffer limit wherever `allow_on_headers_stop_iteration` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Pass on what was shown.
    Continue,
    /// Keep it and show what follows.
    Buffer,
    /// Keep it, show nothing more, and let back-pressure stop the sender.
    Hold,
}

/// An answer that the gate gives itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// `%RESPONSE_CODE_DETAILS%` of the access log: a stable code without secrets.
    pub details: String,
}

/// A value of shared data with its compare-and-swap number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    pub value: Vec<u8>,
    pub cas: u32,
}

/// The proxy, as seen from one callback. Calls act on the effective context.
pub trait Host {
    /// Milliseconds since the epoch. In Envoy the same throughout one callback.
    fn now_ms(&self) -> u64;
    /// Fills `out` from the proxy's random source.
    fn random(&self, out: &mut [u8]) -> Result<(), HostError>;

    fn headers(&self, of: Direction) -> Result<Headers, HostError>;
    fn set_header(&self, of: Direction, name: &str, value: &[u8]) -> Result<(), HostError>;
    fn remove_header(&self, of: Direction, name: &[u8]) -> Result<(), HostError>;
    /// The whole buffered body; `limit` bytes at most.
    fn body(&self, of: Direction, limit: usize) -> Result<Vec<u8>, HostError>;
    fn set_body(&self, of: Direction, body: &[u8]) -> Result<(), HostError>;
    fn resume(&self, of: Direction) -> Result<(), HostError>;
    fn reply(&self, reply: &LocalReply) -> Result<(), HostError>;
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
    fn set_property(&self, path: &[&str], value: &[u8]) -> Result<(), HostError>;

    fn shared(&self, key: &str) -> Result<Shared, HostError>;
    /// Without `cas` the write is unconditional. A `cas` on a missing key is ignored by Envoy.
    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), HostError>;

    fn call(&self, call: &Call<'_>) -> Result<Token, HostError>;
    fn cancel(&self, token: Token);
    /// Opens a stream; `call.message` is not sent.
    fn open_stream(&self, call: &Call<'_>) -> Result<Token, HostError>;
    /// Sends a message on a stream that the effective context has opened.
    fn send(&self, stream: Token, message: &[u8], sending: Sending) -> Result<(), HostError>;
    fn close_stream(&self, token: Token);
    /// The message of the gRPC callback that is running; `limit` bytes at most.
    fn received(&self, limit: usize) -> Result<Vec<u8>, HostError>;

    /// Sends an HTTP request to a cluster, for the effective stream.
    fn http_call(
        &self,
        cluster: &[u8],
        headers: &Headers,
        body: &[u8],
        timeout_ms: u32,
    ) -> Result<Token, HostError>;
    /// Status and body of the HTTP answer whose callback is running; `limit` bytes at most.
    fn http_answer(&self, limit: usize) -> Result<(u16, Vec<u8>), HostError>;

    /// How often the effective root ticks from now on.
    fn set_tick_period(&self, milliseconds: u32) -> Result<(), HostError>;
    /// Makes the following calls act on another stream.
    fn set_effective(&self, context: ContextId) -> Result<(), HostError>;
    fn foreign(&self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError>;

    fn define_metric(&self, kind: Metric, name: &str) -> Option<MetricId>;
    /// The VM's linear memory, in bytes.
    fn memory_bytes(&self) -> u64;
    fn add(&self, metric: MetricId, count: i64);
    fn record(&self, metric: MetricId, value: u64);
}

/// Whether further messages follow on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    Last,
    More,
}

/// A gRPC request to the policy server.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// A cluster's name, or a serialised `GrpcService`.
    pub service: &'a [u8],
    pub method: &'a str,
    pub metadata: &'a [(&'a str, &'a [u8])],
    pub message: &'a [u8],
    /// Never 0: Envoy would send `grpc-timeout: 0m`, which fails at once. Unused for streams.
    pub timeout_ms: u32,
}
