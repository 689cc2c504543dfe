//! Output of a machine.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::Machine;

/// The lines that `init.sh` prints before and after the output of the command. All other lines are the kernel's.
const START: &str = "--- init: start";
const END: &str = "--- init: end";

/// The number of last lines in the error if a machine died.
const TAIL: usize = 40;

impl Machine {
    /// Reads the output until the machine ends, keeps the last lines, and passes on those of the command.
    pub(super) fn follow(
        &self,
        output: PipeReader,
        tail: &mut VecDeque<String>,
        mut line: impl FnMut(&str),
    ) -> Result<()> {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for bytes in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                // A console also ends lines with a carriage return.
                let text = String::from_utf8_lossy(&bytes)
                    .trim_end_matches('\r')
                    .to_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + self.deadline;
        let mut is_running = false;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left.min(self.silence)) {
                Ok(text) => {
                    is_running &= text != END;
                    if is_running {
                        line(&text);
                    }
                    is_running |= text == START;
                    if tail.len() == TAIL {
                        tail.pop_front();
                    }
                    tail.push_back(text);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if left <= self.silence => {
                    bail!("did not end within {:?}", self.deadline)
                }
                Err(RecvTimeoutError::Timeout) => bail!("has been silent for {:?}", self.silence),
            }
        }
    }
}
