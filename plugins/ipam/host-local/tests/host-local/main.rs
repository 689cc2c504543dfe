//! Black-box tests: they run the built binary as an interface plugin does, each with a
//! state directory of its own. All are in one program, which is linked once.

mod adversity;
mod choice;
mod common;
mod crowd;
mod damage;
mod interop;
mod page;
mod reclaim;
mod verbs;
