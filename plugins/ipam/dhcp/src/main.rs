//! The `dhcp` executable: plugin, daemon and status command.

fn main() -> std::process::ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    cni_dhcp::command_line(&arguments).unwrap_or_else(|| cni_core::skel::main(&cni_dhcp::Dhcp))
}
