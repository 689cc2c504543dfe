//! Watches whether a file exists all the time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A thread that looks at a file until it is stopped.
pub(super) struct Watch {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    pub(super) fn start(path: PathBuf) -> Watch {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            let mut absent = Duration::ZERO;
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                // A look takes microseconds, so what it finds holds since the last one.
                let exists = path.symlink_metadata().is_ok();
                let now = Instant::now();
                if !exists {
                    absent += now - last;
                }
                last = now;
                thread::sleep(Duration::from_millis(1));
            }
            absent
        });
        Watch { stopped, thread }
    }

    /// Returns for how long the file did not exist.
    pub(super) fn stop(self) -> Duration {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
