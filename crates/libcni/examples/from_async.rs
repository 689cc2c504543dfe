//! Attaches containers from asynchronous code, several at the same time.
//!
//! The calls of libcni block while plugins run, so each runs on a thread that may block:
//! `spawn_blocking` of tokio, `unblock` of smol. A call that has begun is not cancelled when
//! its future is dropped; it has a deadline instead.
//!
//! `cargo run --example from_async NETWORK NETNS…` attaches the namespaces to a network of
//! `NETCONFPATH` (default `/etc/cni/net.d`) with plugins of `CNI_PATH`, prints the results,
//! and detaches them.
#![allow(clippy::print_stdout, reason = "a program for the command line")]

use libcni::{Attachment, Cni, NetworkList, load_list};
use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::task::{JoinError, spawn_blocking};

/// How long an attachment may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Attaches a container, and detaches it: DEL is due after a failed ADD, too.
async fn visit(
    cni: Cni,
    list: Arc<NetworkList>,
    attachment: Attachment,
) -> Result<Result<String, libcni::Error>, JoinError> {
    spawn_blocking(move || {
        let cni = cni.deadline(Instant::now() + LIMIT);
        let added = cni.add(&list, &attachment);
        cni.del(&list, &attachment)?;
        match added? {
            Some(result) => result.to_json(),
            None => Ok("the network has no plugins".to_owned()),
        }
    })
    .await
}

async fn visit_all(
    cni: Cni,
    list: NetworkList,
    namespaces: impl Iterator<Item = String>,
) -> Result<(), Box<dyn Error>> {
    let list = Arc::new(list);
    let mut visits = Vec::new();
    for (number, netns) in namespaces.enumerate() {
        let attachment = Attachment::new(format!("example-{number}"), netns, "eth0");
        let visit = visit(cni.clone(), Arc::clone(&list), attachment);
        visits.push(tokio::spawn(visit));
    }
    for visit in visits {
        println!("{}", visit.await???);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let network = arguments
        .next()
        .ok_or("usage: from_async NETWORK NETNS...")?;
    let dir = env::var_os("NETCONFPATH").unwrap_or_else(|| "/etc/cni/net.d".into());
    let list = load_list(dir.as_ref(), &network)?;
    let path = env::var_os("CNI_PATH").unwrap_or_default();
    let mut cni = Cni::new(env::split_paths(&path));
    if let Some(dir) = env::var_os("CNI_CACHE_DIR") {
        cni = cni.cache_dir(dir);
    }
    let runtime = Builder::new_current_thread().build()?;
    runtime.block_on(visit_all(cni, list, arguments))
}
