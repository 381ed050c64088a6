//! An export names its traces by MLflow's ids, or is refused; inflated it is within the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::surface::coding;
use mlgate_filter::surface::headers::RequestHeaders;
use mlgate_filter::surface::id::Form;
use mlgate_filter::surface::otlp;

const LIMIT: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    for coding in ["gzip", "deflate"] {
        if let Ok(inflated) = coding::decode(Some(coding), bytes, LIMIT) {
            assert!(inflated.len() <= LIMIT);
        }
    }
    for content_type in ["application/x-protobuf", "application/json"] {
        let headers = RequestHeaders {
            content_type: Some(content_type.to_owned()),
            ..RequestHeaders::default()
        };
        for id in otlp::trace_ids(&headers, bytes).unwrap_or_default() {
            assert!(Form::Trace.accepts(&id));
        }
    }
});
