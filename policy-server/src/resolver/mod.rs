//! Where MLflow's ids live: from a run, trace, model, … to the object that grants are about.
//!
//! Read from MLflow's tracking database, or through its REST API. A lookup that fails is an error
//! and never an answer: what could not be read is neither absent nor allowed.

mod artifact;
mod at_once;
mod database;
mod incumbent;
mod reference;
mod rest;
mod runs;
mod schema;
mod statement;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use moka::future::Cache;

pub use artifact::{ArtifactSource, Within, is_below, parse_artifact_uri};
pub use database::Database;
pub use incumbent::{Wanted, same};
pub use reference::{LookupError, Place, Places, Reference, Stability, stability};
pub use rest::Rest;

use reference::{NAME_REUSE, TRACE_REUSE};

use crate::contract::ReferenceKind;
use crate::metrics::Reuse;

#[derive(Debug, Clone, Copy)]
pub struct ResolverConfig {
    /// Entries of the cache of immutable mappings, about 200 bytes each.
    pub capacity: u64,
    /// How long one lookup may take.
    pub timeout: Duration,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self { capacity: 200_000, timeout: Duration::from_secs(1) }
    }
}

/// Where lookups are made.
pub enum Backend {
    Database(Database),
    Rest(Rest),
    /// Nothing is configured: requests that need a lookup cannot be decided.
    None,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct CacheKey {
    reference: Reference,
    /// Only for references that are unique within a workspace; else empty.
    workspace: String,
}

/// What a cached lookup yields when it is no `Places`. Errors are shared by those who wait for
/// the same lookup, and are not cached; so absence is one too.
#[derive(Debug, Clone)]
enum NotFound {
    Absent,
    Failed(LookupError),
}

pub struct Resolver {
    backend: Backend,
    config: ResolverConfig,
    immutable: Cache<CacheKey, Places>,
    traces: Cache<CacheKey, Places>,
    names: Cache<CacheKey, Places>,
    experiments: Cache<String, Option<String>>,
    models: Cache<(String, String), ModelKind>,
    workspaces: Cache<String, ()>,
    reuse: Reuse,
}

/// Which of the two families of grants a registered model belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    Model,
    Prompt,
}

impl Resolver {
    /// `reuse` counts references whose place is in memory.
    pub fn new(backend: Backend, config: ResolverConfig, reuse: Reuse) -> Self {
        fn brief<K, V>(reuse: Duration) -> Cache<K, V>
        where
            K: std::hash::Hash + Eq + Send + Sync + 'static,
            V: Clone + Send + Sync + 'static,
        {
            Cache::builder().max_capacity(20_000).time_to_live(reuse).build()
        }
        Self {
            backend,
            config,
            immutable: Cache::new(config.capacity),
            traces: brief(TRACE_REUSE),
            names: brief(NAME_REUSE),
            experiments: Cache::new(config.capacity),
            models: brief(NAME_REUSE),
            workspaces: brief(Duration::from_secs(30)),
            reuse,
        }
    }

    /// Where the referenced thing lives; empty when there is no such thing.
    ///
    /// # Errors
    /// `LookupError` when that could not be found out.
    pub async fn locate(
        &self,
        reference: &Reference,
        workspace: &str,
    ) -> Result<Places, LookupError> {
        let cache = match stability(reference.kind) {
            Stability::Immutable => &self.immutable,
            Stability::Brief(TRACE_REUSE) => &self.traces,
            Stability::Brief(_) => &self.names,
        };
        let workspace_scoped = statement::within_workspace(reference.kind);
        let key = CacheKey {
            reference: reference.clone(),
            workspace: if workspace_scoped { workspace.to_owned() } else { String::new() },
        };
        let known = cache.get(&key).await;
        self.reuse.count(known.is_some());
        if let Some(places) = known {
            return Ok(places);
        }
        if self.is_batched(reference.kind) {
            let places = match self.at_once(reference) {
                Some(places) => places,
                None => self.look_up(reference, workspace).await?,
            };
            let places = Places::from(places);
            if !places.is_empty() {
                cache.insert(key, Arc::clone(&places)).await;
            }
            return Ok(places);
        }
        let lookup = async {
            match self.look_up(reference, workspace).await {
                Ok(places) if places.is_empty() => Err(NotFound::Absent),
                Ok(places) => Ok(Places::from(places)),
                Err(error) => Err(NotFound::Failed(error)),
            }
        };
        match Box::pin(cache.try_get_with(key, lookup)).await {
            Ok(places) => Ok(places),
            Err(not_found) => match &*not_found {
                NotFound::Absent => Ok(Places::from(Vec::new())),
                NotFound::Failed(error) => Err(error.clone()),
            },
        }
    }

