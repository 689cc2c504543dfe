//! The floor under every process: starts and ends.

fn main() {}
