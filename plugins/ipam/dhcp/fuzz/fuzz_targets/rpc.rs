//! `cargo fuzz run rpc`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cni_dhcp::fuzzing::rpc(bytes));
