//! The order in which followers are told.

use std::sync::{Mutex, PoisonError};

use super::*;

type Log = Arc<Mutex<Vec<String>>>;

struct Named(&'static str, Log);

impl Named {
    fn say(&self, what: &str) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{} {what}", self.0));
    }
}

impl Follower for Named {
    fn come(&self, _: &Told<'_>) {
        self.say("come");
    }
    fn go(&self, _: &Told<'_>) {
        self.say("go");
    }
}

#[test]
fn what_comes_goes_down_the_row_and_what_goes_goes_up() {
    let log = Log::default();
    let mut row = Row::default();
    for name in ["kernel", "policy", "dns"] {
        row.push(Arc::new(Named(name, log.clone())));
    }
    row.tell(&Told::whole(&Snapshot::default()));
    let said = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(said, ["kernel come", "policy come", "dns come", "dns go", "policy go", "kernel go"]);
}
