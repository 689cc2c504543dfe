//! Generated parts of pages: what is between the lines `<!-- NAME -->` and `<!-- end -->`.

use std::fs;

use anyhow::{Context, Result};

use crate::project;

const END: &str = "<!-- end -->";

/// Replaces a part of a page.
///
/// # Errors
///
/// When the page has no such part, or cannot be read or written.
pub(crate) fn replace(page: &str, name: &str, part: &str) -> Result<()> {
    let path = project::root().join(page);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let new = replaced(&text, name, part)
        .with_context(|| format!("{page}: no lines <!-- {name} --> and {END}"))?;
    fs::write(&path, new).with_context(|| path.display().to_string())?;
    println!("the table is in {page}");
    Ok(())
}

fn replaced(page: &str, name: &str, part: &str) -> Option<String> {
    let start = format!("<!-- {name} -->\n");
    let (before, rest) = page.split_once(&start)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{start}\n{}\n\n{END}{after}", part.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced() {
        let page = format!("Before\n\n<!-- a -->\nold\n{END}\n\nBetween\n<!-- b -->\nold\n{END}\n");
        let new = replaced(&page, "b", "new\n").expect("a place");
        assert_eq!(
            new,
            format!("Before\n\n<!-- a -->\nold\n{END}\n\nBetween\n<!-- b -->\n\nnew\n\n{END}\n")
        );
        assert_eq!(replaced(&page, "c", "new"), None);
    }
}
