//! BPF array maps in the agent's memory: reads and writes without a system call.
//!
//! The kernel lets an array that was made with `BPF_F_MMAPABLE` be mapped shared (`array_map_mmap`,
//! kernel/bpf/arraymap.c). Packets read it at the same time: whatever they must see whole is one aligned word.

#![expect(unsafe_code, reason = "shared memory with the kernel")]

use bytemuck::Pod;
use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering, fence},
};

/// An array map of `T`, mapped. Outlives the file descriptor it was made from.
#[derive(Debug)]
pub struct MappedArray<T> {
    base: NonNull<u8>,
    bytes: usize,
    len: u32,
    element: PhantomData<T>,
}

// SAFETY: the memory is shared with the kernel anyway; every access below is a volatile or atomic one of plain data.
unsafe impl<T: Send> Send for MappedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MappedArray<T> {}

impl<T: Pod> MappedArray<T> {
    /// Distance between elements, bytes: the kernel rounds values up to 8.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Maps the array of `len` elements behind `map`.
    ///
    /// # Errors
    /// What mmap(2) answers; `EPERM` where the map was made without `BPF_F_MMAPABLE`.
    pub fn new(map: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= 8) };
        let bytes = len as usize * Self::STRIDE;
        // SAFETY: a fresh mapping at an address of the kernel's choice; nothing else refers to it.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast())
            .ok_or_else(|| io::Error::other("mmap answered a null address"))?;
        Ok(Self {
            base,
            bytes,
            len,
            element: PhantomData,
        })
    }

    /// Number of elements.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True where the array has no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of the element at `index`; `None` past the end.
    pub fn read(&self, index: u32) -> Option<T> {
        // SAFETY: `at` is in bounds and aligned; every bit pattern is a `T`.
        self.at(index)
            .map(|element| unsafe { element.cast::<T>().read_volatile() })
    }

    /// Writes the element at `index`, not atomically: for what no packet reads yet.
    ///
    /// # Panics
    /// Where `index` is past the end: the writer plans within [`Self::len`].
    pub fn write(&self, index: u32, value: T) {
        let element = self.at(index).expect("the writer plans within the array");
        // SAFETY: in bounds and aligned.
        unsafe { element.cast::<T>().write_volatile(value) }
    }

    /// Loads the aligned word at `offset` bytes into the element at `index`.
    ///
    /// # Panics
    /// Where the word is not inside the element.
    pub fn load_word(&self, index: u32, offset: usize) -> u64 {
        self.word(index, offset).load(Ordering::Acquire)
    }

    /// Stores the aligned word at `offset` bytes into the element at `index`, after everything written before it.
    ///
    /// # Panics
    /// Where the word is not inside the element.
    pub fn store_word(&self, index: u32, offset: usize, value: u64) {
        fence(Ordering::SeqCst);
        self.word(index, offset).store(value, Ordering::Release);
    }

    /// Puts `new` where `old` is at the aligned word at `offset` bytes into the element at `index`; false: something else
    /// was there.
    ///
    /// # Panics
    /// Where the word is not inside the element.
    pub fn replace_word(&self, index: u32, offset: usize, old: u64, new: u64) -> bool {
        self.word(index, offset)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Adds `value` to the aligned word at `offset` bytes into the element at `index`, wrapping around.
    ///
    /// # Panics
    /// Where the word is not inside the element.
    pub fn add_to_word(&self, index: u32, offset: usize, value: u64) {
        self.word(index, offset).fetch_add(value, Ordering::AcqRel);
    }

    fn word(&self, index: u32, offset: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(8) && offset + 8 <= Self::STRIDE,
            "a word inside the element"
        );
        let element = self.at(index).expect("an element inside the array");
        // SAFETY: in bounds and aligned by the checks above; shared memory is only ever accessed atomically or volatile.
        unsafe { &*element.add(offset).cast::<AtomicU64>() }
    }

    fn at(&self, index: u32) -> Option<*mut u8> {
        // SAFETY: the offset is inside the mapping.
        (index < self.len).then(|| unsafe { self.base.as_ptr().add(index as usize * Self::STRIDE) })
    }
}

impl<T> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nothing borrows any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
