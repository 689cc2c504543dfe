//! An empty process, whose time is the minimum of any process.

fn main() {}
