//! Plugins that are killed before each change that they make: by the OOM killer, after a timeout of the runtime, or with
//! the node. DEL deletes whatever had been done by then, as does GC if there is no DEL, and other attachments are not
//! affected.

mod cases;
mod dhcp;
mod power_loss;
mod report;
mod stage;
mod sweep;
