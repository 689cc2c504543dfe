//! The `tap` plugin, and the helper that it starts itself as.

#[global_allocator]
static MEMORY: cni_core::Arena = cni_core::Arena::new();

fn main() -> std::process::ExitCode {
    cni_tap::helper::main().unwrap_or_else(|| cni_core::skel::main(&cni_tap::Tap))
}
