//! Programs that run while a test does.

use std::process::{Child, Command, Stdio};

/// A program in the background, ended with the value.
#[derive(Debug)]
pub struct Service(Child);

impl Service {
    /// Starts a program, in the namespaces of the calling thread. What it prints is lost.
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
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
