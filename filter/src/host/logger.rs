//! Envoy's log, as the `log` crate's.
#![allow(unsafe_code)]

use super::abi::{proxy_get_log_level, proxy_log};

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = match record.level() {
                log::Level::Trace => 0,
                log::Level::Debug => 1,
                log::Level::Info => 2,
                log::Level::Warn => 3,
                log::Level::Error => 4,
            };
            write_log(level, &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn write_log(level: u32, message: &str) {
    // SAFETY: pointer and length are of a live slice.
    let _ = unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

/// Sends `log` records and panic messages to Envoy's log. Calls nothing: the host refuses every
/// call but logging until the VM has started.
pub fn install_logger() {
    if log::set_logger(&Logger).is_ok() {
        std::panic::set_hook(Box::new(|info| write_log(5, &info.to_string())));
    }
    log::set_max_level(log::LevelFilter::Info);
}

/// Follows Envoy's level for wasm, so that records nobody reads are not even formatted.
pub fn follow_log_level() {
    let mut level = 2_u32;
    // SAFETY: the pointer is to a live local.
    let _ = unsafe { proxy_get_log_level(&mut level) };
    log::set_max_level(match level {
        0 => log::LevelFilter::Trace,
        1 => log::LevelFilter::Debug,
        2 => log::LevelFilter::Info,
        3 => log::LevelFilter::Warn,
        _ => log::LevelFilter::Error,
    });
}
