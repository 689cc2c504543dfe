//! The `ipvlan` plugin.

fn main() -> std::process::ExitCode {
    cni_core::skel::main(&cni_ipvlan::Ipvlan)
}
