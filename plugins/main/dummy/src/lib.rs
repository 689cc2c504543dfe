//! The dummy plugin: an interface without a link to anything, for addresses that exist
//! in the container alone.

mod config;

pub use config::Config;

use cni_core::confine::Needs;
use cni_core::{AddResult, Call, Plugin};
use plugin_kit::single_interface::{self, InterfaceCheck, may_be_of_upstream};
use plugin_kit::{Container, Ipam, Side, Undo, ipam, status};
use rtnl::{Handle, LinkKind, LinkSpec};

/// The plugin.
#[derive(Debug)]
pub struct Dummy;

const CHECK: InterfaceCheck = InterfaceCheck {
    kind: Some("dummy"),
    prefix: "dummy: ",
    lower_case: false,
};

impl Plugin for Dummy {
    fn name(&self) -> &'static str {
        "dummy"
    }

    fn needs(&self, call: &Call) -> Option<Needs> {
        ipam::needs(call)
    }

    fn add(&self, call: &Call) -> anyhow::Result<AddResult> {
        let config = Config::load(call)?;
        let ipam = Ipam::required(call)?;
        let container = Container::open(call)?;
        let side = Side::open(&container, true)?;
        let mut spec = LinkSpec::new(call.if_name.clone(), LinkKind::Dummy);
        config.options.apply(&mut spec);

        let mut undo = Undo::new();
        let link = single_interface::create(&container, &side, spec, &mut undo)?;
        let mut result = ipam.add(&mut undo)?;
        single_interface::set_interface(call, &link, &mut result);
        single_interface::configure(&container, &link, &result)?;
        undo.disarm();
        Ok(result)
    }

    fn del(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::del(call)
    }

    fn check(&self, call: &Call) -> anyhow::Result<()> {
        let config = Config::load(call)?;
        CHECK.run(call, |_, recorded, link| {
            match may_be_of_upstream(recorded) {
                true => Ok(()),
                false => config.options.check(link),
            }
        })
    }

    fn gc(&self, call: &Call) -> anyhow::Result<()> {
        single_interface::gc(call)
    }

    fn status(&self, call: &Call) -> anyhow::Result<()> {
        Config::load(call)?;
        let ipam = Ipam::required(call)?;
        status::require_link_kinds(&Handle::open()?, &["dummy"])?;
        ipam.status()
    }
}
