//! The proxy-wasm ABI 0.2.1 as Envoy implements it.
//!
//! The SDK turns ordinary statuses into panics (non-UTF-8 headers, headers that have been passed
//! on, a client that left), and a panic kills the worker's VM. Here every status is a value.
#![allow(unsafe_code)]

use super::abi::*;
use super::{
    Call, ContextId, Direction, Headers, Host, HostError, LocalReply, Metric, MetricId, Sending,
    Shared, Token,
};
use crate::wire;
use std::cell::Cell;

/// The policy server's service.
const SERVICE: &str = "mlgate.policy.v1.Policy";

const BUFFER_REQUEST: u32 = 0;
const BUFFER_RESPONSE: u32 = 1;
const BUFFER_HTTP_CALL: u32 = 4;
const BUFFER_GRPC: u32 = 5;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
const MAP_REQUEST: u32 = 0;
const MAP_RESPONSE: u32 = 2;
const MAP_HTTP_CALL: u32 = 6;
/// gRPC status of a local reply to a request that is not gRPC.
const NO_GRPC_STATUS: i32 = -1;

fn check(status: u32) -> Result<(), HostError> {
    match status {
        0 => Ok(()),
        1 => Err(HostError::NotFound),
        2 => Err(HostError::BadArgument),
        8 => Err(HostError::CasMismatch),
        other => Err(HostError::Other(other)),
    }
}

