//! The examples of the documentation, run.

use crate::common::{attached, prev, vrf};
use testkit::examples_work;

const PAGE: &str = include_str!("../../../../../Documentation/plugins/vrf.md");

#[test]
fn every_example_works() {
    examples_work(&vrf(), PAGE, 2, |config| {
        let (network, container) = attached();
        config["prevResult"] = prev("1.1.0");
        (container, network)
    });
}
