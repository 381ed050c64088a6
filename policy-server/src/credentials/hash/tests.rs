use super::*;

fn verifies(hash: &str, password: &str) -> bool {
    hash.parse::<PasswordHash>().unwrap().verify(password.as_bytes())
}

/// Written by werkzeug 3.1, openssl passwd and crypt(3), not by this code.
const FOREIGN: &[(&str, &str)] = &[
    (
        "scrypt:32768:8:1$nPI4G1hR7BjYlOBK$a811533b806a1b7da5524514b47ee3ab908b8d7650e1bf1872c92068916ff80521ad71ae6fbf0e787dc32c3ff467ed0f00108206833957bc4697107db5cd39ac",
        "correct horse battery",
    ),
    (
        "scrypt:1024:8:1$uH31QdcEFtPT4nlN$7cca1b9f4cb61537f1f85fe845c84918dc4a15404435427f8330035c38ac2affe65a178aaaae83cf159b38c956880aa1cf993e4671f65a0fc062654bca4d08da",
        "naïve pass",
    ),
    (
        "pbkdf2:sha256:260000$EQW890EQNyoh7zFP$f70f9a256e8717cd4427d2de2854296ff9eb1adfe8b1735b7fb9a31a85d6f7a0",
        "correct horse battery",
    ),
    (
        "pbkdf2:sha512:1000$Wf7xKOiaPj6AQsy1$d1974e9284519a81d8c9009a7f2288e9a2f57246cd11354a0543ec77c5112d4ca34dcb57b9448b1256d3f5e7caca7c346eb86ea7e68a77828d6a7c633ed2ccd9",
        "correct horse battery",
    ),
    (
        "pbkdf2:sha1:1000$eoIAK3pnkPP9PyHt$4851eb694b6d812d356f0c4f86a60f26b3ad3849",
        "correct horse battery",
    ),
    ("$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", "correct horse"),
    ("$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2", "correct horse"),
    ("$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/", "correct horse"),
    ("$apr1$ab$nYmObf8RxsILbyK29x5ke1", "a-much-longer-password-over-sixteen-bytes"),
    ("$apr1$xyz$5pcLLkUG3srn1GPMK33bE.", "naïve"),
    ("$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB", "correct horse"),
    (
        "$6$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG.",
        "correct horse",
    ),
    (
        "$6$rounds=1500$abcdefgh$ANjw0GZuz.7.z9NONNA7XhFx2PyTTWbVuvBEvzweuEZmNrkovjvOO0tSw634UiIVN6aS1CwCza674wFQqmvOR0",
        "correct horse",
    ),
    ("{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "correct horse"),
    ("{SSHA}awc/Cj0kafyFd5d8fGn07xoHBJJzYWx0c2FsdA==", "correct horse"),
];

#[test]
fn hashes_written_by_others_verify_with_their_password_and_no_other() {
    for (hash, password) in FOREIGN {
        assert!(verifies(hash, password), "{hash}");
        assert!(!verifies(hash, &format!("{password} ")), "{hash}");
        assert!(!verifies(hash, &password[1..]), "{hash}");
        assert!(hash.parse::<PasswordHash>().unwrap().needs_rehash(), "{hash}");
    }
}

#[test]
fn a_new_hash_is_argon2id_salted_and_needs_no_rehash() {
    let hash = hash_new("correct horse battery").unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert_ne!(hash, hash_new("correct horse battery").unwrap());
    assert!(verifies(&hash, "correct horse battery"));
    assert!(!verifies(&hash, "correct horse batterz"));
    assert!(!hash.parse::<PasswordHash>().unwrap().needs_rehash());
}

#[test]
fn an_empty_password_never_verifies_even_against_its_own_hash() {
    // CVE-2025-1474: accounts whose stored hash is of the empty password. SHA-1 of nothing.
    assert!(!verifies("{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", ""));
    assert_eq!(hash_new("").unwrap_err(), HashError::PasswordEmpty);
}

#[test]
fn parameters_that_would_exhaust_the_server_are_refused() {
    let key = "ab".repeat(64);
    for hash in [
        format!("scrypt:1073741824:8:1$salt${key}"),
        format!("scrypt:32768:8:1000$salt${key}"),
        format!("scrypt:32768:4294967295:1$salt${key}"),
        format!("pbkdf2:sha256:4294967295$salt${key}"),
        "$2b$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e".to_owned(),
        format!("$6$rounds=999999999$abcdefgh${}", "a".repeat(86)),
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(),
        "$argon2id$v=19$m=19456,t=100000,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".to_owned(),
    ] {
        let error = hash.parse::<PasswordHash>().unwrap_err();
        assert!(matches!(error, HashError::TooCostly(_)), "{hash}: {error:?}");
    }
}

#[test]
fn malformed_and_unknown_hashes_are_refused_without_being_quoted() {
    for hash in [
        "",
        "plain-text-password",
        "rqXexS6ZhobKA",
        "scrypt:32768:8:1$salt$",
        "scrypt:32768:8:1$salt$abcd",
        "scrypt:32767:8:1$salt$abababababababababababababababab",
        "scrypt:0:8:1$salt$abababababababababababababababab",
        "scrypt:32768:8$salt$abababababababababababababababab",
        "pbkdf2:md5:1000$salt$abababababababababababababababab",
        "pbkdf2:sha256:0$salt$abababababababababababababababab",
        "pbkdf2:sha256:1000$$abababababababababababababababab",
        "$apr1$",
        "$apr1$abcdefghi$sIQmFnT1CuEXAsyjuXjUX/",
        "{SHA}aGFsbG8=",
        "{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
        "$5$abcdefgh$short",
        "$2b$04$short",
        "$argon2id$v=19$m=19456,t=2,p=1",
    ] {
        let error = hash.parse::<PasswordHash>().expect_err(hash);
        assert!(hash.is_empty() || !error.to_string().contains(hash), "{hash}");
    }
}

#[test]
fn an_over_long_password_never_verifies_and_is_not_hashed() {
    let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
    assert_eq!(hash_new(&long).unwrap_err(), HashError::PasswordTooLong);
    assert!(!verifies(FOREIGN[0].0, &long));
}

#[test]
fn debug_output_does_not_show_the_hash() {
    let hash: PasswordHash = FOREIGN[0].0.parse().unwrap();
    assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
}
