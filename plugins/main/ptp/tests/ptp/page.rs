//! The examples of the plugin's page work.

use crate::common::ptp;
use testkit::{Host, examples_work};

#[test]
fn every_example_works() {
    const PAGE: &str = include_str!("../../../../../Documentation/plugins/ptp.md");
    examples_work(&ptp(), PAGE, 3, |_| {
        let host = Host::new();
        (host.container("c1"), host)
    });
}