    /// Whether many who ask at once share a statement anyway, so that nobody need wait for
    /// another's lookup of the same.
    fn is_batched(&self, kind: ReferenceKind) -> bool {
        kind == ReferenceKind::RunId && matches!(self.backend, Backend::Database(_))
    }

    /// The workspace of an experiment; `None` when there is no such experiment, or the REST API is
    /// asked and it is not in this workspace.
    ///
    /// # Errors
    /// As for [`Resolver::locate`].
    pub async fn experiment_workspace(
        &self,
        id: &str,
        workspace: &str,
    ) -> Result<Option<String>, LookupError> {
        if let Some(known) = self.experiments.get(id).await {
            return Ok(known);
        }
        let found = self
            .within_time(async {
                match &self.backend {
                    Backend::Database(database) => database.experiment_workspace(id).await,
                    Backend::Rest(rest) => rest.experiment_workspace(id, workspace).await,
                    Backend::None => Err(LookupError::Unconfigured),
                }
            })
            .await?;
        if found.is_some() {
            self.experiments.insert(id.to_owned(), found.clone()).await;
        }
        Ok(found)
    }

    /// Whether the registered model of that name is a prompt; `None` when there is none.
    ///
    /// # Errors
    /// As for [`Resolver::locate`].
    pub async fn model_kind(
        &self,
        name: &str,
        workspace: &str,
    ) -> Result<Option<ModelKind>, LookupError> {
        let key = (workspace.to_owned(), name.to_owned());
        if let Some(known) = self.models.get(&key).await {
            return Ok(Some(known));
        }
        let lookup = async {
            let found = self.within_time(async {
                match &self.backend {
                    Backend::Database(database) => database.model_kind(name, workspace).await,
                    Backend::Rest(rest) => rest.model_kind(name, workspace).await,
                    Backend::None => Err(LookupError::Unconfigured),
                }
            });
            // Absence is not cached: clients ask for a prompt and, without one, make it.
            found.await.map_err(NotFound::Failed)?.ok_or(NotFound::Absent)
        };
        match Box::pin(self.models.try_get_with(key, lookup)).await {
            Ok(kind) => Ok(Some(kind)),
            Err(not_found) => match &*not_found {
                NotFound::Absent => Ok(None),
                NotFound::Failed(error) => Err(error.clone()),
            },
        }
    }

    /// As [`Resolver::model_kind`] for many names: those that are prompts. A database is asked
    /// for hundreds at a time.
    ///
    /// # Errors
    /// As for [`Resolver::locate`].
    pub async fn prompts(
        &self,
        names: &[&str],
        workspace: &str,
    ) -> Result<HashSet<String>, LookupError> {
        let mut prompts = HashSet::new();
        let Backend::Database(database) = &self.backend else {
            for name in names {
                if self.model_kind(name, workspace).await? == Some(ModelKind::Prompt) {
                    prompts.insert((*name).to_owned());
                }
            }
            return Ok(prompts);
        };
        for some in names.chunks(database::MAX_NAMES) {
            prompts.extend(self.within_time(database.prompts(some, workspace)).await?);
        }
        Ok(prompts)
    }

