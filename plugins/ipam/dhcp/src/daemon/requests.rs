//! Requests of plugins, and their answers.

use super::Daemon;
use super::attachment::{Attachment, Parts};
use super::connection::Step;
use crate::client::Progress;
use crate::config;
use crate::location::Location;
use crate::rpc::{self, Arguments, Reply};
use crate::time::Time;
use anyhow::{Context, bail};
use cni_core::{AddResult, json, types};
use cni_state::Owner;
use plugin_kit::state;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// What a request is about, validated.
struct Subject {
    owner: Owner,
    conf: Value,
}

/// All that every request needs of a configuration: one that became invalid must not keep
/// its attachment from being deleted.
#[derive(Deserialize)]
struct Network {
    #[serde(default)]
    name: String,
}

impl Subject {
    fn of(arguments: &Arguments) -> anyhow::Result<Subject> {
        let conf = json::parse(&arguments.stdin).context("error parsing netconf")?;
        let net: Network = json::decode(&conf).context("error parsing netconf")?;
        let owner = Owner::new(&net.name, &arguments.container_id, &arguments.if_name);
        // They become file names.
        for (what, name) in [
            ("network name", &owner.network),
            ("container ID", &owner.container_id),
            ("interface name", &owner.if_name),
        ] {
            let is_bad = |byte: u8| matches!(byte, b'/' | b':' | 0..=b' ' | 0x7f..);
            if name.is_empty() || name.starts_with('.') || name.bytes().any(is_bad) {
                bail!("invalid {what} {}", cni_core::quote::quote(name));
            }
        }
        Ok(Subject { owner, conf })
    }
}

impl Daemon {
    /// Begins to work on the request of a connection.
    pub(super) fn request(&mut self, id: u64, now: Time) {
        let Some(request) = self
            .connections
            .get(&id)
            .and_then(|found| found.pending.as_ref())
        else {
            return;
        };
        let (method, arguments) = (request.method.clone(), request.arguments.clone());
        let reply = match method.as_str() {
            rpc::ALLOCATE => self.allocate(id, &arguments, now),
            rpc::CHECK => self.check(&arguments).map(Some),
            rpc::RELEASE => self.delete(&arguments, now).map(Some),
            rpc::COLLECT => self.collect(&arguments, now).map(Some),
            rpc::LIST => Ok(Some(self.list(now))),
            // The texts of net/rpc.
            other if other.starts_with("DHCP.") => {
                Err(anyhow::anyhow!("rpc: can't find method {other}"))
            }
            other => Err(anyhow::anyhow!("rpc: can't find service {other}")),
        };
        if let Some(reply) = reply.transpose() {
            self.respond(id, &reply.map_err(|error| format!("{error:#}")), now);
        }
    }

    /// ADD: returns the lease if there is one; else acquires one, and answers later.
    fn allocate(
        &mut self,
        id: u64,
        arguments: &Arguments,
        now: Time,
    ) -> anyhow::Result<Option<Reply>> {
        let Subject { owner, conf } = Subject::of(arguments)?;
        let ipam = config::ipam(&conf)?.clone();
        let netns = self.context.flags.on_host(&arguments.netns);
        let place = Location::find(Path::new(&netns), &arguments.if_name, &self.context.home)?;
        if let Some(known) = self.find(&owner) {
            match self.attachments.get_mut(&known) {
                Some(attachment) if attachment.place.is_same(&place) => {
                    if attachment.progress() == Progress::Bound {
                        return attachment
                            .hand_out(now, &self.context)
                            .map(into_reply)
                            .map(Some)
                            .map_err(anyhow::Error::msg);
                    }
                    attachment.waiting.push(id);
                    return Ok(None);
                }
                _ => self.release(known, "its container was replaced", now),
            }
        }
        let parts = Parts {
            owner,
            place,
            args: arguments.args.clone(),
            ipam,
        };
        self.stop_leaving(&parts.owner);
        let mut attachment = Attachment::new(parts, None, now, &self.context)?;
        attachment.waiting.push(id);
        let number = self.number();
        self.attachments.insert(number, attachment);
        self.with(
            number,
            |attachment, token, context| attachment.tick(token, now, context),
            now,
        );
        Ok(None)
    }

