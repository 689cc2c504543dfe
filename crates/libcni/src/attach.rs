//! ADD, CHECK and DEL of an attachment.

use crate::{Attachment, Cni, Error, NetworkList, PluginConf, PluginResult, request};
use cni_core::skel::{validate_container_id, validate_if_name, validate_network_name};
use cni_core::{AddResult, Version, invoke, version};
use nix::unistd::{AccessFlags, access};
use std::cmp::Ordering;
use std::io;

impl Cni {
    /// Attaches a container to a network: runs ADD of each plugin, and caches the last
    /// result. `None` if the network has no plugins.
    ///
    /// Before the first plugin runs, all of them must be there and executable: an ADD that
    /// fails in the middle keeps an address until DEL, and a runtime that retries it with a
    /// new container ID takes one per attempt.
    ///
    /// # Errors
    /// [`Error::Step`] with the failed plugin, and [`Error::CachedResult`] when the
    /// attachment is complete but cannot be cached. Nothing is undone unless
    /// [`Cni::rollback`] is set: the runtime calls [`Cni::del`].
    pub fn add(
        &self,
        list: &NetworkList,
        attachment: &Attachment,
    ) -> Result<Option<PluginResult>, Error> {
        for plugin in &list.plugins {
            self.require(plugin)
                .map_err(|error| step("add", plugin, error))?;
        }
        validate(list, attachment).map_err(|error| match list.plugins.first() {
            Some(plugin) => step("add", plugin, error),
            None => error,
        })?;
        let undo = self.rollback && !self.is_cached(list, attachment);
        let mut result = None;
        for (index, plugin) in list.plugins.iter().enumerate() {
            match self.add_plugin(list, plugin, attachment, result.as_ref()) {
                Ok(added) => result = Some(added),
                Err(error) => {
                    let error = step("add", plugin, error);
                    let called = &list.plugins[..=index];
                    return Err(match undo {
                        true => self.undo(list, called, attachment, result.as_ref(), error),
                        false => error,
                    });
                }
            }
        }
        let cached = self.cache.write(list, attachment, result.as_ref());
        if let Err(error) = cached {
            let error = cached_result("set", list, error);
            return Err(match undo {
                true => self.undo(list, &list.plugins, attachment, result.as_ref(), error),
                false => error,
            });
        }
        Ok(result)
    }

    /// Runs CHECK of each plugin with the cached result, unless the network disables it.
    ///
    /// # Errors
    /// [`Error::CheckUnsupported`] before version 0.4.0, and the error of the first plugin
    /// that fails.
    pub fn check(&self, list: &NetworkList, attachment: &Attachment) -> Result<(), Error> {
        if !is_at_least(list, Version::V0_4_0)? {
            return Err(Error::CheckUnsupported {
                version: list.cni_version.clone(),
            });
        }
        if list.disable_check {
            return Ok(());
        }
        let result = self
            .cached_result(list, attachment)
            .map_err(|error| cached_result("get", list, error))?;
        for plugin in &list.plugins {
            let stdin = request::of_attachment(list, plugin, attachment, result.as_ref())?;
            self.call("CHECK", plugin, attachment, &stdin)?;
        }
        Ok(())
    }

    /// Detaches a container from a network: runs DEL of each plugin in reverse order, with
    /// the cached result from version 0.4.0 on, and removes that from the cache.
    ///
    /// A cached result that cannot be used is removed, and DEL goes on without one.
    ///
    /// # Errors
    /// [`Error::Step`] with the first plugin that fails, or with [`Cni::keep_going`] the
    /// errors of all. The cached result is kept for the next attempt.
    pub fn del(&self, list: &NetworkList, attachment: &Attachment) -> Result<(), Error> {
        let mut result = None;
        if is_at_least(list, Version::V0_4_0)? {
            match self.cached_result(list, attachment) {
                Ok(cached) => result = cached,
                Err(_) => self.cache.remove(&list.name, attachment),
            }
        }
        let keep_going = self.keep_going;
        self.del_plugins(list, &list.plugins, attachment, result.as_ref(), keep_going)?;
        self.cache.remove(&list.name, attachment);
        Ok(())
    }

