//! Two things at once, where both of them mostly wait.

use std::thread;

/// Runs `aside` in a thread of its own, which shares the network namespace, while
/// `main` runs in the calling one.
pub fn beside<A: Send, M>(aside: impl FnOnce() -> A + Send, main: impl FnOnce() -> M) -> (A, M) {
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
    fn both_are_done() {
        assert_eq!(super::beside(|| 1, || 2), (1, 2));
    }
}
