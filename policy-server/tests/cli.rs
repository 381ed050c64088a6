//! The command line, as people and scripts use it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

struct Mlgate {
    directory: tempfile::TempDir,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Mlgate {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "", &[])
    }

    fn run_with(&self, arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlgate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLGATE_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        ran.out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.out);
        ran.err
    }
}

#[test]
fn a_grant_is_what_check_says() {
    let mlgate = Mlgate::new();
    mlgate.ok(&["user", "create", "alice", "--generate"]);
    mlgate.ok(&["grant", "alice", "experiment", "12", "EDIT"]);
    let check = |action| mlgate.run(&["check", "alice", action, "experiment", "12"]);
    let allowed = check("update");
    assert_eq!(allowed.code, 0);
    assert!(allowed.out.contains("by EDIT on experiment 12"), "{}", allowed.out);
    assert_eq!(check("delete").code, 1);
    mlgate.ok(&["user", "disable", "alice"]);
    assert_eq!(check("update").code, 1);
    mlgate.ok(&["user", "enable", "alice"]);
    assert_eq!(check("update").code, 0);
    mlgate.ok(&["revoke", "alice", "experiment", "12"]);
    assert_eq!(check("read").code, 1);
    assert!(mlgate.refused(&["revoke", "alice", "experiment", "12"]).contains("not found"));
}

#[test]
fn roles_reach_users_directly_and_through_groups() {
    let mlgate = Mlgate::new();
    mlgate.ok(&["user", "create", "bob", "--service-account"]);
    mlgate.ok(&["role", "create", "readers"]);
    mlgate.ok(&["role", "permit", "readers", "registered_model", "team-*", "READ"]);
    mlgate.ok(&["group", "add-role", "science", "readers"]);
    let question = ["check", "bob", "read", "registered_model", "team-x"];
    assert_eq!(mlgate.run(&question).code, 1);
    let claimed = [&question[..], &["--group", "science"]].concat();
    assert_eq!(mlgate.run(&claimed).code, 0);
    mlgate.ok(&["role", "assign", "readers", "bob"]);
    assert_eq!(mlgate.run(&question).code, 0);
    mlgate.ok(&["role", "permit", "readers", "registered_model", "team-*", "DENY"]);
    assert_eq!(mlgate.run(&claimed).code, 1);
}

#[test]
fn weak_passwords_are_refused_and_none_is_ever_shown_again() {
    let mlgate = Mlgate::new();
    let create =
        |password| mlgate.run_with(&["user", "create", "eve", "--password-stdin"], password, &[]);
    assert!(create("short\n").err.contains("--password-stdin: Password must be at least 12"));
    assert!(create("password1234\n").err.contains("shipped default"));
    assert_eq!(mlgate.run(&["user", "create", "eve"]).code, 2, "no terminal to ask on");
    assert_eq!(create("a-long-password\n").code, 0);
    assert!(mlgate.refused(&["user", "create", "eve", "--generate"]).contains("already exists"));
    let generated = mlgate.json(&["user", "create", "dan", "--generate"]);
    let password = generated["password"].as_str().unwrap();
    assert_eq!(password.len(), 24);
    for command in [&["user", "list"][..], &["export"], &["audit"]] {
        let shown = mlgate.ok(&[&["--json"], command].concat());
        assert!(!shown.contains(password) && !shown.contains("a-long-password"), "{command:?}");
        assert!(!shown.contains("$argon2"), "{command:?} shows a hash");
    }
}

#[test]
fn a_token_is_shown_once() {
    let mlgate = Mlgate::new();
    mlgate.ok(&["user", "create", "ci", "--service-account"]);
    let created = mlgate.json(&["token", "create", "ci", "nightly", "--expires", "1h"]);
    let token = created["token"].as_str().unwrap();
    assert!(token.starts_with("mlg_"));
    for command in [&["token", "list"][..], &["export"], &["audit"]] {
        assert!(!mlgate.ok(&[&["--json"], command].concat()).contains(token), "{command:?}");
    }
    mlgate.ok(&["token", "revoke", "1"]);
    assert!(mlgate.ok(&["token", "list"]).contains("revoked"));
    assert!(
        mlgate.refused(&["token", "create", "ci", "x", "--expires", "soon"]).contains("--expires")
    );
}

#[test]
fn errors_name_what_is_wrong_and_go_to_standard_error() {
    let mlgate = Mlgate::new();
    mlgate.ok(&["user", "create", "alice", "--service-account"]);
    for (arguments, named) in [
        (&["grant", "alice", "experimen", "1", "READ"][..], "experimen"),
        (&["grant", "alice", "experiment", "1", "OWN"], "OWN"),
        (&["grant", "alice", "experiment", "1*", "READ"], "resource_pattern"),
        (&["grant", "alice", "run", "abc", "DENY"], "resource_pattern"),
        (&["grant", "alice", "workspace", "*", "READ"], "permission"),
        (&["grant", "nobody", "experiment", "1", "READ"], "nobody"),
        (&["role", "create", "__user_1__"], "__user_"),
        (&["settings", "set", "default_permission", "DENY"], "default_permission"),
        (&["settings", "set", "colour", "red"], "colour"),
        (&["--store", "mysql://x", "user", "list"], "--store"),
        (&["import", "mlflow", "--from", "sqlite:///absent.db"], "absent.db"),
        (&["config", "--listen", "nowhere"], "--listen"),
        (&["--config", "absent.toml", "user", "list"], "absent.toml"),
    ] {
        let ran = mlgate.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(ran.err.contains(named), "{arguments:?}: {}", ran.err);
        assert!(ran.out.is_empty(), "{arguments:?}: {}", ran.out);
    }
}

