//! The `static` executable.
fn main() -> std::process::ExitCode {
    cni_core::skel::main(&cni_static::Static)
}
