//! Labels of containers, in the form in which users write them.

use std::fmt;
use std::str::FromStr;

use serde_json::json;

use super::Config;
use crate::Error;

/// The variable in the environment of a container, or its Docker label, that names a microservice: the convention of
/// ligato's vpp-agent.
const MICROSERVICE: &str = "MICROSERVICE_LABEL";

/// What a container is found by.
///
/// ```
/// use runtime_api::Label;
///
/// # fn main() -> Result<(), runtime_api::Error> {
/// let web: Label = "web".parse()?;
/// assert_eq!(web, Label::Microservice("web".into()));
/// let web: Label = "com.docker.compose.service=web".parse()?;
/// assert_eq!(web.to_string(), "com.docker.compose.service=web");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// `web`: started with `--env MICROSERVICE_LABEL=web`, or `--label MICROSERVICE_LABEL=web`.
    Microservice(String),
    /// `key=value`: started with `--label key=value`.
    Docker(String, String),
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Label, Error> {
        match text.split_once('=') {
            Some(("", _)) | None if text.is_empty() || text.starts_with('=') => {
                Err(Error::Invalid {
                    what: format!("label {text:?}: expected a name, or key=value"),
                })
            }
            Some((key, value)) => Ok(Label::Docker(key.to_owned(), value.to_owned())),
            None => Ok(Label::Microservice(text.to_owned())),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Microservice(name) => f.write_str(name),
            Label::Docker(key, value) => write!(f, "{key}={value}"),
        }
    }
}

impl Label {
    /// The filters for a list of containers, as JSON. The daemon cannot filter by environment.
    pub(super) fn filters(&self) -> String {
        let filters = match self {
            Label::Microservice(_) => json!({"status": ["running"]}),
            Label::Docker(..) => json!({"status": ["running"], "label": [self.to_string()]}),
        };
        filters.to_string()
    }

    /// Whether a container has this label.
    pub(super) fn is_of(&self, config: &Config) -> bool {
        let has = |key: &str, value: &str| {
            let labels = config.labels.as_ref();
            labels
                .and_then(|labels| labels.get(key))
                .is_some_and(|found| found == value)
        };
        match self {
            Label::Docker(key, value) => has(key, value),
            Label::Microservice(name) => {
                let variable = format!("{MICROSERVICE}={name}");
                let mut environment = config.env.iter().flatten();
                environment.any(|entry| *entry == variable) || has(MICROSERVICE, name)
            }
        }
    }

    /// How a container gets this label, for an error message.
    pub(super) fn hint(&self) -> String {
        match self {
            Label::Docker(..) => format!("start one with --label {self}"),
            Label::Microservice(name) => {
                format!(
                    "start one with --env {MICROSERVICE}={name}, or give a Docker label as key=value"
                )
            }
        }
    }
}
