//! The kernel's word that a SQLite file is written, by whichever process.
//!
//! It spares looking at the files forty times a second, and nothing hangs on it: where there is none,
//! or it cannot be had for both files, whoever waits looks that often.

#[cfg(target_os = "linux")]
pub(super) use self::linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(super) use self::none::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use std::path::Path;

    use futures_util::{FutureExt as _, StreamExt as _};
    use inotify::{EventStream, Inotify, WatchMask, Watches};

    use super::super::stamp::{Identity, Stamp, log_of};

    /// For some sixty events.
    const BUFFER: usize = 1024;

    #[derive(Default)]
    pub struct Alarm(State);

    #[derive(Default)]
    enum State {
        #[default]
        New,
        Watching {
            events: EventStream<Vec<u8>>,
            watches: Watches,
            /// SQLite makes its log anew when nobody has used it for a while.
            files: Option<[Identity; 2]>,
        },
        /// The kernel has none to give.
        None,
    }

    impl Alarm {
        /// Sets it on the files that are there now. Gives whether every write from now on rings.
        pub fn watch(&mut self, database: &Path) -> bool {
            if matches!(self.0, State::New) {
                self.0 = open().unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot watch files: they are looked at instead");
                    State::None
                });
            }
            let State::Watching { watches, files, .. } = &mut self.0 else { return false };
            let found = Stamp::read(database).and_then(|stamp| stamp.files());
            if found.is_some() && *files == found {
                return true;
            }
            let mut add =
                |path: &Path| watches.add(path, WatchMask::MODIFY | WatchMask::CLOSE_WRITE);
            let set = add(database).is_ok() && add(&log_of(database)).is_ok();
            *files = found.filter(|_| set);
            // What is watched may not be what was found: only the next look can tell.
            false
        }

        /// Waits for a write. Safe to cancel.
        pub async fn rung(&mut self) {
            let State::Watching { events, .. } = &mut self.0 else {
                return std::future::pending().await;
            };
            if let Some(Ok(_)) = events.next().await {
                // One look is enough for all that was written before it.
                while let Some(Some(Ok(_))) = events.next().now_or_never() {}
                return;
            }
            tracing::warn!("files can be watched no more: they are looked at instead");
            self.0 = State::None;
        }
    }

    fn open() -> std::io::Result<State> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        let events = inotify.into_event_stream(vec![0; BUFFER])?;
        Ok(State::Watching { events, watches, files: None })
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use std::path::Path;

    #[derive(Default)]
    pub struct Alarm;

    impl Alarm {
        pub fn watch(&mut self, _: &Path) -> bool {
            false
        }

        pub async fn rung(&mut self) {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::{Actor, Channel, NewUser, Store, testing};
    use super::Alarm;

    async fn create(store: &Store, name: &str) {
        let actor = Actor::new("tester", Channel::Cli);
        store.create_user(&actor, &NewUser::service_account(name)).await.unwrap();
    }

    async fn rings(alarm: &mut Alarm) -> bool {
        tokio::time::timeout(Duration::from_millis(300), alarm.rung()).await.is_ok()
    }

    #[tokio::test]
    async fn a_commit_of_another_connection_rings_and_reading_does_not() {
        let (store, _directory) = testing::temporary().await;
        create(&store, "first").await;
        let path = store.url().sqlite_path().unwrap();
        let mut alarm = Alarm::default();
        assert!(!alarm.watch(path), "it is set only now");
        assert!(alarm.watch(path));
        store.revision().await.unwrap();
        assert!(!rings(&mut alarm).await);
        let other = Store::connect(&store.url().to_string()).await.unwrap();
        create(&other, "second").await;
        assert!(rings(&mut alarm).await);
    }

    #[tokio::test]
    async fn a_file_that_was_put_in_the_place_of_another_is_watched_before_it_is_relied_on() {
        let directory = tempfile::tempdir().unwrap();
        let (database, log) = (directory.path().join("a"), directory.path().join("a-wal"));
        std::fs::write(&database, "").unwrap();
        let mut alarm = Alarm::default();
        for _ in 0..3 {
            assert!(!alarm.watch(&database), "there is no log");
        }
        for _ in 0..2 {
            let other = directory.path().join("other");
            std::fs::write(&other, "").unwrap();
            std::fs::rename(&other, &log).unwrap();
            assert!(!alarm.watch(&database));
            assert!(alarm.watch(&database));
            while rings(&mut alarm).await {}
            std::fs::write(&log, "a commit").unwrap();
            assert!(rings(&mut alarm).await);
        }
    }

    #[tokio::test]
    async fn a_commit_of_another_process_is_heard_of_at_once_after_a_long_rest() {
        let (store, _directory) = testing::temporary().await;
        create(&store, "first").await;
        let mut feed = store.changes();
        let other = Store::connect(&store.url().to_string()).await.unwrap();
        let mut took = Duration::ZERO;
        for n in 0..5 {
            tokio::time::sleep(Duration::from_millis(1_150)).await;
            create(&other, &format!("ci-{n}")).await;
            let committed = Instant::now();
            feed.next().await;
            took += committed.elapsed();
        }
        // Without the alarm: five times half of it.
        assert!(took < super::super::feed::SQLITE_REST, "{took:?} for five");
    }
}
