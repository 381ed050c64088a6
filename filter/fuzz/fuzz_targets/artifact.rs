//! An artifact path is stable: no further decoding leads anywhere else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlgate_filter::surface::{artifact, path};

fuzz_target!(|text: &str| {
    if let Ok(value) = artifact::read_value("path", text) {
        assert_eq!(artifact::read_value("path", &value).as_deref(), Ok(value.as_str()));
        assert!(!value.split('/').any(|segment| segment == ".." || segment == "."));
        let _ = artifact::owner(&value, None);
    }
    let target = format!("/api/2.0/mlflow-artifacts/artifacts/{text}");
    if let Ok(read) = path::read_any(target.as_bytes(), &[]) {
        let again = path::read_any(read.encoded().as_bytes(), &[]).expect("accepted");
        assert_eq!(again, read);
        assert!(read.as_str().starts_with("/api/2.0/mlflow-artifacts/artifacts/"));
    }
});