    /// CHECK: returns the lease, and never acquires one.
    fn check(&mut self, arguments: &Arguments) -> anyhow::Result<Reply> {
        let Subject { owner, .. } = Subject::of(arguments)?;
        let known = self.find(&owner).and_then(|id| self.attachments.get(&id));
        let attachment = known
            .context("the daemon has no lease for the attachment; delete it and add it again")?;
        attachment
            .result()
            .map(into_reply)
            .map_err(anyhow::Error::msg)
    }

    /// DEL.
    fn delete(&mut self, arguments: &Arguments, now: Time) -> anyhow::Result<Reply> {
        let Subject { owner, .. } = Subject::of(arguments)?;
        if let Some(id) = self.find(&owner) {
            self.release(id, "it was deleted", now);
        }
        Ok(Reply::Nothing)
    }

    /// GC.
    fn collect(&mut self, arguments: &Arguments, now: Time) -> anyhow::Result<Reply> {
        let conf = json::parse(&arguments.stdin).context("error parsing netconf")?;
        let net: Network = json::decode(&conf).context("error parsing netconf")?;
        let valid = types::valid_attachments(&conf).context("error parsing netconf")?;
        // Without a list nothing may be collected.
        let Some(valid) = valid else {
            return Ok(Reply::Nothing);
        };
        let valid = state::owners(&net.name, &valid);
        let is_stale = |attachment: &Attachment| {
            attachment.owner.network == net.name && !valid.contains(&attachment.owner)
        };
        let stale: Vec<u64> = self
            .attachments
            .iter()
            .filter_map(|(id, attachment)| is_stale(attachment).then_some(*id))
            .collect();
        for id in stale {
            self.release(id, "it is no longer valid", now);
        }
        Ok(Reply::Nothing)
    }

    /// `dhcp status`.
    fn list(&self, now: Time) -> Reply {
        let lines = self
            .attachments
            .values()
            .flat_map(|attachment| attachment.status(now));
        Reply::Text(Value::Array(lines.collect()).to_string())
    }

    /// Answers the connections that wait for the lease of an attachment.
    pub(super) fn answer(&mut self, id: u64, now: Time) {
        let Some(attachment) = self.attachments.get_mut(&id) else {
            return;
        };
        let waiting = std::mem::take(&mut attachment.waiting);
        if waiting.is_empty() {
            return;
        }
        match attachment.hand_out(now, &self.context) {
            Ok(result) => {
                let addresses: Vec<String> =
                    result.ips.iter().map(|ip| ip.address.to_string()).collect();
                log::info!("{}: lease of {}", attachment.name(), addresses.join(", "));
                let reply = Ok(into_reply(result));
                for connection in waiting {
                    self.respond(connection, &reply, now);
                }
            }
            Err(why) => {
                attachment.waiting = waiting;
                self.release(id, &why, now);
            }
        }
    }

    /// Ends an attachment that got no lease.
    pub(super) fn fail(&mut self, id: u64, why: &str, now: Time) {
        let Some(attachment) = self.attachments.get_mut(&id) else {
            return;
        };
        let waiting = std::mem::take(&mut attachment.waiting);
        let why = why.to_owned();
        self.release(id, &why, now);
        for connection in waiting {
            self.respond(connection, &Err(why.clone()), now);
        }
    }

    /// Sends a reply.
    pub(super) fn respond(&mut self, id: u64, reply: &Result<Reply, String>, now: Time) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.respond(reply, now) {
            Step::Close => self.close(id, now),
            Step::Wait | Step::Request => self.watch_output(id),
        }
    }

    /// Ends the attachments for which only the connection `id` waited, which is closed: the
    /// runtime has given up, so nobody will use the lease.
    pub(super) fn abandon(&mut self, id: u64, now: Time) {
        let mut abandoned = Vec::new();
        for (number, attachment) in &mut self.attachments {
            if attachment.waiting.contains(&id) {
                attachment.waiting.retain(|waiting| *waiting != id);
                if attachment.waiting.is_empty() {
                    abandoned.push(*number);
                }
            }
        }
        for number in abandoned {
            self.release(number, "the plugin has given up", now);
        }
    }
}

fn into_reply(result: AddResult) -> Reply {
    Reply::Result(Box::new(result))
}
