//! Several plugins in one executable.

use super::Plugin;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A plugin of a bundle.
pub(crate) type Bundled = &'static (dyn Plugin + Sync);

/// The plugins that an executable contains. The default is none: an executable with a
/// single plugin has no delegate to run in its own process.
#[derive(Clone, Copy, Default)]
pub struct Bundle(&'static [Bundled]);

impl Bundle {
    /// Returns the bundle of these plugins.
    pub const fn new(plugins: &'static [Bundled]) -> Bundle {
        Bundle(plugins)
    }

    /// Returns the plugins.
    pub fn plugins(self) -> &'static [&'static (dyn Plugin + Sync)] {
        self.0
    }

    /// Returns the plugin that acts under the name of a link to the executable: the one of
    /// that name, or the one whose name it ends with after a `-`, such as `bridge` for
    /// `buildkit-cni-bridge`. The longest such name wins.
    pub fn by_name(self, name: &str) -> Option<&'static (dyn Plugin + Sync)> {
        let suffixes = name.match_indices('-').map(|(dash, _)| &name[dash + 1..]);
        std::iter::once(name)
            .chain(suffixes)
            .find_map(|name| self.0.iter().find(|plugin| plugin.name() == name))
            .copied()
    }

    /// Returns the plugin that executing `path` under the name `kind` would run; `None` if
    /// `path` is not this executable.
    pub(crate) fn by_path(self, path: &Path, kind: &str) -> Option<Bundled> {
        let plugin = self.by_name(kind)?;
        // The link of the kernel leads to this program even if its file was replaced
        // meanwhile. Without /proc, delegates are executed.
        let identity = |path: &Path| path.metadata().map(|m| (m.dev(), m.ino())).ok();
        let own = identity(Path::new("/proc/self/exe"))?;
        (identity(path) == Some(own)).then_some(plugin)
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|plugin| plugin.name()))
            .finish()
    }
}