    /// Returns the cached result of an attachment, in the version of the network; `None` if
    /// there is none.
    ///
    /// # Errors
    /// When the file is damaged, or the version cannot express the result.
    pub fn cached_result(
        &self,
        list: &NetworkList,
        attachment: &Attachment,
    ) -> Result<Option<PluginResult>, Error> {
        match self.cache.result(&list.name, attachment)? {
            Some(result) => result.converted(&list.cni_version).map(Some),
            None => Ok(None),
        }
    }

    fn add_plugin(
        &self,
        list: &NetworkList,
        plugin: &PluginConf,
        attachment: &Attachment,
        prev_result: Option<&PluginResult>,
    ) -> Result<PluginResult, Error> {
        let stdin = request::of_attachment(list, plugin, attachment, prev_result)?;
        let stdout = self.call("ADD", plugin, attachment, &stdin)?;
        let (version, result) = AddResult::from_plugin_output(&list.cni_version, &stdout)?;
        Ok(PluginResult { version, result })
    }

    /// Runs DEL of `plugins` in reverse order.
    fn del_plugins(
        &self,
        list: &NetworkList,
        plugins: &[PluginConf],
        attachment: &Attachment,
        result: Option<&PluginResult>,
        keep_going: bool,
    ) -> Result<(), Error> {
        let mut errors = Vec::new();
        for plugin in plugins.iter().rev() {
            let deleted = request::of_attachment(list, plugin, attachment, result)
                .and_then(|stdin| self.call("DEL", plugin, attachment, &stdin));
            if let Err(error) = deleted {
                errors.push(step("delete", plugin, error));
                if !keep_going {
                    break;
                }
            }
        }
        Error::join(errors)
    }

    /// Deletes what a failed ADD has done, and returns its error.
    fn undo(
        &self,
        list: &NetworkList,
        called: &[PluginConf],
        attachment: &Attachment,
        result: Option<&PluginResult>,
        error: Error,
    ) -> Error {
        // As in DEL: older versions have no prevResult there.
        let takes_result = is_at_least(list, Version::V0_4_0).unwrap_or(false);
        let result = result.filter(|_| takes_result);
        match self.del_plugins(list, called, attachment, result, true) {
            Ok(()) => error,
            Err(rollback) => Error::Rollback {
                source: Box::new(error),
                rollback: Box::new(rollback),
            },
        }
    }

    /// Finds a plugin, and whether it could be executed.
    fn require(&self, plugin: &PluginConf) -> Result<(), Error> {
        let path = self.find(&plugin.conf.kind)?;
        access(&path, AccessFlags::X_OK)
            .map_err(|errno| invoke::start_error(&path, &io::Error::from(errno)).into())
    }

    fn is_cached(&self, list: &NetworkList, attachment: &Attachment) -> bool {
        let cached = self.cache.attachment(&list.name, attachment);
        matches!(cached, Ok(Some(_)))
    }
}

/// Returns whether the version of a network is at least `version`.
pub(crate) fn is_at_least(list: &NetworkList, version: Version) -> Result<bool, Error> {
    let order = version::compare(&list.cni_version, version.as_str())?;
    Ok(order != Ordering::Less)
}

fn validate(list: &NetworkList, attachment: &Attachment) -> Result<(), Error> {
    validate_container_id(&attachment.container_id)?;
    validate_network_name(&list.name)?;
    validate_if_name(&attachment.if_name)?;
    Ok(())
}

fn step(step: &'static str, plugin: &PluginConf, error: Error) -> Error {
    Error::Step {
        kind: plugin.conf.kind.clone(),
        name: plugin.conf.name.clone(),
        step,
        source: Box::new(error),
    }
}

fn cached_result(action: &'static str, list: &NetworkList, error: Error) -> Error {
    Error::CachedResult {
        network: list.name.clone(),
        action,
        source: Box::new(error),
    }
}
