//! A bump allocator for processes that run for a millisecond.
//!
//! A plugin allocates a few hundred small blocks and exits. The system's allocator asks
//! the kernel for memory dozens of times meanwhile, which takes longer than the work done
//! in that memory. [`Arena`] allocates consecutive blocks of a zeroed section of the
//! program (`.bss`), which takes one addition each; pages that are never touched use no
//! memory. Blocks that do not fit come from the system's allocator, so there is no limit,
//! and a long-running program wastes at most the size of the arena.
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

/// Size in bytes: several times what an ADD of a dual-stack network allocates.
const SIZE: usize = 512 * 1024;

/// Minimum alignment, as in C libraries: some code allocates bytes and casts them to a
/// structure of the kernel.
const ALIGN: usize = align_of::<usize>();

#[repr(align(4096))]
struct Memory(#[expect(dead_code, reason = "reached through pointers only")] [u8; SIZE]);

/// Bump allocator for `#[global_allocator]`, see the module.
pub struct Arena {
    /// Offset of the first free byte; all bytes after it are free.
    next: AtomicUsize,
    /// Offset of the first byte that was never allocated; it and all after it are zero.
    high_water: AtomicUsize,
    memory: UnsafeCell<Memory>,
}

// SAFETY: the memory is only accessed through blocks, which are allocated by moving
// `next` atomically, so no two overlap.
unsafe impl Sync for Arena {}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl Arena {
    /// Returns an empty arena.
    pub const fn new() -> Self {
        Arena {
            next: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            memory: UnsafeCell::new(Memory([0; SIZE])),
        }
    }

    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// Allocates a block, and returns it and whether it was never allocated before, and is
    /// therefore zero. `None` if it does not fit.
    fn bump(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        if cfg!(feature = "without-arena") {
            return None;
        }
        let mut next = self.next.load(Acquire);
        loop {
            // The start is page-aligned, so up to a page aligned offsets are aligned addresses.
            let offset = next.checked_next_multiple_of(layout.align().max(ALIGN))?;
            let end = offset.checked_add(layout.size())?;
            if end > SIZE || layout.align() > align_of::<Memory>() {
                return None;
            }
            match self.next.compare_exchange_weak(next, end, AcqRel, Acquire) {
                Ok(_) => {
                    let is_untouched = self.high_water.fetch_max(end, AcqRel) <= offset;
                    // SAFETY: offset <= end <= SIZE, so the result is inside the memory
                    // or one past it.
                    return Some((unsafe { self.start().add(offset) }, is_untouched));
                }
                Err(now) => next = now,
            }
        }
    }

    /// Returns the offset of a block of the arena; `None` for a block of the system's
    /// allocator.
    fn offset_of(&self, block: *mut u8) -> Option<usize> {
        let offset = block.addr().checked_sub(self.start().addr())?;
        (offset < SIZE).then_some(offset)
    }

    /// Moves the end of the last block. Returns `false` if another block follows it, or the
    /// new end is beyond the arena.
    fn resize_last(&self, from: usize, to: usize) -> bool {
        if to > SIZE {
            return false;
        }
        // Before the exchange, so that a thread that allocates these bytes after it sees
        // that they may not be zero.
        self.high_water.fetch_max(to, AcqRel);
        self.next
            .compare_exchange(from, to, AcqRel, Acquire)
            .is_ok()
    }
}

// SAFETY: a block has the requested size and alignment and overlaps no other block in
// use: `next` moves up by the size of the block, and back only over the last block when
// that is deallocated.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.bump(layout) {
            Some((block, _)) => block,
            // SAFETY: the caller upholds the same contract.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.bump(layout) {
            Some((block, true)) => block,
            Some((block, false)) => {
                // SAFETY: the block has `layout.size()` bytes and no other user.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: the caller upholds the same contract.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset_of(block) {
            // Only the last block can be reused.
            Some(offset) => {
                self.resize_last(offset + layout.size(), offset);
            }
            // SAFETY: not of the arena, so of the system's allocator with this layout.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset_of(block) else {
            // SAFETY: not of the arena, so of the system's allocator with this layout.
            return unsafe { System.realloc(block, layout, size) };
        };
        if self.resize_last(offset + layout.size(), offset + size) {
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: `realloc` promises that this size is valid with this alignment.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the size is not zero, as promised by the caller.
        let copy = unsafe { self.alloc(larger) };
        if !copy.is_null() {
            // SAFETY: both are at least `layout.size()` bytes and do not overlap.
            unsafe { copy.copy_from_nonoverlapping(block, layout.size()) };
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

    fn is_zero(block: *mut u8, size: usize) -> bool {
        // SAFETY: callers pass blocks of this size.
        unsafe { std::slice::from_raw_parts(block, size) }
            .iter()
            .all(|byte| *byte == 0)
    }

    #[test]
    fn blocks_are_aligned_and_the_last_is_reused() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those of the allocations.
        unsafe {
            let one = arena.alloc(layout(3, 1));
            let two = arena.alloc(layout(64, 64));
            assert_eq!(two.addr() % 64, 0);
            assert!(two.addr() >= one.addr() + 3);
            arena.dealloc(two, layout(64, 64));
            assert_eq!(arena.alloc(layout(64, 64)), two);
            // Any other block is not reused.
            arena.dealloc(one, layout(3, 1));
            assert!(arena.alloc(layout(1, 1)).addr() > two.addr());
        }
    }

    #[test]
    fn growing_keeps_the_content() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those of the allocations, and writes stay within the blocks.
        unsafe {
            let block = arena.alloc(layout(8, 1));
            block.write_bytes(7, 8);
            let grown = arena.realloc(block, layout(8, 1), 100);
            assert_eq!(grown, block, "the last block grows in place");
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
    fn reused_memory_is_zeroed() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those of the allocations, and writes stay within the blocks.
        unsafe {
            let dirty = arena.alloc(layout(100, 1));
            dirty.write_bytes(0xff, 100);
            arena.dealloc(dirty, layout(100, 1));
            let block = arena.alloc_zeroed(layout(50, 1));
            assert_eq!(block, dirty);
            assert!(is_zero(block, 50));
            let grown = arena.realloc(block, layout(50, 1), 300);
            grown.write_bytes(0xff, 300);
            arena.realloc(grown, layout(300, 1), 10);
            let again = arena.alloc_zeroed(layout(400, 1));
            assert!(is_zero(again, 400));
        }
    }

    #[test]
    fn blocks_that_do_not_fit_come_from_the_system() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        // SAFETY: layouts are those of the allocations.
        unsafe {
            let large = layout(SIZE + 1, 8);
            let block = arena.alloc_zeroed(large);
            assert_eq!(arena.offset_of(block), None);
            assert!(is_zero(block, SIZE + 1));
            let block = arena.realloc(block, large, 2 * SIZE);
            arena.dealloc(block, layout(2 * SIZE, 8));
            let whole = arena.alloc(layout(SIZE, 1));
            assert_eq!(arena.offset_of(whole), Some(0));
            let next = arena.alloc(layout(1, 1));
            assert_eq!(arena.offset_of(next), None);
            arena.dealloc(next, layout(1, 1));
        }
    }

    #[test]
    fn threads_do_not_share_blocks() {
        static ARENA: Arena = Arena::new();
        let arena = &ARENA;
        thread::scope(|scope| {
            for number in 1..=4u8 {
                scope.spawn(move || {
                    for _ in 0..500 {
                        let size = layout(40, 8);
                        // SAFETY: as above.
                        unsafe {
                            let block = arena.alloc(size);
                            block.write_bytes(number, 40);
                            thread::yield_now();
                            assert_eq!(std::slice::from_raw_parts(block, 40), [number; 40]);
                            arena.dealloc(block, size);
                        }
                    }
                });
            }
        });
    }
}
