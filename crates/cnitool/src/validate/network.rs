//! Files of a directory, and the networks that they make.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::document::{Node, join};
use super::finding::{Finding, Severity};
use super::parse;
use super::schema::{Keys, Schemas, check};
use super::source::Source;

/// Suffixes of the files that runtimes read.
const SUFFIXES: [&str; 3] = ["conf", "conflist", "json"];

/// What a file is by its name, for runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A network list.
    List,
    /// The configuration of one plugin, which is a network.
    Plugin,
    /// The configuration of one plugin, in the directory of a network list.
    DropIn,
}

/// A file, and what is wrong with it by itself.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) source: Source,
    pub(super) form: Form,
    /// `None` if the file cannot be understood.
    pub(super) root: Option<Node>,
    pub(super) findings: Vec<Finding>,
}

/// A plugin of a network.
#[derive(Clone)]
pub(super) struct Element<'f> {
    /// Number of the file.
    pub(super) file: usize,
    pub(super) pointer: String,
    pub(super) node: &'f Node,
}

/// A network: the files of a list, or one file.
pub(super) struct Network<'f> {
    /// Number of the file.
    pub(super) file: usize,
    pub(super) root: &'f Node,
    /// Empty if it has none.
    pub(super) name: &'f str,
    pub(super) plugins: Vec<Element<'f>>,
}

impl Element<'_> {
    pub(super) fn kind(&self) -> &str {
        self.node
            .get("type")
            .and_then(Node::text)
            .unwrap_or_default()
    }

    pub(super) fn ipam_kind(&self) -> &str {
        let kind = self.node.get("ipam").and_then(|ipam| ipam.get("type"));
        kind.and_then(Node::text).unwrap_or_default()
    }

    /// The place of a key, or of the object without it, with its pointer. Of `ipam`, its `type`.
    fn place(&self, key: &str) -> (Range<usize>, String) {
        let pointer = join(&self.pointer, key);
        let Some(node) = self.node.get(key) else {
            return (self.node.start(), self.pointer.clone());
        };
        match node.get("type").filter(|_| key == "ipam") {
            Some(kind) => (kind.span.clone(), join(&pointer, "type")),
            None if node.members().is_empty() => (node.span.clone(), pointer),
            None => (node.start(), pointer),
        }
    }

    /// A finding about a key, or about the object without it.
    pub(super) fn finding(
        &self,
        severity: Severity,
        rule: &'static str,
        key: &str,
        (what, help): (String, String),
    ) -> (usize, Finding) {
        let (span, pointer) = self.place(key);
        (
            self.file,
            Finding {
                severity,
                rule,
                span,
                pointer,
                what,
                help,
            },
        )
    }
}

/// Reads files and directories as a runtime does.
///
/// # Errors
/// When something cannot be read, or a directory has no configurations.
pub(super) fn read(paths: &[PathBuf], schemas: &Schemas) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let configurations = in_directory(path, &SUFFIXES)?;
            if configurations.is_empty() {
                bail!(
                    "{} has no files with the suffix .conflist, .conf or .json",
                    path.display()
                );
            }
            for path in configurations {
                read_with_drop_ins(path, schemas, &mut files)?;
            }
        } else {
            read_with_drop_ins(path.clone(), schemas, &mut files)?;
        }
    }
    Ok(files)
}

/// The files of a directory with one of the suffixes, sorted.
fn in_directory(dir: &Path, suffixes: &[&str]) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot list {}", dir.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        if suffix.is_some_and(|suffix| suffixes.contains(&suffix)) && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_with_drop_ins(path: PathBuf, schemas: &Schemas, files: &mut Vec<File>) -> Result<()> {
    let file = read_file(path, false, schemas)?;
    let drop_ins = file.drop_ins();
    files.push(file);
    if let Some(dir) = drop_ins.filter(|dir| dir.is_dir()) {
        // Networks of the same name share the directory.
        let read = |path: &PathBuf| files.iter().any(|file: &File| file.path == *path);
        let unread: Vec<PathBuf> = in_directory(&dir, &["conf"])?
            .into_iter()
            .filter(|path| !read(path))
            .collect();
        for path in unread {
            files.push(read_file(path, true, schemas)?);
        }
    }
    Ok(())
}

