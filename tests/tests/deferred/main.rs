//! Deletions whose end the plugin does not wait for: what is gone when DEL returns, and what is left of the process
//! that waits for the kernel.

mod descriptors;
mod limits;
mod processes;
mod repeat;
