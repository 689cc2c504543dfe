//! Runs two steps concurrently, of which both mostly wait for the kernel.

use std::thread;

/// Runs `other` in a new thread, which is in the same network namespace, and `main` on the
/// calling thread, and returns both results.
pub fn join<A: Send, M>(other: impl FnOnce() -> A + Send, main: impl FnOnce() -> M) -> (A, M) {
    if cfg!(feature = "without-threads") {
        let main = main();
        return (other(), main);
    }
    thread::scope(|scope| {
        let running = scope.spawn(other);
        let main = main();
        match running.join() {
            Ok(other) => (other, main),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_results_are_returned() {
        assert_eq!(super::join(|| 1, || 2), (1, 2));
    }
}
