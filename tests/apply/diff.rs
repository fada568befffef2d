//! `bowline diff`: what it shows, and its exit status.

use crate::ground::{Ground, service};

#[test]
fn nothing_something_and_trouble() {
    let ground = Ground::new();
    ground.write("m.yaml", &service("web", ""));
    let new = ground.bowline("diff -f m.yaml");
    assert_eq!(new.status.code(), Some(1), "{new:?}");
    assert!(
        new.stdout.starts_with("--- LIVE/default.service.web\n+++ MERGED/default.service.web\n@@ -0,0 +1,"),
        "{}",
        new.stdout
    );
    assert!(ground.bowline("get services -o name").ok().is_empty(), "nothing was stored");

    ground.bowline("apply -f m.yaml").ok();
    let same = ground.bowline("diff -f m.yaml");
    assert_eq!((same.status.code(), &*same.stdout), (Some(0), ""));

    ground.write("m.yaml", &service("web", "sessionAffinity: ClientIP"));
    let changed = ground.bowline("diff -f m.yaml");
    assert_eq!(changed.status.code(), Some(1));
    for line in ["-  sessionAffinity: None\n", "+  sessionAffinity: ClientIP\n", "+      timeoutSeconds: 10800\n"] {
        assert!(changed.stdout.contains(line), "{line}: {}", changed.stdout);
    }
    ground.write("m.yaml", &(service("web", "clusterIP: 10.96.0.99") + &service("more", "")));
    let bad = ground.bowline("diff -f m.yaml");
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    assert!(bad.stderr.contains("service/web: spec.clusterIPs[0]: was ") && bad.stdout.contains("service.more"));
    assert_eq!(ground.bowline("diff -f nowhere.yaml").status.code(), Some(2));
}