    /// Whether the workspace exists. Only asked when workspaces are on.
    ///
    /// # Errors
    /// As for [`Resolver::locate`].
    pub async fn workspace_exists(&self, name: &str) -> Result<bool, LookupError> {
        if name == crate::domain::DEFAULT_WORKSPACE || self.workspaces.get(name).await.is_some() {
            return Ok(true);
        }
        let exists = self
            .within_time(async {
                match &self.backend {
                    Backend::Database(database) => database.workspace_exists(name).await,
                    Backend::Rest(rest) => rest.workspace_exists(name).await,
                    Backend::None => Err(LookupError::Unconfigured),
                }
            })
            .await?;
        if exists {
            self.workspaces.insert(name.to_owned(), ()).await;
        }
        Ok(exists)
    }

    /// The root of the artifacts of a run or a logged model, as MLflow recorded it.
    ///
    /// # Errors
    /// As for [`Resolver::locate`].
    pub async fn artifact_root(
        &self,
        owner: ReferenceKind,
        id: &str,
        workspace: &str,
    ) -> Result<Option<String>, LookupError> {
        self.within_time(async {
            match &self.backend {
                Backend::Database(database) => database.artifact_root(owner, id).await,
                Backend::Rest(rest) => rest.artifact_root(owner, id, workspace).await,
                Backend::None => Err(LookupError::Unconfigured),
            }
        })
        .await
    }

    /// Whether the username is among the review queue's assigned users. Never cached. MLflow
    /// stores them trimmed and in lower case, and so compares names (`_review_queue_has_member`).
    ///
    /// # Errors
    /// As for [`Resolver::locate`].
    pub async fn is_assigned(
        &self,
        queue: &str,
        username: &str,
        workspace: &str,
    ) -> Result<bool, LookupError> {
        let username = &username.trim().to_lowercase();
        self.within_time(async {
            match &self.backend {
                Backend::Database(database) => database.is_assigned(queue, username).await,
                Backend::Rest(rest) => rest.is_assigned(queue, username, workspace).await,
                Backend::None => Err(LookupError::Unconfigured),
            }
        })
        .await
    }

    /// The id of a review queue that is given by experiment and name; `None` when there is none.
    ///
    /// # Errors
    /// As for [`Resolver::locate`].
    pub async fn queue_id(
        &self,
        named: &Reference,
        workspace: &str,
    ) -> Result<Option<String>, LookupError> {
        self.within_time(async {
            match &self.backend {
                Backend::Database(database) => database.queue_id(named).await,
                Backend::Rest(rest) => rest.queue_id(named, workspace).await,
                Backend::None => Err(LookupError::Unconfigured),
            }
        })
        .await
    }

    /// A run's place where nothing need be waited for to know it.
    fn at_once(&self, run: &Reference) -> Option<Vec<Place>> {
        match &self.backend {
            Backend::Database(database) => database.at_once(run),
            Backend::Rest(_) | Backend::None => None,
        }
    }

    /// Boxed: it is large, and most references are in memory.
    fn look_up<'a>(
        &'a self,
        reference: &'a Reference,
        workspace: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Place>, LookupError>> {
        self.within_time(async move {
            match &self.backend {
                Backend::Database(database) => database.locate(reference, workspace).await,
                Backend::Rest(rest) => rest.locate(reference, workspace).await,
                Backend::None => Err(LookupError::Unconfigured),
            }
        })
        .boxed()
    }

    async fn within_time<T>(
        &self,
        lookup: impl Future<Output = Result<T, LookupError>>,
    ) -> Result<T, LookupError> {
        tokio::time::timeout(self.config.timeout, lookup).await.unwrap_or_else(|_| {
            Err(LookupError::Unavailable {
                source_name: match self.backend {
                    Backend::Rest(_) => rest::NAME,
                    Backend::Database(_) | Backend::None => database::NAME,
                },
                why: "it did not answer in time".into(),
            })
        })
    }
}

/// As MLflow composes the id of a scorer for grants: `urllib.parse.quote(name, safe="")`.
pub fn scorer_key(experiment: &str, name: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const UNRESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');
    format!("{experiment}/{}", utf8_percent_encode(name, UNRESERVED))
}
