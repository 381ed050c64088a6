//! The host functions of the proxy-wasm ABI 0.2.1, and the one of WASI that std does not wrap.
//! Each gives a status; 0 is success.
#![allow(unsafe_code)]

pub(super) type Ptr = *const u8;
pub(super) type Out = *mut *mut u8;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub(super) fn proxy_log(level: u32, data: Ptr, size: usize) -> u32;
    pub(super) fn proxy_get_log_level(level: *mut u32) -> u32;
    pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub(super) fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: Out,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_set_buffer_bytes(
        kind: u32,
        start: usize,
        len: usize,
        data: Ptr,
        size: usize,
    ) -> u32;
    pub(super) fn proxy_get_buffer_status(kind: u32, size: *mut usize, flags: *mut u32) -> u32;
    pub(super) fn proxy_get_header_map_pairs(kind: u32, data: Out, size: *mut usize) -> u32;
    pub(super) fn proxy_remove_header_map_value(kind: u32, key: Ptr, key_size: usize) -> u32;
    pub(super) fn proxy_replace_header_map_value(
        kind: u32,
        key: Ptr,
        key_size: usize,
        value: Ptr,
        size: usize,
    ) -> u32;
    pub(super) fn proxy_get_property(
        path: Ptr,
        path_size: usize,
        data: Out,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_set_property(path: Ptr, path_size: usize, value: Ptr, size: usize) -> u32;
    pub(super) fn proxy_get_shared_data(
        key: Ptr,
        key_size: usize,
        data: Out,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    pub(super) fn proxy_set_shared_data(
        key: Ptr,
        key_size: usize,
        value: Ptr,
        size: usize,
        cas: u32,
    ) -> u32;
    pub(super) fn proxy_continue_stream(kind: u32) -> u32;
    pub(super) fn proxy_send_local_response(
        status: u32,
        details: Ptr,
        details_size: usize,
        body: Ptr,
        body_size: usize,
        headers: Ptr,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    pub(super) fn proxy_grpc_call(
        upstream: Ptr,
        upstream_size: usize,
        service: Ptr,
        service_size: usize,
        method: Ptr,
        method_size: usize,
        metadata: Ptr,
        metadata_size: usize,
        message: Ptr,
        message_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    pub(super) fn proxy_grpc_stream(
        upstream: Ptr,
        upstream_size: usize,
        service: Ptr,
        service_size: usize,
        method: Ptr,
        method_size: usize,
        metadata: Ptr,
        metadata_size: usize,
        token: *mut u32,
    ) -> u32;
    pub(super) fn proxy_grpc_send(token: u32, message: Ptr, size: usize, end: u32) -> u32;
    pub(super) fn proxy_grpc_cancel(token: u32) -> u32;
    pub(super) fn proxy_grpc_close(token: u32) -> u32;
    pub(super) fn proxy_http_call(
        upstream: Ptr,
        upstream_size: usize,
        headers: Ptr,
        headers_size: usize,
        body: Ptr,
        body_size: usize,
        trailers: Ptr,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    pub(super) fn proxy_set_effective_context(context: u32) -> u32;
    pub(super) fn proxy_call_foreign_function(
        name: Ptr,
        name_size: usize,
        arguments: Ptr,
        arguments_size: usize,
        data: Out,
        size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_define_metric(kind: u32, name: Ptr, name_size: usize, id: *mut u32) -> u32;
    pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    pub(super) fn random_get(data: *mut u8, size: usize) -> u16;
}
