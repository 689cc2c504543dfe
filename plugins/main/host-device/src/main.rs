//! The `host-device` plugin.

fn main() -> std::process::ExitCode {
    cni_core::skel::main(&cni_host_device::HostDevice)
}
