//! Plugins that are replaced under living containers: by ours, by upstream's again, and by another version of ours.
//!
//! A site begins with upstream's binaries of Debian's package (1.1.1). Every call goes through libcni and the runtime's
//! cache, and the files are exchanged in one directory, while a TCP connection to a published port continues.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests end the test by panicking"
)]

mod networks;
mod pod;
mod records;
mod site;
mod traffic;

use site::{Method, Side, Site};
use traffic::{Busy, Flow};

/// Upstream's plugins are replaced by ours, these by upstream's, and again by ours. Pods of each time live on, and are
/// deleted by the other side.
#[test]
fn networks_and_traffic_survive() {
    let mut site = Site::new();
    let before = site.settled();

    let (old, forgotten) = (site.attach("old"), site.attach("forgotten"));
    let flow = Flow::open(&site, &old);
    let busy = Busy::start(&site);
    site.install(Side::Ours, Method::Installer);
    busy.end();
    flow.continues();
    site.check(&old);
    site.works(&old);
    let new = site.attach("new");
    site.works(&new);
    site.are_distinct(&[&old, &forgotten, &new]);
    site.reaches(&new, &old);
    drop(forgotten);
    site.collect(&[&old, &new]);
    flow.continues();

    let busy = Busy::start(&site);
    site.install(Side::Peer, Method::Installer);
    busy.end();
    flow.continues();
    for pod in [&old, &new] {
        site.check(pod);
        site.works(pod);
    }
    let late = site.attach("late");
    site.works(&late);
    site.are_distinct(&[&old, &new, &late]);
    site.reaches(&late, &new);
    site.detach(new);
    flow.continues();

    site.install(Side::Ours, Method::Copy);
    for pod in [&old, &late] {
        site.check(pod);
        site.works(pod);
    }
    site.detach(late);
    flow.end();
    site.detach(old);
    site.collect(&[]);
    site.assert_back(&before);
}
