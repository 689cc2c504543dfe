//! The `noop` plugin.

fn main() -> std::process::ExitCode {
    cni_noop::main()
}
