//! Where a new password comes from.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use rand::Rng as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::credentials::hash_new;
use crate::domain::check_new_password;

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct PasswordArgs {
    /// The password; visible to other users of this machine while the command runs
    #[arg(long, value_name = "PASSWORD")]
    password: Option<SecretString>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    /// Generate a password and print it, this once
    #[arg(long)]
    generate: bool,
}

/// A password that passed the policy, hashed.
pub(super) struct NewPassword {
    pub(super) hash: SecretString,
    /// Set when it was generated, to be shown once.
    pub(super) generated: Option<SecretString>,
}

impl PasswordArgs {
    /// From the flags, or from a prompt when there is a terminal.
    pub(super) fn obtain(self, username: &str) -> anyhow::Result<NewPassword> {
        if self.generate {
            let generated = generate();
            let hash = hash(&generated)?;
            return Ok(NewPassword { hash, generated: Some(generated) });
        }
        let (password, source) = match self {
            Self { password: Some(password), .. } => (password, "--password"),
            Self { password_stdin: true, .. } => (first_line()?, "--password-stdin"),
            _ => (prompt(username)?, "password"),
        };
        check_new_password(password.expose_secret()).context(source)?;
        Ok(NewPassword { hash: hash(&password)?, generated: None })
    }
}

pub(super) fn hash(password: &SecretString) -> anyhow::Result<SecretString> {
    Ok(hash_new(password.expose_secret())?.into())
}

/// 24 letters and digits without those that look alike: 137 bits.
fn generate() -> SecretString {
    const ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut random = rand::rng();
    let letters: String =
        (0..24).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
    letters.into()
}

fn first_line() -> anyhow::Result<SecretString> {
    let mut text = String::new();
    std::io::stdin()
        .take(64 * 1024)
        .read_to_string(&mut text)
        .context("--password-stdin: standard input")?;
    Ok(text.lines().next().unwrap_or_default().into())
}

pub(super) fn prompt(username: &str) -> anyhow::Result<SecretString> {
    if !std::io::stdin().is_terminal() {
        bail!("no password given: use --password-stdin, --generate, or a terminal");
    }
    let first = rpassword::prompt_password(format!("Password for {username}: "))?;
    let second = rpassword::prompt_password("Once more: ")?;
    if first != second {
        bail!("the two passwords differ");
    }
    Ok(first.into())
}
