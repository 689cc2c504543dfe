//! `cargo fuzz run codec_v4`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cni_dhcp::fuzzing::codec_v4(bytes));
