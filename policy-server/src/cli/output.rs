//! What commands print.

use std::io::Write as _;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

/// The result of a command, in both forms.
#[derive(Debug)]
pub(super) struct Output {
    text: String,
    json: Value,
    code: u8,
}

impl Output {
    pub(super) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, code: 0 }
    }

    /// Something was changed.
    pub(super) fn done(text: impl Into<String>, revision: u64) -> Self {
        Self::new(text, json!({ "revision": revision }))
    }

    pub(super) fn table<const N: usize>(
        headers: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
        json: Value,
    ) -> Self {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(headers.map(str::to_uppercase))
            .add_rows(rows.into_iter().map(|row| row.map(printable)));
        let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
        Self::new(lines.join("\n"), json)
    }

    pub(super) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    pub(super) fn print(self, json: bool) -> ExitCode {
        let text = if json { format!("{:#}", self.json) } else { self.text };
        // A reader that has gone away, such as `head`, is no failure.
        let _ = if text.is_empty() {
            Ok(())
        } else {
            writeln!(std::io::stdout().lock(), "{}", text.trim_end())
        };
        ExitCode::from(self.code)
    }
}

/// The error with its causes, on standard error.
pub(super) fn print_error(error: &anyhow::Error, json: bool) {
    let message = format!("{error:#}");
    if json {
        eprintln!("{}", json!({ "error": message }));
    } else {
        eprintln!("error: {message}");
    }
}

/// Names that others chose must not move the cursor of whoever lists them.
fn printable(cell: String) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `yes` or an empty cell.
pub(super) fn mark(flag: bool) -> String {
    if flag { "yes".to_owned() } else { String::new() }
}

/// A time as `2026-11-21 07:05:09Z`.
pub(super) fn time(millis: i64) -> String {
    let seconds = millis.div_euclid(1000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Days since the epoch as a date of the Gregorian calendar, after Howard Hinnant's
/// `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        // date -u -d @1795244709
        assert_eq!(time(1_795_244_709_123), "2026-11-21 07:05:09Z");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(time(0), "1970-01-01 00:00:00Z");
    }
}
