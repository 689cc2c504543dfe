//! The `dummy` plugin.

fn main() -> std::process::ExitCode {
    cni_core::skel::main(&cni_dummy::Dummy)
}
