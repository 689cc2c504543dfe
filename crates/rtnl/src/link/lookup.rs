//! Link lookup by name, index, master or kind.

use super::Link;
use super::common::{header, name_attribute};
use crate::errno;
use crate::error::Error;
use crate::handle::Handle;
use crate::request::Request;
use crate::wire::*;

impl Handle {
    /// The link named `name`. A name of more than 15 bytes is looked up among the
    /// alternative names (`altname`) of links.
    ///
    /// # Errors
    /// `Link not found` if there is none, see [`Error::is_not_found`].
    pub fn link_by_name(&self, name: &str) -> Result<Link, Error> {
        let mut body = get_body(0);
        body.text(name_attribute(name), name);
        self.get_link(body, &format!("look up link {name:?}"))
    }

    /// The link with the index `index`.
    ///
    /// # Errors
    /// `Link not found` if there is none, see [`Error::is_not_found`].
    pub fn link_by_index(&self, index: u32) -> Result<Link, Error> {
        self.get_link(get_body(index), &format!("look up link {index}"))
    }

    fn get_link(&self, body: Builder, what: &str) -> Result<Link, Error> {
        let body = body
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), what))?;
        let found = self.connection().get(RTM_GETLINK, &body, what, |message| {
            (message.kind == RTM_NEWLINK)
                .then(|| Link::decode(message.body))
                .flatten()
        });
        match found {
            Ok(Some(link)) => Ok(link),
            Ok(None) => Err(Error::malformed("no link in it", what)),
            // Linux before 5.5 has no alternative names and reads the request as empty.
            Err(error) if matches!(error.errno(), Some(errno::ENODEV | errno::EINVAL)) => {
                Err(Error::link_not_found(what))
            }
            Err(error) => Err(error),
        }
    }

    /// All links of the namespace. Not for hot paths: a busy node has thousands.
    ///
    /// If links change all the time, those that came or went meanwhile may be listed or not.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        self.dump_links(|_| {}, |_| true, "list links")
    }

    /// The links whose master is the link with the index `master`, such as the
    /// ports of a bridge.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn links_by_master(&self, master: u32) -> Result<Vec<Link>, Error> {
        self.dump_links(
            |body| body.u32(IFLA_MASTER, master),
            |link| link.master == Some(master),
            "list links of a master",
        )
    }

    /// The links of the kind `kind`, such as `vlan`.
    ///
    /// # Errors
    /// As [`Handle::addresses`].
    pub fn links_by_kind(&self, kind: &str) -> Result<Vec<Link>, Error> {
        self.dump_links(
            |body| body.nested(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, kind)),
            |link| link.is_kind(kind),
            "list links of a kind",
        )
    }

    /// Whether the kernel has links of the kind `kind`, or loads a module that has them.
    ///
    /// Nothing is created: the request is for a link without transmit queues, which the
    /// kernel refuses after it has looked for the kind (`rtnl_create_link`).
    ///
    /// # Errors
    /// When the kernel refuses the question, such as with `EPERM`.
    pub fn has_link_kind(&self, kind: &str) -> Result<bool, Error> {
        let mut body = Builder::new(&header(0));
        body.u32(IFLA_NUM_TX_QUEUES, 0);
        body.nested(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, kind));
        let what = format!("look for links of the kind {kind}");
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        match self.request(Request::new(RTM_NEWLINK, flags, body, what)) {
            Err(e) if e.is_unsupported() => Ok(false),
            // Linux before 4.20 cannot allocate such a link.
            Err(e) if matches!(e.errno(), Some(errno::EINVAL | errno::ENOMEM)) => Ok(true),
            outcome => outcome.map(|_| true),
        }
    }

    fn dump_links(
        &self,
        filter: impl Fn(&mut Builder),
        wanted: impl Fn(&Link) -> bool,
        what: &str,
    ) -> Result<Vec<Link>, Error> {
        let mut body = get_body(0);
        filter(&mut body);
        let body = body
            .finish()
            .map_err(|problem| Error::invalid(problem.to_owned(), what))?;
        let read = |message: &Message<'_>, links: &mut Vec<Link>| {
            if message.kind != RTM_NEWLINK {
                return;
            }
            if let Some(link) = Link::decode(message.body).filter(|link| wanted(link)) {
                links.push(link);
            }
        };
        // On a busy host links come and go all the time.
        self.connection()
            .dump_merged(RTM_GETLINK, &body, what, read, |link| link.index)
    }
}

/// A request for one link, or for all, without statistics, which are half of the
/// kernel's answer.
pub(crate) fn get_body(index: u32) -> Builder {
    let mut body = Builder::new(&header(index));
    body.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    body
}
