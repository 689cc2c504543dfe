//! Attachments in the caches of runtimes.

use std::path::PathBuf;

use libcni::{CachedAttachment, NetworkList, PluginConf};

/// Returns the network of an attachment as it was at the time of ADD: a list, or a single plugin as a list.
///
/// # Errors
///
/// When the configuration in the cache is invalid.
pub(crate) fn list(cached: &CachedAttachment) -> Result<NetworkList, libcni::Error> {
    NetworkList::from_bytes(&cached.config)
        .or_else(|_| NetworkList::from_plugin(&PluginConf::from_bytes(&cached.config)?))
}

/// Returns the path of the network namespace. Caches of libcni before 1.2, such as those of containerd 1.6 and
/// Podman, have it in the
/// result only.
pub(crate) fn netns(cached: &CachedAttachment) -> PathBuf {
    if !cached.attachment.netns.as_os_str().is_empty() {
        return cached.attachment.netns.clone();
    }
    let interfaces = cached
        .result
        .as_ref()
        .and_then(|result| result["interfaces"].as_array());
    let sandboxes = interfaces
        .into_iter()
        .flatten()
        .filter_map(|one| one["sandbox"].as_str());
    sandboxes
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcni::Attachment;
    use serde_json::json;

    #[test]
    fn the_namespace_is_in_the_result_of_older_caches() {
        let mut old = CachedAttachment {
            network: "net".into(),
            attachment: Attachment::new("x", "/run/netns/x", "eth0"),
            config: Vec::new(),
            result: None,
        };
        assert_eq!(netns(&old), PathBuf::from("/run/netns/x"));
        old.attachment.netns = PathBuf::new();
        assert_eq!(netns(&old), PathBuf::new());
        old.result = Some(json!({"interfaces": [{"name": "cni0"}, {"sandbox": "/run/netns/y"}]}));
        assert_eq!(netns(&old), PathBuf::from("/run/netns/y"));
        old.result = Some(json!({"interfaces": [null, 7, {"sandbox": 8}]}));
        assert_eq!(netns(&old), PathBuf::new());
    }
}
