//! The `sample` plugin.

#[global_allocator]
static MEMORY: cni_core::Arena = cni_core::Arena::new();

fn main() -> std::process::ExitCode {
    cni_core::skel::main(&cni_sample::Sample)
}
