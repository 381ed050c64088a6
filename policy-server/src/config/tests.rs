use super::*;

fn layers(file: &str, environment: &[(&str, &str)]) -> Result<Layers, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mlgate.toml");
    std::fs::write(&path, file).unwrap();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Layers::read(Some(&path), environment)
}

fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    match layers(file, environment).and_then(|layers| layers.resolve()) {
        Ok(config) => panic!("{config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = "listen = '127.0.0.1:1'\nheartbeat = '2s'\ndrain = '1s'";
    let mut layers =
        layers(file, &[("MLGATE_LISTEN", "127.0.0.1:2"), ("MLGATE_DRAIN", "3s")]).unwrap();
    layers.set_flag("listen", "127.0.0.1:3".to_owned());
    let config = layers.resolve().unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.drain, Duration::from_secs(3));
    assert_eq!(config.heartbeat, Duration::from_secs(2));
    assert_eq!(config.decision_ttl, Duration::from_secs(60), "the default");
}

#[test]
fn the_defaults_are_a_configuration() {
    let config = Layers::default().resolve().unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.store.to_string(), "sqlite:mlgate.db");
    assert_eq!(config.settings, SettingOverrides::default());
    assert!(config.tls.is_none() && config.shared_token.is_none());
}

#[test]
fn an_error_names_the_place_and_never_the_secret() {
    for (file, environment, place) in [
        ("lisen = 'x'", &[][..], "mlgate.toml: lisen: is not a field"),
        ("listen = 'x'", &[], "mlgate.toml: listen: \"x\"; expected ADDRESS:PORT"),
        ("listen = {}", &[], "mlgate.toml: listen: expected a string"),
        ("a = 1\nshared_token = \"s3cret-s3cret-s3cr", &[], "line 2: not TOML"),
        ("", &[("MLGATE_LISTN", "s3cret")], "MLGATE_LISTN: is not a field"),
        ("", &[("MLGATE_STORE", "mysql://u:s3cret@h/d")], "MLGATE_STORE: expected sqlite"),
        ("", &[("MLGATE_SHARED_TOKEN", "s3cret")], "MLGATE_SHARED_TOKEN: expected at least"),
        ("", &[("MLGATE_TRACKING_URI", "ftp://s3cret")], "MLGATE_TRACKING_URI: expected"),
        ("", &[("MLGATE_DEFAULT_PERMISSION", "DENY")], "MLGATE_DEFAULT_PERMISSION: \"DENY\""),
        ("", &[("MLGATE_WORKSPACES", "on")], "expected true or false"),
        ("heartbeat = '1ms'", &[], "expected 50ms to 60000ms"),
        ("decision_ttl = '99999999999999999999h'", &[], "mlgate.toml: decision_ttl"),
        ("hash_concurrency = 0", &[], "expected a number from 1 to 64"),
        ("tls_key = 'k'", &[], "tls_certificate: is needed"),
        ("tls_certificate = 'c'", &[], "tls_key: is needed"),
        ("oidc_issuers = ['nope']", &[], "expected name=https://issuer"),
        ("oidc_issuers = ['a=http://idp']", &[], "mlgate.toml: oidc_issuers: a: expected https"),
        ("oidc_refresh = '2h'\noidc_stale = '1h'", &[], "no more than oidc_stale"),
        ("first_login = 'ask'", &[], "expected admit, provision or refuse"),
    ] {
        let error = refused(file, environment);
        assert!(error.contains(place), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn other_programs_variables_and_empty_ones_pass() {
    let environment =
        [("PATH", "/bin"), ("MLGATE_LISTEN", ""), ("MLGATE_ADMIN_PASSWORD", "secret")];
    let config = layers("", &environment).unwrap().resolve().unwrap();
    assert_eq!(config.listen.port(), 50051);
}

#[test]
fn what_is_shown_is_masked() {
    let environment = [
        ("MLGATE_STORE", "postgresql://u:s3cret@h/d"),
        ("MLGATE_SHARED_TOKEN", "s3cret-s3cret-s3cret"),
        ("MLGATE_TRACKING_URI", "https://u:s3cret@mlflow/"),
    ];
    let layers = layers("", &environment).unwrap();
    let shown = format!("{:?}", layers.shown());
    assert!(!shown.contains("s3cret"), "{shown}");
    let config = format!("{:?}", layers.resolve().unwrap());
    assert!(!config.contains("s3cret"), "{config}");
}

#[test]
fn every_field_is_read() {
    // A field that `resolve` forgot would be accepted and have no effect.
    for field in FIELDS {
        let mut layers = Layers::default();
        layers.set_flag(field.name, "\u{0}".to_owned());
        assert!(layers.resolve().is_err(), "{}", field.name);
    }
}
