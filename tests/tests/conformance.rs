//! Every plugin keeps the rules that all CNI plugins keep.
//!
//! The module `own` runs them against a plugin of your own: see `Documentation/conformance.md`.

use blackbox::conformance::{Rig, Subject, attachment, environment, input, upkeep, versions};

/// A test for each rule, on a rig made by `$rig`.
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

/// A module of tests for a subject.
macro_rules! conforms {
    ($module:ident, $attribute:tt $subject:expr) => {
        mod $module {
            use super::*;

            // Nothing is attached: any kernel will do.
            rules! {
                $attribute Rig::on_any_kernel, $subject;
                environment:
                    called_by_hand_it_introduces_itself
                    called_by_hand_nothing_else_matters
                    missing_variables_are_listed
                    malformed_container_ids_are_refused
                    malformed_interface_names_are_refused
                    other_bytes_than_utf8_do_no_harm;
                input:
                    what_is_no_configuration_is_refused
                    networks_without_a_proper_name_are_refused
                    unknown_verbs_are_refused;
                versions:
                    version_is_answered_without_more_ado
                    unknown_versions_are_refused
                    verbs_are_refused_before_their_time;
                attachment:
                    add_needs_a_namespace
                    its_own_namespace_is_refused_before_anything_is_done;
            }
            rules! {
                $attribute Rig::new, $subject;
                environment:
                    upkeep_does_not_look_at_identifiers;
                input:
                    unknown_keys_do_not_matter
                    the_case_of_keys_does_not_matter
                    large_configurations_are_read_whole
                    arguments_of_kubernetes_do_not_matter;
                versions:
                    no_version_is_the_oldest;
                attachment:
                    attachments_come_and_go_in_every_version
                    check_notices_what_is_gone
                    a_second_add_fails_and_changes_nothing
                    del_may_come_at_any_time_and_again
                    del_comes_after_the_namespace
                    del_keeps_to_its_own
                    del_does_not_depend_on_prev_result;
                upkeep:
                    upkeep_of_a_fresh_host_changes_nothing
                    status_of_a_host_in_use_changes_nothing
                    gc_keeps_what_is_valid
                    gc_collects_what_was_left_behind
                    gc_of_an_empty_list_collects_all
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
