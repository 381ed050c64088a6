//! A body that is accepted is JSON to others too, and forwarding it changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::surface::inputs::refuse_double_spellings;
use mlgate_filter::surface::json;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(object) = json::read_object(bytes) {
        let _ = refuse_double_spellings(&object);
        let forwarded = object.to_bytes();
        let again = json::read_object(&forwarded).expect("the canonical form is accepted");
        assert_eq!(again, object);
        assert_eq!(again.to_bytes(), forwarded);
    }
});
