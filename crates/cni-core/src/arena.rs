//! The memory of a process that lives for a millisecond.
//!
//! A plugin allocates a few hundred small pieces and exits. A general allocator
//! asks the kernel for memory dozens of times on the way, which takes longer than
//! all the work done in it. [`Arena`] hands out pieces of a zeroed part of the
//! program itself (`.bss`), one after the other, at the cost of an addition; pages
//! that are never touched cost nothing. What does not fit comes from the system's
//! allocator, so that there is no limit, and long-lived programs lose no more than
//! the arena.
//!
//! ```
//! #[global_allocator]
//! static MEMORY: cni_core::Arena = cni_core::Arena::new();
//! ```
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire},
};

/// Bytes of the arena: several times what an ADD of a dual-stack network takes.
const SIZE: usize = 512 * 1024;

/// The least alignment, as every C library's: there is code that takes bytes it has
/// allocated for a structure of the kernel's.
const ALIGN: usize = align_of::<usize>();

#[repr(align(4096))]
struct Memory(#[expect(dead_code, reason = "reached through pointers only")] [u8; SIZE]);

/// An allocator for `#[global_allocator]`, see the module.
pub struct Arena {
    /// Offset of the first byte that is free; all after it are.
    next: AtomicUsize,
    /// Offset from which on no byte was ever handed out, so that all are zero.
    fresh: AtomicUsize,
    memory: UnsafeCell<Memory>,
}

// SAFETY: the memory is only reached through pieces handed out by moving `next`
// atomically, so that no two overlap.
unsafe impl Sync for Arena {}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl Arena {
    /// An arena of which nothing is taken.
    pub const fn new() -> Self {
        Arena {
            next: AtomicUsize::new(0),
            fresh: AtomicUsize::new(0),
            memory: UnsafeCell::new(Memory([0; SIZE])),
        }
    }

    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// Takes a piece; `None` when it does not fit. Also returned: whether no byte of
    /// it was ever used.
    fn take(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        let mut next = self.next.load(Acquire);
        loop {
            // The start is aligned to a page, so offsets align as addresses do up to that.
            let offset = next.checked_next_multiple_of(layout.align().max(ALIGN))?;
            let end = offset.checked_add(layout.size())?;
            if end > SIZE || layout.align() > align_of::<Memory>() {
                return None;
            }
            match self.next.compare_exchange_weak(next, end, AcqRel, Acquire) {
                Ok(_) => {
                    let is_fresh = self.fresh.fetch_max(end, AcqRel) <= offset;
                    // SAFETY: offset <= end <= SIZE, so the result is inside the memory
                    // or one past it.
                    return Some((unsafe { self.start().add(offset) }, is_fresh));
                }
                Err(now) => next = now,
            }
        }
    }

    /// The offset of a piece that came from here; `None` for the system's.
    fn offset_of(&self, piece: *mut u8) -> Option<usize> {
        let offset = piece.addr().checked_sub(self.start().addr())?;
        (offset < SIZE).then_some(offset)
    }

    /// Moves the end of the last piece taken; false when another came after it.
    fn move_end(&self, from: usize, to: usize) -> bool {
        if to > SIZE {
            return false;
        }
        // First, so that whoever takes these bytes after the next line knows.
        self.fresh.fetch_max(to, AcqRel);
        self.next
            .compare_exchange(from, to, AcqRel, Acquire)
            .is_ok()
    }
}

// SAFETY: a piece is as large and as aligned as asked for and overlaps no other that
// is in use: `next` moves up by the piece's own size, and moves back only over the
// last piece, by whoever gives that one up.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some((piece, _)) => piece,
            // SAFETY: the caller's promises are handed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some((piece, true)) => piece,
            Some((piece, false)) => {
                // SAFETY: the piece is `layout.size()` bytes that nobody else uses.
                unsafe { piece.write_bytes(0, layout.size()) };
                piece
            }
            // SAFETY: the caller's promises are handed on.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match self.offset_of(piece) {
            // Given up for good unless it was the last.
            Some(offset) => {
                self.move_end(offset + layout.size(), offset);
            }
            // SAFETY: not from here, so from the system's allocator by this layout.
            None => unsafe { System.dealloc(piece, layout) },
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset_of(piece) else {
            // SAFETY: not from here, so from the system's allocator by this layout.
            return unsafe { System.realloc(piece, layout, size) };
        };
        if self.move_end(offset + layout.size(), offset + size) {
            return piece;
        }
        if size <= layout.size() {
            return piece;
        }
        // SAFETY: `realloc` promises that this size is valid with this alignment.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the size is not zero, as promised by the caller.
        let copy = unsafe { self.alloc(larger) };
        if !copy.is_null() {
            // SAFETY: both are at least `layout.size()` bytes and do not overlap.
            unsafe { copy.copy_from_nonoverlapping(piece, layout.size()) };
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    fn is_zero(piece: *mut u8, size: usize) -> bool {
        // SAFETY: callers pass pieces of this size.
        unsafe { std::slice::from_raw_parts(piece, size) }
            .iter()
            .all(|byte| *byte == 0)
    }

    #[test]
    fn pieces_are_aligned_and_the_last_comes_back() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those the pieces were taken by.
        unsafe {
            let one = arena.alloc(layout(3, 1));
            let two = arena.alloc(layout(64, 64));
            assert_eq!(two.addr() % 64, 0);
            assert!(two.addr() >= one.addr() + 3);
            arena.dealloc(two, layout(64, 64));
            assert_eq!(arena.alloc(layout(64, 64)), two);
            // Not the last: given up, and not handed out again.
            arena.dealloc(one, layout(3, 1));
            assert!(arena.alloc(layout(1, 1)).addr() > two.addr());
        }
    }

    #[test]
    fn growing_keeps_the_content() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those the pieces were taken by, writes stay within them.
        unsafe {
            let piece = arena.alloc(layout(8, 1));
            piece.write_bytes(7, 8);
            let grown = arena.realloc(piece, layout(8, 1), 100);
            assert_eq!(grown, piece, "the last piece grows in place");
            arena.alloc(layout(1, 1));
            let moved = arena.realloc(grown, layout(100, 1), 200);
            assert_ne!(moved, grown);
            assert_eq!(std::slice::from_raw_parts(moved, 8), [7; 8]);
            let shrunk = arena.realloc(grown, layout(100, 1), 4);
            assert_eq!(shrunk, grown);
            assert_eq!(std::slice::from_raw_parts(shrunk, 4), [7; 4]);
        }
    }

    #[test]
    fn zeroed_means_zeroed() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those the pieces were taken by, writes stay within them.
        unsafe {
            let dirty = arena.alloc(layout(100, 1));
            dirty.write_bytes(0xff, 100);
            arena.dealloc(dirty, layout(100, 1));
            let piece = arena.alloc_zeroed(layout(50, 1));
            assert_eq!(piece, dirty);
            assert!(is_zero(piece, 50));
            let grown = arena.realloc(piece, layout(50, 1), 300);
            grown.write_bytes(0xff, 300);
            arena.realloc(grown, layout(300, 1), 10);
            let again = arena.alloc_zeroed(layout(400, 1));
            assert!(is_zero(again, 400));
        }
    }

    #[test]
    fn large_pieces_come_from_the_system() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those the pieces were taken by.
        unsafe {
            let large = layout(SIZE + 1, 8);
            let piece = arena.alloc_zeroed(large);
            assert_eq!(arena.offset_of(piece), None);
            assert!(is_zero(piece, SIZE + 1));
            let piece = arena.realloc(piece, large, 2 * SIZE);
            arena.dealloc(piece, layout(2 * SIZE, 8));
            let whole = arena.alloc(layout(SIZE, 1));
            assert_eq!(arena.offset_of(whole), Some(0));
            let next = arena.alloc(layout(1, 1));
            assert_eq!(arena.offset_of(next), None);
            arena.dealloc(next, layout(1, 1));
        }
    }

    #[test]
    fn threads_do_not_share_pieces() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        thread::scope(|scope| {
            for number in 1..=4u8 {
                scope.spawn(move || {
                    for _ in 0..500 {
                        let size = layout(40, 8);
                        // SAFETY: as above.
                        unsafe {
                            let piece = arena.alloc(size);
                            piece.write_bytes(number, 40);
                            thread::yield_now();
                            assert_eq!(std::slice::from_raw_parts(piece, 40), [number; 40]);
                            arena.dealloc(piece, size);
                        }
                    }
                });
            }
        });
    }
}