/// Runs a host function that returns bytes it allocated through `proxy_on_memory_allocate`.
fn fetch(call: impl FnOnce(Out, *mut usize) -> u32) -> Result<Vec<u8>, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size = 0_usize;
    check(call(&mut data, &mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host got `data` from `proxy_on_memory_allocate(size)`, which leaks a boxed
    // slice of exactly `size` bytes of the global allocator, and wrote all of them.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

const fn buffer_of(direction: Direction) -> u32 {
    match direction {
        Direction::Request => BUFFER_REQUEST,
        Direction::Response => BUFFER_RESPONSE,
    }
}

const fn map_of(direction: Direction) -> u32 {
    match direction {
        Direction::Request => MAP_REQUEST,
        Direction::Response => MAP_RESPONSE,
    }
}

/// Reads a buffer. The proxy copies what there is, and one byte more than is accepted at most.
fn buffer(kind: u32, limit: usize) -> Result<Vec<u8>, HostError> {
    let most = limit.saturating_add(1);
    // SAFETY: `fetch` passes pointers to live locals.
    let bytes = fetch(|data, out| unsafe { proxy_get_buffer_bytes(kind, 0, most, data, out) })?;
    if bytes.len() > limit { Err(HostError::TooLarge) } else { Ok(bytes) }
}

thread_local! {
    /// What the proxy's clock said in this callback; 0 where it was not asked.
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
}

/// Envoy. Without state but the time: the proxy knows which callback is running.
#[derive(Debug, Clone, Copy, Default)]
pub struct Envoy;

impl Envoy {
    /// A callback begins. It has one time: otherwise a question would ask the clock seven times.
    pub fn begin(self) {
        NOW_MS.set(0);
    }

    /// The plugin's configuration, in `on_configure`.
    pub fn configuration(self) -> Result<Vec<u8>, HostError> {
        match buffer(BUFFER_PLUGIN_CONFIGURATION, usize::MAX) {
            Err(HostError::NotFound) => Ok(Vec::new()),
            other => other,
        }
    }
}

impl Host for Envoy {
    fn now_ms(&self) -> u64 {
        if NOW_MS.get() == 0 {
            let mut nanoseconds = 0_u64;
            // SAFETY: the pointer is to a live local. A failure leaves 0, at which nothing is fresh.
            let _ = unsafe { proxy_get_current_time_nanoseconds(&mut nanoseconds) };
            NOW_MS.set(nanoseconds / 1_000_000);
        }
        NOW_MS.get()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HostError> {
        // SAFETY: the pointer and the length are of one live slice.
        match unsafe { random_get(out.as_mut_ptr(), out.len()) } {
            0 => Ok(()),
            errno => Err(HostError::Other(errno.into())),
        }
    }

    fn headers(&self, of: Direction) -> Result<Headers, HostError> {
        // SAFETY: `fetch` passes pointers to live locals.
        let bytes =
            fetch(|data, size| unsafe { proxy_get_header_map_pairs(map_of(of), data, size) })?;
        wire::decode_pairs(bytes).ok_or(HostError::BadArgument)
    }

    fn set_header(&self, of: Direction, name: &str, value: &[u8]) -> Result<(), HostError> {
        // SAFETY: pointers and lengths are of live slices.
        check(unsafe {
            proxy_replace_header_map_value(
                map_of(of),
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    fn remove_header(&self, of: Direction, name: &[u8]) -> Result<(), HostError> {
        // SAFETY: pointer and length are of a live slice.
        check(unsafe { proxy_remove_header_map_value(map_of(of), name.as_ptr(), name.len()) })
    }

    fn body(&self, of: Direction, limit: usize) -> Result<Vec<u8>, HostError> {
        match buffer(buffer_of(of), limit) {
            // Nothing has been buffered: an empty body.
            Err(HostError::NotFound) => Ok(Vec::new()),
            other => other,
        }
    }

    fn set_body(&self, of: Direction, body: &[u8]) -> Result<(), HostError> {
        let kind = buffer_of(of);
        let (mut size, mut flags) = (0_usize, 0_u32);
        // SAFETY: both pointers are to live locals of the right type.
        check(unsafe { proxy_get_buffer_status(kind, &mut size, &mut flags) })?;
        // SAFETY: pointer and length are of a live slice. (0, size) replaces everything.
        check(unsafe { proxy_set_buffer_bytes(kind, 0, size, body.as_ptr(), body.len()) })
    }

    fn resume(&self, of: Direction) -> Result<(), HostError> {
        let stream = match of {
            Direction::Request => 0,
            Direction::Response => 1,
        };
        // SAFETY: no pointers.
        check(unsafe { proxy_continue_stream(stream) })
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        let headers = wire::encode_pairs(
            reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        );
        // SAFETY: pointers and lengths are of live slices.
        check(unsafe {
            proxy_send_local_response(
                reply.status.into(),
                reply.details.as_ptr(),
                reply.details.len(),
                reply.body.as_ptr(),
                reply.body.len(),
                headers.as_ptr(),
                headers.len(),
                NO_GRPC_STATUS,
            )
        })
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path = path.join("\0");
        // SAFETY: `fetch` passes pointers to live locals; the path is a live slice.
        fetch(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
            .ok()
    }

    fn set_property(&self, path: &[&str], value: &[u8]) -> Result<(), HostError> {
        let path = path.join("\0");
        // SAFETY: pointers and lengths are of live slices.
        check(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
    }

    fn shared(&self, key: &str) -> Result<Shared, HostError> {
        let mut cas = 0_u32;
        // SAFETY: `fetch` passes pointers to live locals; so is `cas`.
        let value = fetch(|data, size| unsafe {
            proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas)
        })?;
        Ok(Shared { value, cas })
    }

    fn set_shared(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), HostError> {
        // SAFETY: pointers and lengths are of live slices. A cas of 0 is an unconditional write.
        check(unsafe {
            proxy_set_shared_data(
                key.as_ptr(),
                key.len(),
                value.as_ptr(),
                value.len(),
                cas.unwrap_or(0),
            )
        })
    }

    fn call(&self, call: &Call<'_>) -> Result<Token, HostError> {
        let metadata =
            wire::encode_pairs(call.metadata.iter().map(|&(name, value)| (name.as_bytes(), value)));
        let mut token = 0_u32;
        // SAFETY: pointers and lengths are of live slices, `token` is a live local.
        check(unsafe {
            proxy_grpc_call(
                call.service.as_ptr(),
                call.service.len(),
                SERVICE.as_ptr(),
                SERVICE.len(),
                call.method.as_ptr(),
                call.method.len(),
                metadata.as_ptr(),
                metadata.len(),
                call.message.as_ptr(),
                call.message.len(),
                call.timeout_ms.max(1),
                &mut token,
            )
        })?;
        Ok(Token(token))
    }

    fn cancel(&self, token: Token) {
        // SAFETY: no pointers. An unknown token is the host's `NotFound`.
        let _ = unsafe { proxy_grpc_cancel(token.0) };
    }

    fn open_stream(&self, call: &Call<'_>) -> Result<Token, HostError> {
        let metadata =
            wire::encode_pairs(call.metadata.iter().map(|&(name, value)| (name.as_bytes(), value)));
        let mut token = 0_u32;
        // SAFETY: pointers and lengths are of live slices, `token` is a live local.
        check(unsafe {
            proxy_grpc_stream(
                call.service.as_ptr(),
                call.service.len(),
                SERVICE.as_ptr(),
                SERVICE.len(),
                call.method.as_ptr(),
                call.method.len(),
                metadata.as_ptr(),
                metadata.len(),
                &mut token,
            )
        })?;
        Ok(Token(token))
    }

    fn send(&self, stream: Token, message: &[u8], sending: Sending) -> Result<(), HostError> {
        let end = u32::from(sending == Sending::Last);
        // SAFETY: pointer and length are of a live slice.
        check(unsafe { proxy_grpc_send(stream.0, message.as_ptr(), message.len(), end) })
    }

    fn close_stream(&self, token: Token) {
        // SAFETY: no pointers. An unknown token is the host's `NotFound`.
        let _ = unsafe { proxy_grpc_close(token.0) };
    }

    fn received(&self, limit: usize) -> Result<Vec<u8>, HostError> {
        buffer(BUFFER_GRPC, limit)
    }

    fn http_call(
        &self,
        cluster: &[u8],
        headers: &Headers,
        body: &[u8],
        timeout_ms: u32,
    ) -> Result<Token, HostError> {
        let headers = wire::encode_pairs(headers.iter());
        let trailers = wire::encode_pairs(std::iter::empty());
        let mut token = 0_u32;
        // SAFETY: pointers and lengths are of live slices, `token` is a live local.
        check(unsafe {
            proxy_http_call(
                cluster.as_ptr(),
                cluster.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                trailers.as_ptr(),
                trailers.len(),
                timeout_ms.max(1),
                &mut token,
            )
        })?;
        Ok(Token(token))
    }

    fn http_answer(&self, limit: usize) -> Result<(u16, Vec<u8>), HostError> {
        // SAFETY: `fetch` passes pointers to live locals.
        let bytes =
            fetch(|data, size| unsafe { proxy_get_header_map_pairs(MAP_HTTP_CALL, data, size) })?;
        let headers = wire::decode_pairs(bytes).ok_or(HostError::BadArgument)?;
        let status = headers.get(b":status");
        let status = status.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        Ok((status.ok_or(HostError::NotFound)?, buffer(BUFFER_HTTP_CALL, limit)?))
    }

    fn set_tick_period(&self, milliseconds: u32) -> Result<(), HostError> {
        // SAFETY: no pointers.
        check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
    }

    fn set_effective(&self, context: ContextId) -> Result<(), HostError> {
        // SAFETY: no pointers. An unknown context is the host's `BadArgument`.
        check(unsafe { proxy_set_effective_context(context.0) })
    }

    fn foreign(&self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        // SAFETY: `fetch` passes pointers to live locals; the others are live slices.
        fetch(|data, size| unsafe {
            proxy_call_foreign_function(
                function.as_ptr(),
                function.len(),
                arguments.as_ptr(),
                arguments.len(),
                data,
                size,
            )
        })
    }

    fn define_metric(&self, kind: Metric, name: &str) -> Option<MetricId> {
        let kind = match kind {
            Metric::Counter => 0,
            Metric::Gauge => 1,
            Metric::Histogram => 2,
        };
        let mut id = 0_u32;
        // SAFETY: the name is a live slice, `id` a live local.
        check(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) }).ok()?;
        Some(MetricId(id))
    }

    fn memory_bytes(&self) -> u64 {
        const PAGE_BYTES: u64 = 65_536;
        (core::arch::wasm32::memory_size(0) as u64).saturating_mul(PAGE_BYTES)
    }

    fn add(&self, metric: MetricId, count: i64) {
        // SAFETY: no pointers.
        let _ = unsafe { proxy_increment_metric(metric.0, count) };
    }

    fn record(&self, metric: MetricId, value: u64) {
        // SAFETY: no pointers.
        let _ = unsafe { proxy_record_metric(metric.0, value) };
    }
}