fn read_file(path: PathBuf, drop_in: bool, schemas: &Schemas) -> Result<File> {
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut findings = Vec::new();
    let text = String::from_utf8(bytes).unwrap_or_else(|error| {
        let at = error.utf8_error().valid_up_to();
        findings.push(Finding {
            severity: Severity::Error,
            rule: "syntax",
            span: at..at,
            pointer: String::new(),
            what: "this is not UTF-8".into(),
            help: "save the file as UTF-8".into(),
        });
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    });
    let source = Source {
        name: path.display().to_string(),
        text,
    };
    let root = parse::parse(&source.text, &mut findings);
    let form = match path.extension().and_then(|suffix| suffix.to_str()) {
        _ if drop_in => Form::DropIn,
        Some("conflist") => Form::List,
        Some("conf" | "json") => Form::Plugin,
        // Read by no runtime: by its content.
        _ if root
            .as_ref()
            .is_some_and(|root| root.get("plugins").is_some()) =>
        {
            Form::List
        }
        _ => Form::Plugin,
    };
    let mut file = File {
        path,
        source,
        form,
        root,
        findings,
    };
    file.check_suffix();
    file.check_schema(schemas);
    Ok(file)
}

impl File {
    fn push(
        &mut self,
        severity: Severity,
        rule: &'static str,
        span: Range<usize>,
        what: &str,
        help: &str,
    ) {
        let (what, help, pointer) = (what.to_owned(), help.to_owned(), String::new());
        self.findings.push(Finding {
            severity,
            rule,
            span,
            pointer,
            what,
            help,
        });
    }

    /// Compares the suffix with the content. A file of the other form is read as that form from here on.
    fn check_suffix(&mut self) {
        let Some(root) = &self.root else {
            return;
        };
        let (start, is_list) = (root.start(), root.get("plugins").is_some());
        let is_plugin = !is_list && root.get("type").is_some();
        let suffix = self
            .path
            .extension()
            .and_then(|suffix| suffix.to_str())
            .unwrap_or_default();
        let error = Severity::Error;
        match self.form {
            Form::List if suffix == "conflist" && is_plugin => {
                let what =
                    "the file is called a network list, and is the configuration of one plugin";
                self.push(
                    error,
                    "suffix",
                    start,
                    what,
                    "write it into a list \"plugins\", or rename the file to .conf",
                );
                self.form = Form::Plugin;
            }
            Form::Plugin | Form::DropIn if is_list => {
                let what = "a network list in a file with this suffix is read as the configuration of one plugin";
                self.push(error, "suffix", start, what, "rename the file to .conflist");
                self.form = Form::List;
            }
            _ if !SUFFIXES.contains(&suffix) => {
                let (what, help) = (
                    "runtimes do not read files with this suffix",
                    "rename the file to .conflist or .conf",
                );
                self.push(Severity::Warning, "suffix", start, what, help);
            }
            _ => {}
        }
    }

    fn check_schema(&mut self, schemas: &Schemas) {
        let (name, keys) = match self.form {
            Form::List => ("network-list", Keys::Exact),
            Form::Plugin | Form::DropIn => ("plugin", Keys::AnyCase),
        };
        if let (Some(root), Some(schema)) = (&self.root, schemas.named(name)) {
            self.findings.extend(check(root, schema, keys, ""));
        }
    }

    /// The directory with further plugins of a list.
    fn drop_ins(&self) -> Option<PathBuf> {
        let root = self.root.as_ref().filter(|_| self.form == Form::List)?;
        let only_inlined = root
            .get_exactly("loadOnlyInlinedPlugins")
            .is_some_and(is_set);
        let name = root
            .get_exactly("name")?
            .text()
            .filter(|name| !name.is_empty() && !name.contains(['/', '\0']))?;
        let parent = self.path.parent().unwrap_or(Path::new(""));
        (!only_inlined && name != "." && name != "..").then(|| parent.join(name))
    }
}

/// A flag of a network list, which may be a text.
fn is_set(node: &Node) -> bool {
    node.is_true()
        || node
            .text()
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// The networks of all files.
pub(super) fn networks(files: &[File]) -> Vec<Network<'_>> {
    let mut networks: Vec<Network<'_>> = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let Some(root) = &file.root else {
            continue;
        };
        let element = |pointer: String, node| Element {
            file: number,
            pointer,
            node,
        };
        match (file.form, networks.last_mut()) {
            (Form::DropIn, Some(list)) => list.plugins.push(element(String::new(), root)),
            (Form::List, _) => {
                let name = root
                    .get_exactly("name")
                    .and_then(Node::text)
                    .unwrap_or_default();
                let elements = root.get_exactly("plugins").map_or(&[][..], Node::elements);
                let numbered = elements.iter().enumerate();
                let plugins = numbered
                    .map(|(i, node)| element(format!("/plugins/{i}"), node))
                    .collect();
                networks.push(Network {
                    file: number,
                    root,
                    name,
                    plugins,
                });
            }
            _ => {
                let name = root.get("name").and_then(Node::text).unwrap_or_default();
                networks.push(Network {
                    file: number,
                    root,
                    name,
                    plugins: vec![element(String::new(), root)],
                });
            }
        }
    }
    networks
}
