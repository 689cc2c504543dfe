//! Containers of a site, and their attachments.

use libcni::Attachment;
use serde_json::json;
use testkit::{Container, Host};

use crate::networks::{self, Network};
use crate::traffic::Server;

/// Two containers with several attachments. The first has a server, whose port is published.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) first: Container,
    pub(crate) second: Container,
    /// The networks and attachments, in the order of their ADDs.
    pub(crate) attachments: Vec<(Network, Attachment)>,
    /// The addresses that the ADDs returned, in their order.
    pub(crate) addresses: Vec<String>,
    /// The port of the host.
    pub(crate) port: u16,
    _server: Server,
}

impl Pod {
    /// Returns a pod without interfaces.
    pub(crate) fn new(host: &Host, name: &str, port: u16) -> Pod {
        let first = host.container(&format!("{name}-1"));
        let second = host.container(&format!("{name}-2"));
        let attachment = |network: Network, container: &Container| {
            (network.clone(), attachment(&network, container, port))
        };
        let mut attachments: Vec<_> = networks::first()
            .into_iter()
            .map(|network| attachment(network, &first))
            .collect();
        attachments.push(attachment(networks::second(), &second));
        Pod {
            name: name.to_owned(),
            _server: Server::start(&first, name),
            first,
            second,
            attachments,
            addresses: Vec::new(),
            port,
        }
    }

    /// The address in the network `pods` without the length of its prefix.
    pub(crate) fn address(&self) -> &str {
        let found = self
            .addresses
            .iter()
            .find(|address| address.starts_with("10.60."));
        found.and_then(|address| address.split('/').next()).unwrap()
    }
}

/// An attachment with a mapping of the host's port `port` to port 80.
pub(crate) fn attachment(network: &Network, container: &Container, port: u16) -> Attachment {
    let mut attachment = Attachment::new(container.id(), container.netns(), network.if_name);
    let mapping = json!([{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]);
    attachment
        .capability_args
        .insert("portMappings".into(), mapping);
    attachment
}
