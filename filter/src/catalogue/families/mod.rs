//! The catalogue's lines.

mod administration;
mod artifacts;
mod datasets;
mod experiments;
mod gateway;
mod gateway_references;
mod graphql;
mod jobs;
mod logged_models;
mod mcp;
mod otlp;
mod registry;
mod reviews;
mod runs;
mod scorers;
mod skills;
mod traces;
mod ui;
mod version_source;

use super::Route;

pub const ALL: &[&[Route]] = &[
    experiments::ROUTES,
    runs::ROUTES,
    traces::ROUTES,
    otlp::ROUTES,
    logged_models::ROUTES,
    registry::ROUTES,
    artifacts::ROUTES,
    datasets::ROUTES,
    scorers::ROUTES,
    reviews::ROUTES,
    gateway::ROUTES,
    mcp::ROUTES,
    jobs::ROUTES,
    skills::ROUTES,
    administration::ROUTES,
    graphql::ROUTES,
    ui::ROUTES,
];
