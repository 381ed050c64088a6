//! What the file system says of a SQLite file: reading it costs microseconds, where asking the
//! database for its revision costs a hundred.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long after a file was written it may hold more than could be read then. File systems take
/// their times from a clock that ticks every 1 to 10 ms; and a commit can be read only once what
/// it has written is on the disk, which may take a while.
const GRAIN: Duration = Duration::from_secs(1);

/// The state of a database's files at one moment. A commit of any process changes it, but for
/// one in the tick of the commit before, which [`Stamp::is_settled`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    database: FileStamp,
    /// Where commits go first (<https://sqlite.org/wal.html>); absent before the first one.
    log: Option<FileStamp>,
}

/// Device and number of a file: another one may have been put in its place.
pub(super) type Identity = (u64, u64);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    identity: Identity,
    length: u64,
    modified: SystemTime,
}

impl Stamp {
    /// `None` where the file system does not say.
    pub fn read(database: &Path) -> Option<Self> {
        Some(Self { database: FileStamp::read(database)?, log: FileStamp::read(&log_of(database)) })
    }

    /// The files themselves, if both are there.
    pub fn files(&self) -> Option<[Identity; 2]> {
        Some([self.database.identity, self.log.as_ref()?.identity])
    }

    /// Whether whatever can be read later than `before` is sure to show in a stamp. `before` is
    /// when this one was about to be read.
    pub fn is_settled(&self, before: SystemTime) -> bool {
        self.rested(before) > GRAIN
    }

    /// For how long neither file was written.
    pub fn rested(&self, now: SystemTime) -> Duration {
        let files = [Some(&self.database), self.log.as_ref()];
        // A time to come, after the clock was set back, tells nothing.
        let age = |file: &FileStamp| now.duration_since(file.modified).unwrap_or_default();
        files.into_iter().flatten().map(age).min().unwrap_or_default()
    }
}

/// Where SQLite keeps what is committed and not yet in the database's file.
pub(super) fn log_of(database: &Path) -> PathBuf {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

impl FileStamp {
    #[cfg(unix)]
    fn read(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path).ok()?;
        let identity = (found.dev(), found.ino());
        Some(Self { identity, length: found.len(), modified: found.modified().ok()? })
    }

    #[cfg(not(unix))]
    fn read(_: &Path) -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Channel, NewUser, Store, testing};
    use super::*;

    async fn create(store: &Store, name: &str) {
        let actor = Actor::new("tester", Channel::Cli);
        store.create_user(&actor, &NewUser::service_account(name)).await.unwrap();
    }

    fn stamp(store: &Store) -> Stamp {
        Stamp::read(store.url().sqlite_path().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_commit_of_another_connection_changes_a_settled_stamp() {
        let (store, _directory) = testing::temporary().await;
        let other = Store::connect(&store.url().to_string()).await.unwrap();
        for n in 0..2 {
            tokio::time::sleep(GRAIN + Duration::from_millis(20)).await;
            let begun = SystemTime::now();
            let before = stamp(&store);
            assert!(before.is_settled(begun));
            create(&other, &format!("ci-{n}")).await;
            let after = stamp(&store);
            assert_ne!(before, after, "commit {n}");
            assert!(!after.is_settled(SystemTime::now()), "commit {n}");
        }
    }

    #[tokio::test]
    async fn reading_changes_nothing() {
        let (store, _directory) = testing::temporary().await;
        create(&store, "ci").await;
        let before = stamp(&store);
        store.revision().await.unwrap();
        assert_eq!(before, stamp(&store));
    }

    #[tokio::test]
    async fn what_is_not_there_has_no_stamp() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Stamp::read(&directory.path().join("policy.db")), None);
    }
}
