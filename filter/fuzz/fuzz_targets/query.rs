//! A query that is accepted has one canonical form, which reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::surface::query::Query;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(query) = Query::read(bytes, &["run_id"]) {
        let canonical = query.canonical();
        let again = Query::read(canonical.as_bytes(), &["run_id"]).expect("accepted");
        assert_eq!(again, query);
        assert_eq!(again.canonical(), canonical);
    }
});
