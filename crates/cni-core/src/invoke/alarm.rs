//! A deadline for code that runs in this process.

#![allow(unsafe_code)]

use crate::{Code, Error};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::alarm;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

/// The error object that the signal handler prints. It is never freed.
static TEXT: AtomicPtr<String> = AtomicPtr::new(ptr::null_mut());

/// A running alarm (`alarm(2)`), of which a process has one. If it is not dropped in time,
/// the process ends with an error object on standard output.
#[must_use]
pub(super) struct Alarm {
    /// The deadline and error object of the alarm that this one has replaced.
    outer: Option<(Instant, *mut String)>,
}

impl Alarm {
    /// Sets the alarm for the plugin `name`, unless an earlier one is set. Seconds are
    /// rounded up.
    pub(super) fn set(name: &str, time: Duration) -> Alarm {
        let seconds = seconds(time);
        let error = Error::new(
            Code::INTERNAL,
            format!("the {name} plugin had not finished after {seconds} s"),
        )
        .with_details("it ran in this process, which ended; DEL removes what was created");
        let text = Box::into_raw(Box::new(error.to_json()));
        let outer_text = TEXT.swap(text, Ordering::AcqRel);
        if outer_text.is_null() {
            let expired = SigHandler::Handler(expired);
            let action = SigAction::new(expired, SaFlags::empty(), SigSet::empty());
            // SAFETY: the handler makes async-signal-safe calls only. A failure is
            // impossible for a signal that can be caught.
            let _ = unsafe { sigaction(Signal::SIGALRM, &action) };
        }
        let left = alarm::set(seconds);
        let outer = left.map(|left| {
            let outer = Instant::now() + Duration::from_secs(left.into());
            if left < seconds {
                TEXT.store(outer_text, Ordering::Release);
                alarm::set(left);
            }
            (outer, outer_text)
        });
        Alarm { outer }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        match self.outer {
            Some((deadline, text)) => {
                TEXT.store(text, Ordering::Release);
                alarm::set(seconds(deadline.saturating_duration_since(Instant::now())));
            }
            None => {
                alarm::cancel();
            }
        }
    }
}

/// Returns the whole seconds of an alarm, which must not be 0.
fn seconds(time: Duration) -> u32 {
    let seconds = time.as_millis().div_ceil(1000).max(1);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

extern "C" fn expired(_: libc::c_int) {
    // SAFETY: `set` has stored a text before it set the alarm, and no text is freed.
    // write(2) and _exit(2) are async-signal-safe.
    unsafe {
        if let Some(text) = TEXT.load(Ordering::Acquire).as_ref() {
            let _ = libc::write(libc::STDOUT_FILENO, text.as_ptr().cast(), text.len());
        }
        libc::_exit(1)
    }
}