#[test]
fn serve_makes_no_administrator_with_a_weak_or_missing_password() {
    let mlgate = Mlgate::new();
    let serve = |password: &[(&str, &str)]| {
        mlgate.run_with(&["serve", "--listen", "127.0.0.1:0"], "", password)
    };
    for password in [None, Some("short"), Some("password1234")] {
        let environment: Vec<_> =
            password.map(|password| ("MLGATE_ADMIN_PASSWORD", password)).into_iter().collect();
        let ran = serve(&environment);
        assert_eq!(ran.code, 2, "{password:?}");
        assert!(ran.err.contains("MLGATE_ADMIN_PASSWORD"), "{}", ran.err);
    }
    assert_eq!(mlgate.json(&["user", "list"]), serde_json::json!([]));
}

#[test]
fn an_import_shows_first_and_writes_when_told() {
    let mlgate = Mlgate::new();
    let file = mlgate.path().join("users");
    std::fs::write(&file, "alice:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\nbob:nonsense\n").unwrap();
    let dry = mlgate.ok(&["import", "htpasswd", "users"]);
    assert!(dry.contains("+ create user alice") && dry.contains("! user bob"), "{dry}");
    assert_eq!(mlgate.json(&["user", "list"]), serde_json::json!([]));
    mlgate.ok(&["import", "htpasswd", "users", "--apply"]);
    assert_eq!(mlgate.json(&["user", "list"])[0]["username"], "alice");
    assert_eq!(mlgate.json(&["import", "htpasswd", "users"])["additions"], serde_json::json!([]));
}

#[test]
fn a_name_of_an_identity_provider_gets_no_password_by_any_command() {
    let mlgate = Mlgate::new();
    mlgate.ok(&["settings", "set", "reserved_username_prefixes", "idp|"]);
    let shown = mlgate.json(&["settings", "get", "reserved_username_prefixes"]);
    assert_eq!(shown["reserved_username_prefixes"], "idp|");
    let error = mlgate.refused(&["user", "create", "idp|carol", "--generate"]);
    assert!(error.contains("reserved"), "{error}");
    let users = "idp|carol:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n";
    std::fs::write(mlgate.path().join("users"), users).unwrap();
    let error = mlgate.refused(&["import", "htpasswd", "users", "--apply"]);
    assert!(error.contains("reserved"), "{error}");
    assert_eq!(mlgate.json(&["user", "list"]), serde_json::json!([]));
    // A row without a password, so that the identity provider's user can be an administrator.
    mlgate.ok(&["user", "create", "idp|carol", "--service-account", "--admin"]);
    let error = mlgate.refused(&["user", "set-password", "idp|carol", "--generate"]);
    assert!(error.contains("reserved"), "{error}");
    // A configuration wins over the store, and the export has what the store says.
    let fixed = [("MLGATE_RESERVED_USERNAME_PREFIXES", "corp:")];
    let refused = mlgate.run_with(&["user", "create", "corp:x", "--generate"], "", &fixed);
    assert_eq!(refused.code, 2, "{}", refused.out);
    assert_eq!(mlgate.json(&["export"])["settings"]["reserved_username_prefixes"], "idp|");
}

#[test]
fn explain_reads_a_request_as_the_filter_does() {
    let mlgate = Mlgate::new();
    let run = "0123456789abcdef0123456789abcdef";
    let said = mlgate.ok(&["explain", "GET", &format!("/api/2.0/mlflow/runs/get?run_id={run}")]);
    assert!(said.contains(&format!("read on the experiment of run {run}")), "{said}");
    assert!(mlgate.ok(&["explain", "GET", "/nowhere"]).contains("403"));
    assert!(!mlgate.json(&["routes"]).as_array().unwrap().is_empty());
    assert!(!mlgate.path().join("mlgate.db").exists(), "neither opens a store");
}

#[test]
fn a_token_is_created_with_scopes_and_an_end_listed_and_revoked() {
    let mlgate = Mlgate::new();
    mlgate.ok(&["user", "create", "ci", "--service-account"]);
    let scopes = ["token", "create", "ci", "nightly", "--scopes", "read,experiment:12"];
    let created = mlgate.json(&[&scopes[..], &["--expires", "12h"]].concat());
    let secret = created["token"].as_str().unwrap();
    assert!(secret.starts_with("mlg_") && secret.len() == 52, "{secret}");
    let listed = mlgate.json(&["token", "list", "--user", "ci"]);
    let token = &listed[0];
    assert_eq!(token["scopes"], serde_json::json!(["read", "experiment:12"]));
    let lifetime = token["expires_at"].as_i64().unwrap() - token["created_at"].as_i64().unwrap();
    assert!((12 * 3_600_000 - lifetime).abs() < 60_000, "{lifetime}");
    assert!(!listed.to_string().contains(secret), "only its beginning is kept");
    assert!(mlgate.ok(&["token", "list"]).contains("read, experiment:12"));
    mlgate.ok(&["token", "revoke", &token["id"].to_string()]);
    assert!(mlgate.ok(&["token", "list"]).contains("revoked"));
    for wrong in ["reading", "experiment:07", "experiment:*", "read,"] {
        let ran = mlgate.run(&["token", "create", "ci", "other", "--scopes", wrong]);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("--scopes") && ran.err.contains("experiment:ID"), "{}", ran.err);
    }
}

#[test]
fn an_unavailable_store_is_said_with_its_cause_once() {
    let mlgate = Mlgate::new();
    // Nobody listens on this port.
    let ran = mlgate.run(&["--store", "postgresql://mlgate@127.0.0.1:1/mlgate", "user", "list"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.err.matches("refused").count(), 1, "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn the_store_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let mlgate = Mlgate::new();
    mlgate.ok(&["user", "list"]);
    for entry in std::fs::read_dir(mlgate.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}
