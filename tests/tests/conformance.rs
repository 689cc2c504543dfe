//! The conformance rules, applied to each plugin.
//!
//! The module `own` applies them to your own plugin: see `Documentation/conformance.md`.

use blackbox::conformance::{Rig, Subject, attachment, environment, input, upkeep, versions};

/// Defines a test for each rule, on a rig that `$rig` creates.
macro_rules! rules {
    ($attribute:tt $rig:path, $subject:expr; $($topic:ident: $($rule:ident)*;)*) => {
        $($(
            #[test]
            # $attribute
            fn $rule() {
                $topic::$rule(&$rig($subject));
            }
        )*)*
    };
}

/// Defines a module of tests for a subject.
macro_rules! conforms {
    ($module:ident, $attribute:tt $subject:expr) => {
        mod $module {
            use super::*;

            // These rules attach nothing, so that any kernel will do.
            rules! {
                $attribute Rig::on_any_kernel, $subject;
                environment:
                    without_a_command_the_plugin_prints_its_name_and_versions
                    without_a_command_identifiers_are_not_checked
                    missing_variables_are_listed
                    malformed_container_ids_are_refused
                    malformed_interface_names_are_refused
                    bytes_that_are_not_utf8_are_handled;
                input:
                    input_that_is_not_a_configuration_is_refused
                    networks_without_a_valid_name_are_refused
                    unknown_verbs_are_refused;
                versions:
                    version_is_answered_whatever_the_input
                    unknown_versions_are_refused
                    verbs_are_refused_in_versions_without_them;
                attachment:
                    add_needs_a_namespace
                    the_plugins_own_namespace_is_refused_before_any_change;
            }
            rules! {
                $attribute Rig::new, $subject;
                environment:
                    gc_and_status_ignore_identifiers;
                input:
                    unknown_keys_are_ignored
                    keys_match_in_any_case
                    large_configurations_are_read_whole
                    arguments_of_kubernetes_are_accepted;
                versions:
                    a_missing_version_means_the_oldest;
                attachment:
                    add_check_and_del_work_in_every_version
                    check_fails_after_del
                    a_second_add_fails_and_changes_nothing
                    del_succeeds_before_add_and_repeatedly
                    del_cleans_up_after_the_namespace_is_gone
                    del_leaves_other_attachments_alone
                    del_does_not_depend_on_prev_result;
                upkeep:
                    gc_and_status_of_a_fresh_host_change_nothing
                    status_of_a_host_in_use_changes_nothing
                    gc_keeps_valid_attachments
                    gc_deletes_stale_attachments
                    gc_with_an_empty_list_deletes_all_attachments
                    gc_refuses_a_malformed_list;
            }
        }
    };
}

conforms!(bridge, [doc = "bridge with host-local"] Subject::bridge());
conforms!(loopback, [doc = "loopback"] Subject::loopback());
conforms!(host_local, [doc = "host-local"] Subject::host_local());
conforms!(ptp, [doc = "ptp with host-local"] Subject::ptp());
conforms!(macvlan, [doc = "macvlan with host-local"] Subject::macvlan());
conforms!(ipvlan, [doc = "ipvlan with host-local"] Subject::ipvlan());
conforms!(dummy, [doc = "dummy with host-local"] Subject::dummy());
conforms!(flannel, [doc = "flannel with bridge and host-local"] Subject::flannel());
conforms!(tap, [doc = "tap with host-local"] Subject::tap());
#[cfg(feature = "own")]
conforms!(own, [doc = "the plugin CNI_TEST_SUBJECT describes"] Subject::from_env());
