//! Whether pods may start: not before the first whole read of the cluster is in the kernel (kubernetes#75890), since a pod
//! that starts earlier finds no Service.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Says why pods may not start yet, and lets those wait who ask.
#[derive(Debug)]
pub struct Ready {
    why_not: Mutex<Option<String>>,
    /// Nobody waits any more.
    ended: AtomicBool,
    changed: Condvar,
}

impl Default for Ready {
    fn default() -> Ready {
        let why = "the first whole read of the cluster is not in the kernel yet".to_owned();
        Ready { why_not: Mutex::new(Some(why)), ended: AtomicBool::new(false), changed: Condvar::new() }
    }
}

impl Ready {
    /// Pods may start, or, for the reason given, not.
    pub fn set(&self, why_not: Option<String>) {
        *self.why_not.lock().unwrap_or_else(PoisonError::into_inner) = why_not;
        self.changed.notify_all();
    }

    /// The agent ends: those that wait go away with what they waited for.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        drop(self.why_not.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Whether pods may start.
    ///
    /// # Errors
    /// Why not.
    pub fn now(&self) -> Result<(), String> {
        self.why_not.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Waits until they may.
    ///
    /// # Errors
    /// Why they may not even then.
    pub fn wait(&self, deadline: Instant) -> Result<(), String> {
        let mut why_not = self.why_not.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(why) = &*why_not {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.ended.load(Ordering::Acquire) {
                return Err(why.clone());
            }
            why_not = self.changed.wait_timeout(why_not, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}
