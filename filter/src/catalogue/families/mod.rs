//! The catalogue's lines.

mod experiments;
mod runs;
mod ui;

use super::Route;

pub const ALL: &[&[Route]] = &[experiments::ROUTES, runs::ROUTES, ui::ROUTES];
