//! Scripted chance for the tests of this crate.

use std::sync::{Arc, Mutex};

use strongroom_domain::{Random, RandomUnavailable};

/// Gives the bytes it was given, in order, and none after them.
pub(crate) struct Scripted(Mutex<Vec<u8>>);

impl Scripted {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(bytes)))
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl Random for Scripted {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        let mut left = self.0.lock().unwrap();
        if left.len() < out.len() {
            return Err(RandomUnavailable);
        }
        let later = left.split_off(out.len());
        out.copy_from_slice(&std::mem::replace(&mut *left, later));
        Ok(())
    }
}

/// Counts upwards: enough chance where only difference matters.
pub(crate) struct Counting(Mutex<u64>);

impl Counting {
    pub(crate) fn from(first: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(first)))
    }
}

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        let mut next = self.0.lock().unwrap();
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&next.to_be_bytes()[8 - chunk.len()..]);
            *next += 1;
        }
        Ok(())
    }
}
