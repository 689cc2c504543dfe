//! Two steps at once, where both mostly wait for the kernel.

use std::thread;

/// Runs `aside` in a thread of its own, which shares the network namespace, while
/// `main` runs on the calling thread, and returns both results.
pub fn join<A: Send, M>(aside: impl FnOnce() -> A + Send, main: impl FnOnce() -> M) -> (A, M) {
    thread::scope(|scope| {
        let running = scope.spawn(aside);
        let main = main();
        match running.join() {
            Ok(aside) => (aside, main),
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
