//! The `sleep` plugin.

fn main() {
    cni_sleep::main();
}
