//! The `host-local` plugin.

fn main() -> std::process::ExitCode {
    cni_core::skel::main(&cni_host_local::HostLocal)
}
