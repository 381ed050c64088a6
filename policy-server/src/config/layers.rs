//! Where values come from: the file, over it the environment, over that flags.

use std::collections::BTreeMap;
use std::path::Path;

use super::ConfigError;
use super::fields::{FIELDS, Field, unknown_field};
use super::parse;
use crate::store::DatabaseUrl;

/// Values that were given, each with the place it came from. Later layers win.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, (String, String)>,
}

impl Layers {
    /// The file, then the environment. Flags are added with [`Layers::set_flag`].
    ///
    /// # Errors
    /// A file that can not be read or parsed, and names that are no fields.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        if let Some(path) = file {
            layers.read_file(path)?;
        }
        for (variable, value) in environment {
            layers.set_variable(&variable, value)?;
        }
        Ok(layers)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let error = |why: String| ConfigError { place: shown.clone(), why };
        let text = std::fs::read_to_string(path).map_err(|why| error(why.to_string()))?;
        // The parser's message quotes the line, which may hold a secret: its position will do.
        let table: toml::Table = toml::from_str(&text).map_err(|why| {
            let start = why.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            error(format!("line {line}: not TOML: {}", why.message()))
        })?;
        for (name, value) in table {
            let place = format!("{shown}: {name}");
            let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
                return Err(ConfigError { place, why: unknown_field() });
            };
            let value = plain(&value).ok_or_else(|| ConfigError {
                place: place.clone(),
                why: "expected a string, number, boolean or list of strings".to_owned(),
            })?;
            self.values.insert(field.name, (value, place));
        }
        Ok(())
    }

    /// Variables of other programs pass; a misspelt one of ours does not. So does
    /// `MLGATE_ADMIN_*`, which `serve` reads for the first administrator.
    fn set_variable(&mut self, variable: &str, value: String) -> Result<(), ConfigError> {
        let Some(name) = variable.strip_prefix("MLGATE_") else { return Ok(()) };
        if matches!(name, "CONFIG" | "LOG" | "ADMIN_USERNAME" | "ADMIN_PASSWORD")
            || name.starts_with("TEST_")
        {
            return Ok(());
        }
        match FIELDS.iter().find(|field| field.name.to_ascii_uppercase() == name) {
            // An empty variable is how shells and container platforms unset one.
            Some(_) if value.is_empty() => Ok(()),
            Some(field) => {
                self.values.insert(field.name, (value, variable.to_owned()));
                Ok(())
            }
            None => Err(ConfigError { place: variable.to_owned(), why: unknown_field() }),
        }
    }

    /// Sets a field from its flag.
    pub fn set_flag(&mut self, name: &'static str, value: String) {
        let flag = format!("--{}", name.replace('_', "-"));
        self.values.insert(name, (value, flag));
    }

    /// Each field's effective value, masked, and where it came from.
    pub fn shown(&self) -> Vec<(&'static str, Option<String>, String)> {
        FIELDS
            .iter()
            .map(|field| {
                let (value, place) = match self.values.get(field.name) {
                    Some((value, place)) => (Some(masked(field, value)), place.clone()),
                    None => (field.default.map(str::to_owned), "default".to_owned()),
                };
                (field.name, value, place)
            })
            .collect()
    }

    fn get(&self, name: &'static str) -> Option<Given<'_>> {
        match self.values.get(name) {
            Some((value, place)) => Some(Given { value, place }),
            None => FIELDS
                .iter()
                .find(|field| field.name == name)
                .and_then(|field| field.default)
                .map(|value| Given { value, place: name }),
        }
    }

    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        self.get(name)
            .map(|given| {
                read(given.value).map_err(|why| ConfigError { place: given.place.to_owned(), why })
            })
            .transpose()
    }

    pub(super) fn required<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.optional(name, read)?
            .ok_or_else(|| ConfigError { place: name.to_owned(), why: "is required".to_owned() })
    }
}

struct Given<'a> {
    value: &'a str,
    place: &'a str,
}

/// TOML's scalars as the text that the other sources would have; lists as comma-separated.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

fn masked(field: &Field, value: &str) -> String {
    match field.name {
        _ if field.secret => "***".to_owned(),
        "store" => DatabaseUrl::parse("store", value)
            .map_or_else(|_| "(not a URL)".to_owned(), |url| url.to_string()),
        "tracking_uri" => parse::tracking(value)
            .map_or_else(|_| "(not a URL)".to_owned(), |found| format!("{found:?}")),
        _ => value.to_owned(),
    }
}
