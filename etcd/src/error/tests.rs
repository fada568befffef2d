//! Texts of servers, sorted. The real ones are made in tests/etcd.rs.

use super::*;

#[test]
fn what_people_can_mend_comes_before_what_is_away() {
    let away = EtcdError::silent("https://a:2379", std::time::Duration::from_secs(5));
    let login = EtcdError::new(ErrorKind::Login, "https://b:2379", "look at user=");
    let both = EtcdError::all(vec![away, login]);
    assert_eq!(both.kind, ErrorKind::Login);
    assert!(both.to_string().starts_with("https://a:2379: no answer within 5s"), "{both}");
    assert!(both.to_string().ends_with("; https://b:2379: look at user="), "{both}");
}

#[test]
fn a_watch_that_ended_says_why() {
    let error = |compacted, reason| EtcdError::of_watch("http://a:1", "/b/objects/", compacted, reason);
    assert_eq!(error(7, "etcdserver: mvcc: required revision has been compacted").kind, ErrorKind::Compacted);
    assert_eq!(error(0, "etcdserver: invalid auth token").kind, ErrorKind::Token);
    assert_eq!(error(0, "etcdserver: no leader").kind, ErrorKind::Unreachable);
    let denied = error(0, "etcdserver: permission denied");
    assert_eq!(denied.kind, ErrorKind::Forbidden);
    assert!(denied.to_string().contains("--prefix=true /b/objects/"), "{denied}");
}
