//! URIs that name a model, prompt or run, as the value of a field.
//!
//! MLflow takes them apart with Python's `urlparse`, which drops what is behind a `?` or `#`, takes
//! what is behind `//` for a host, and strips blanks. A name that is split off before these are
//! refused is not the one that MLflow uses: `models:/secret@latest?@x` is its `secret`.

use crate::refusal::Refusal;

use super::id::Form;

/// Refuses forms that some reader resolves elsewhere (CVE-2026-2614, CVE-2024-1594 and kin). It
/// comes before anything is split off.
pub fn check_spelling(field: &'static str, uri: &str) -> Result<(), Refusal> {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | '#' | '?' | ';' | '%');
    let dots = uri.split('/').any(|segment| matches!(segment, "." | ".."));
    if dots || uri.chars().any(odd) || uri.trim() != uri {
        return Err(Refusal::ambiguous(field, "could be read as another location"));
    }
    Ok(())
}

/// The name in `<name>/<version or stage>` or `<name>@<alias>`, behind the scheme and one slash.
/// With a second `/` or `@`, two readers find two names.
pub fn versioned<'a>(field: &'static str, rest: &'a str) -> Result<&'a str, Refusal> {
    let (name, selector) =
        rest.split_once(['/', '@']).ok_or_else(|| Refusal::invalid(field, "names no version"))?;
    check_name(field, name)?;
    check_name(field, selector)?;
    if selector.contains('@') {
        return Err(Refusal::ambiguous(field, "could name two objects"));
    }
    Ok(name)
}

/// A name as MLflow's registry takes it: without `/` and `:`.
pub fn check_name(field: &'static str, name: &str) -> Result<(), Refusal> {
    Form::NewName.check(field, name)?;
    if name.contains(['/', ':']) {
        return Err(Refusal::ambiguous(field, "could name two objects"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_urlparse_drops_strips_or_decodes_is_refused() {
        for uri in [
            "models:/secret@latest?@x",
            "models:/secret/1#/2",
            "prompts:/secret/1;x",
            "models:/secr%65t/1",
            "models:/a\\b/1",
            "models:/a\tb/1",
            " models:/a/1",
            "models:/a/1\u{a0}",
            "models:/./a",
        ] {
            assert!(check_spelling("source", uri).is_err(), "{uri}");
        }
        assert!(check_spelling("source", "models:/un modèle/1").is_ok());
    }

    #[test]
    fn a_version_is_of_one_name() {
        for rest in ["iris/3", "iris@prod", "iris/Production", "iris/latest"] {
            assert_eq!(versioned("source", rest).unwrap(), "iris", "{rest}");
        }
        for rest in [
            "iris",
            "iris/",
            "iris@",
            "/iris/3",
            "/iris@prod",
            "/1",
            "@prod",
            "a@b@prod",
            "a@b/3",
            "a/3@b",
            "a/b/3",
            "a:b/3",
            "*/3",
            " /3",
            "",
        ] {
            assert!(versioned("source", rest).is_err(), "{rest}");
        }
    }
}
