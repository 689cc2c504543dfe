//! The `vlan` plugin.

fn main() -> std::process::ExitCode {
    cni_core::skel::main(&cni_vlan::Vlan)
}
