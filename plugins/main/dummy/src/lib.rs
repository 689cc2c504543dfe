//! The dummy plugin: an interface that leads nowhere, for addresses that are to be
//! found in the container.

mod config;

pub use config::Config;

use anyhow::Context;
use cni_core::{AddResult, Call, Command, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck};
use plugin_kit::{Container, Ipam, Side, Undo};
use rtnl::{LinkKind, LinkSpec};

/// The plugin.
#[derive(Debug)]
pub struct Dummy;

const CHECKED: InterfaceCheck = InterfaceCheck {
    kind: Some("dummy"),
    prefix: "dummy: ",
    lower_case: false,
};

impl Plugin for Dummy {
    fn name(&self) -> &'static str {
        "dummy"
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = ipam(call)?;
        let container = Container::open(call)?;

        ipam.start(Command::Add);
        let mut undo = Undo::new();
        let mut spec = LinkSpec::new(call.if_name.clone(), LinkKind::Dummy);
        config.keys.apply(&mut spec);
        let link =
            single_interface::create(&container, &Side::open(&container, true)?, spec, &mut undo)?;
        let mut result = ipam.add()?;
        undo.push("release the addresses", || ipam.del());
        single_interface::claim(call, &link, &mut result);
        single_interface::configure(&container, &link, &result)?;
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::del(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        CHECKED.check(call, |_, _, link| config.keys.check(link))
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        ipam(call)?.status()
    }
}

/// [`Config::load`] has seen to it that there is one.
fn ipam(call: &Call) -> anyhow::Result<Ipam<'_>> {
    Ipam::of(call).context("no plugin name provided")
}
