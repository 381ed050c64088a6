//! The demo's admin: chosen or generated once, kept in the data directory.

use anyhow::{Context, Result, bail};
use rand::Rng;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// As the policy server demands.
const SHORTEST_PASSWORD: usize = 12;

#[derive(Serialize, Deserialize, PartialEq)]
pub struct Admin {
    pub user: String,
    pub password: String,
}

impl Admin {
    /// What the options ask for, else what the data directory remembers, else a new one.
    pub fn settle(data_dir: &Path, user: Option<&str>, password: Option<&str>) -> Result<Self> {
        if let Some(password) = password
            && password.chars().count() < SHORTEST_PASSWORD
        {
            bail!("--admin-password: at least {SHORTEST_PASSWORD} characters are needed");
        }
        if let Some(user) = user
            && (user.is_empty() || user.contains(':') || user.chars().any(char::is_control))
        {
            bail!("--admin-user {user:?}: a name without colons and control characters is needed");
        }
        let file = data_dir.join("admin.json");
        let kept = Self::read(&file)?;
        let kept = kept.filter(|kept| user.is_none_or(|user| user == kept.user));
        let admin = Self {
            user: user.or(kept.as_ref().map(|k| k.user.as_str())).unwrap_or("admin").to_owned(),
            password: match (password, kept) {
                (Some(password), _) => password.to_owned(),
                (None, Some(kept)) => kept.password,
                (None, None) => generate(),
            },
        };
        admin.write(&file)?;
        Ok(admin)
    }

    fn read(file: &Path) -> Result<Option<Self>> {
        match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged", file.display()))
                .map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    fn write(&self, file: &Path) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut handle =
            options.open(file).with_context(|| format!("cannot write {}", file.display()))?;
        handle.write_all(&serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

fn generate() -> String {
    rand::rng().sample_iter(Alphanumeric).take(24).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_password_is_kept_for_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let first = Admin::settle(dir.path(), None, None).unwrap();
        assert_eq!(first.user, "admin");
        assert!(first.password.len() >= SHORTEST_PASSWORD);
        let second = Admin::settle(dir.path(), None, None).unwrap();
        assert!(first == second);
    }

    #[test]
    fn a_short_password_is_refused_by_the_flags_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = Admin::settle(dir.path(), None, Some("short")).err().unwrap();
        assert!(error.to_string().contains("--admin-password"));
    }

    #[test]
    fn another_admin_does_not_inherit_the_kept_password() {
        let dir = tempfile::tempdir().unwrap();
        let first = Admin::settle(dir.path(), None, None).unwrap();
        let other = Admin::settle(dir.path(), Some("root"), None).unwrap();
        assert!(first.password != other.password);
    }
}
