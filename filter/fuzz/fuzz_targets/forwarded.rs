//! The headers in which a proxy in front says who it is name one person in one way, or nobody.
//!
//! The input is a header block: a line of `name: value` each. A value of `X-MS-CLIENT-PRINCIPAL` that
//! begins with a brace is encoded first, so that mutations reach the JSON and not only the base64.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use mlgate_filter::authn::apart::Prefixes;
use mlgate_filter::authn::forwarded::said;
use mlgate_filter::config::Config;
use mlgate_filter::contract::VerifiedIdentity;
use mlgate_filter::headers::Headers;
use std::sync::LazyLock;

const NOW: u64 = 1_767_225_600;
const USER: &str = "sso:";
const GROUP: &str = "sso-";

static READERS: LazyLock<Vec<(Config, Prefixes)>> = LazyLock::new(|| {
    let kinds = [
        (r#""easy_auth", "identity_providers": ["aad"]"#, r#"["groups", "roles"]"#),
        (r#""auth_request""#, r#""groups""#),
        (r#""forwarded""#, r#""groups""#),
    ];
    kinds.into_iter().map(|(kind, groups)| reader(kind, groups)).collect()
});

fn reader(kind: &str, groups: &str) -> (Config, Prefixes) {
    let json = format!(
        r#"{{"policy": {{"cluster": "p"}}, "forwarded_identity": {{
            "name": "proxy", "headers": {kind}, "trusted": {{"addresses": ["10.0.0.0/8"]}},
            "username_prefix": "{USER}", "groups_claim": {groups}, "groups_prefix": "{GROUP}"}},
            "jwt": {{"issuers": [{{"name": "corp", "issuer": "https://i", "audiences": ["m"],
            "algorithms": ["ES256"], "username_prefix": "sso:corp:", "groups_prefix": "sso-corp-"}}]}}}}"#
    );
    let config = Config::parse(json.as_bytes()).expect("a sound configuration");
    let prefixes = Prefixes::of(&config);
    (config, prefixes)
}

fn block(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lines = bytes.split(|byte| *byte == b'\n').take(64);
    lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let encode = name.eq_ignore_ascii_case(b"x-ms-client-principal") && value.starts_with(b"{");
            let value = if encode { STANDARD.encode(value).into_bytes() } else { value.to_vec() };
            Some((name.to_vec(), value))
        })
        .collect()
}

fn check(identity: &VerifiedIdentity) {
    let name = identity.username.strip_prefix(USER).expect("the source's prefix");
    assert!(!name.is_empty() && name.trim() == name && identity.username.chars().count() <= 255);
    assert!(!identity.username.chars().any(char::is_control));
    assert!(!name.starts_with("corp:"), "a name of another source");
    assert!(identity.groups.is_sorted() && identity.groups.len() <= 512);
    for group in &identity.groups {
        let group = group.strip_prefix(GROUP).expect("the source's prefix");
        assert!(!group.is_empty() && !group.starts_with("corp-"), "a group of another source");
        assert!(!group.chars().any(char::is_control));
    }
    assert!(identity.issuer == "proxy");
    assert!((300..=600).contains(&(identity.expires_at - NOW as i64)));
}

fuzz_target!(|bytes: &[u8]| {
    let pairs = block(bytes);
    let read = |reader: &(Config, Prefixes), pairs: &[(Vec<u8>, Vec<u8>)]| {
        let headers: Headers = pairs.iter().map(|(name, value)| (name, value)).collect();
        let config = reader.0.forwarded_identity.as_ref().expect("configured");
        said(config, &reader.1, &headers, NOW).ok()
    };
    for reader in &*READERS {
        let Some(identity) = read(reader, &pairs) else { continue };
        check(&identity);
        // Neither the order of the headers nor the case of their names says anything.
        let reversed: Vec<_> = pairs.iter().rev().cloned().collect();
        assert_eq!(read(reader, &reversed).as_ref(), Some(&identity));
        let shouted: Vec<_> =
            pairs.iter().map(|(name, value)| (name.to_ascii_uppercase(), value.clone())).collect();
        assert_eq!(read(reader, &shouted).as_ref(), Some(&identity));
        // Whatever is said twice, or in a spelling that only some readers fold, is said to nobody.
        for (name, value) in &pairs {
            let underscored: Vec<u8> =
                name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect();
            for other in [name.clone(), underscored] {
                let mut twice = pairs.clone();
                twice.push((other, value.clone()));
                let found = read(reader, &twice);
                assert!(found.is_none() || found.as_ref() == Some(&identity));
                let decides = |kept: &(Vec<u8>, Vec<u8>)| kept.0 != *name;
                let without: Vec<_> = pairs.iter().filter(|kept| decides(kept)).cloned().collect();
                let says = read(reader, &without).as_ref() != Some(&identity);
                assert!(!says || found.is_none(), "a header that decides was taken twice");
            }
        }
    }
});
