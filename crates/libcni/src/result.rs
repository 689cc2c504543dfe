//! Results of plugins with their versions.

use crate::Error;
use crate::plugin::sorted;
use cni_core::{AddResult, Version};
use serde_json::Value;

/// The result of ADD in the version in which the last plugin of the chain returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginResult {
    /// The version. Plugins of one chain may use different ones.
    pub version: Version,
    /// The result, in the form of the newest version.
    pub result: AddResult,
}

impl PluginResult {
    /// Returns the document that the plugin printed, in upstream's form: four spaces of
    /// indentation, no final newline.
    ///
    /// # Errors
    /// When it has no address, which 0.1.0 and 0.2.0 demand.
    pub fn to_json(&self) -> Result<String, Error> {
        Ok(self.result.to_json(self.version)?)
    }

    /// Returns the document that the next plugin receives as `prevResult`.
    pub(crate) fn to_value(&self) -> Result<Value, Error> {
        Ok(self.result.to_value(self.version)?)
    }

    /// Returns the document that the cache keeps, with its keys sorted.
    pub(crate) fn to_sorted_value(&self) -> Result<Value, Error> {
        self.to_value().map(sorted)
    }

    /// Returns the result in the version `version` of a configuration.
    pub(crate) fn converted(self, version: &str) -> Result<PluginResult, Error> {
        let failed = |source: Error| Error::Conversion {
            version: version.to_owned(),
            source: Box::new(source),
        };
        let Some(known) = Version::from_text(version) else {
            let text = format!(
                "no converter for CNI result version {} to {version}",
                self.version
            );
            let error = cni_core::Error::new(cni_core::Code::INCOMPATIBLE_VERSION, text);
            return Err(failed(error.into()));
        };
        let converted = PluginResult {
            version: known,
            result: self.result,
        };
        converted.to_value().map_err(failed)?;
        Ok(converted)
    }
}
