//! Prints when the container with a label appears and goes: `follow com.docker.compose.service=web`.
#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::ops::ControlFlow;
use std::time::Duration;

use runtime_api::{Docker, Error, Event, Label};

fn main() -> Result<(), Error> {
    let label: Label = std::env::args().nth(1).unwrap_or_default().parse()?;
    let docker = Docker::from_environment(Duration::from_secs(10))?;
    docker.follow(&label, None, |event| {
        match event {
            Event::Available(container) => println!("{} runs: {}", container.name, container.pid),
            Event::Gone(container) => println!("{} is gone", container.name),
        }
        ControlFlow::Continue(())
    })
}
