//! Programs that run in the background of a test.

use std::process::{Child, Command, Stdio};

/// A program in the background, which is killed when this value is dropped.
#[derive(Debug)]
pub struct Service(Child);

impl Service {
    /// Starts a program in the namespaces of the calling thread. Its output is discarded.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(words: &[&str]) -> Service {
        let (program, arguments) = words.split_first().expect("a program");
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Service(child.unwrap_or_else(|err| panic!("{words:?}: {err}")))
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
