//! Reading and deleting rules in both variants of iptables: the default variant may have
//! changed since they were added.

use super::change::Change;
use super::command::Iptables;
use super::native::{self, Outcome};
use super::presence::{is_table_in_legacy_use, is_table_in_nf_tables};
use super::saved::Saved;
use super::{Family, Table, Variant};
use crate::error::Error;

/// Applies a change that only deletes, in each variant that may have the rules. All of a
/// variant's changes are made, or none of them.
///
/// Rules of the nf_tables variant are deleted over netlink if possible. Commands of the
/// legacy variant run only if it has the table. A legacy table without the legacy
/// commands is skipped with a warning.
///
/// # Errors
/// An invalid change; the errors of netlink and of the commands; a timeout if another
/// process holds the lock of iptables. The other variant is tried nevertheless.
pub fn delete(family: Family, change: &Change) -> Result<(), Error> {
    change.validate(family)?;
    let (is_found, from_nf_tables) = match native::delete(family, change) {
        Ok(Outcome::Deleted(is_found)) => (is_found, Ok(())),
        Ok(Outcome::NeedsCommands) => (true, delete_by_commands(family, change)),
        Err(error) => (false, Err(error)),
    };
    from_nf_tables.and(delete_from_legacy(family, change, is_found))
}

fn delete_by_commands(family: Family, change: &Change) -> Result<(), Error> {
    Iptables::find_variant(family, Variant::NfTables)?.apply(change)
}

/// With `is_found_elsewhere` nothing is expected here, so the table is read first.
fn delete_from_legacy(
    family: Family,
    change: &Change,
    is_found_elsewhere: bool,
) -> Result<(), Error> {
    if !is_table_in_legacy_use(family, change.table) {
        return Ok(());
    }
    let Some(iptables) = find_or_warn(family, change.table, Variant::Legacy)? else {
        return Ok(());
    };
    match is_found_elsewhere {
        true => iptables.transaction(change.table, |_| change.clone()),
        false => iptables.apply(change),
    }
}

/// Reads the table in each variant that has it, and applies the change that `build`
/// returns for it. A table without its variant's commands is skipped with a warning.
///
/// # Errors
/// As [`delete`].
pub fn delete_where(
    family: Family,
    table: Table,
    build: impl Fn(&Saved) -> Change,
) -> Result<(), Error> {
    let mut result = Ok(());
    for variant in variants_with(family, table) {
        let outcome = find_or_warn(family, table, variant).and_then(|found| match found {
            Some(iptables) => iptables.transaction(table, &build),
            None => Ok(()),
        });
        result = result.and(outcome);
    }
    result
}

/// Reads the table in each variant that has it. A table without its variant's commands is
/// skipped with a warning.
///
/// # Errors
/// Those of the commands.
pub fn read_all(family: Family, table: Table) -> Result<Vec<Saved>, Error> {
    let mut all = Vec::new();
    for variant in variants_with(family, table) {
        if let Some(iptables) = find_or_warn(family, table, variant)? {
            all.push(iptables.read(table)?);
        }
    }
    Ok(all)
}

/// Returns the variants that have a table.
fn variants_with(family: Family, table: Table) -> impl Iterator<Item = Variant> {
    let variants = [
        (is_table_in_legacy_use(family, table), Variant::Legacy),
        (is_table_in_nf_tables(family, table), Variant::NfTables),
    ];
    let present = variants.into_iter().filter(|(has_table, _)| *has_table);
    present.map(|(_, variant)| variant)
}

/// Returns the commands of a variant, `None` if they are not installed: then the table
/// most likely belongs to other programs.
fn find_or_warn(family: Family, table: Table, variant: Variant) -> Result<Option<Iptables>, Error> {
    match Iptables::find_variant(family, variant) {
        Err(error) if error.is_missing_command() => {
            log::warn!("cannot look for rules in table {}: {error}", table.as_str());
            Ok(None)
        }
        found => found.map(Some),
    }
}
