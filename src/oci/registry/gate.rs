//! How many requests one host gets at once.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::url::Origin;

/// One gate for each host.
#[derive(Debug)]
pub(super) struct Gates {
    limit: usize,
    hosts: Mutex<HashMap<Origin, Arc<Gate>>>,
}

#[derive(Debug)]
struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

/// Leave for one request, until dropped. Who holds one must not ask for another.
#[derive(Debug)]
pub(super) struct Permit(Arc<Gate>);

impl Gates {
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            hosts: Mutex::default(),
        }
    }

    /// Waits until `host` has fewer requests than the limit.
    pub fn enter(&self, host: &Origin) -> Permit {
        let gate = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let gate = hosts.entry(host.clone()).or_insert_with(|| {
                Arc::new(Gate {
                    free: Mutex::new(self.limit),
                    freed: Condvar::new(),
                })
            });
            Arc::clone(gate)
        };
        let free = gate.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = gate
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        Permit(gate)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free += 1;
        self.0.freed.notify_one();
    }
}
