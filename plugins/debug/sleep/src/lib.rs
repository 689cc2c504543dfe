//! The sleep plugin: does not answer for a minute, whatever it is asked, then exits with success and without output.

use std::thread::sleep;
use std::time::Duration;

/// Runs the plugin.
pub fn main() {
    sleep(Duration::from_secs(60));
}
