//! Backends that a socket asks directly, beside the VIP that leads to them: each answer shows what it last asked.

use super::*;

/// A direct send from the socket to an endpoint.
fn send_itself(m: &Model, cookie: u64, to: Endpoint) {
    let d = send(m, &Ask { vip: to, ..Model::ask(1, cookie, UDP) });
    assert_eq!((d.verdict, d.redirected), (Verdict::NotService, false));
}

/// What an answer from an endpoint shows as sender.
fn sender(m: &Model, cookie: u64, from: Endpoint) -> Endpoint {
    receive(m, cookie, &from).unwrap_or(from)
}

#[test]
fn a_backend_that_is_asked_directly_answers_as_itself_until_its_vip_is_asked_again() {
    let mut m = Model::new(1, 3, 0, 0);
    let ask = Model::ask(1, 5, UDP);
    let backend = send(&m, &ask).to;
    for _ in 0..3 {
        send_itself(&m, 5, backend);
        assert_eq!(sender(&m, 5, backend), backend);
        assert_eq!(send(&m, &ask), Decision { verdict: Verdict::Kept, redirected: true, to: backend }, "it is kept");
        assert_eq!(sender(&m, 5, backend), at(1, 80));
        // Others, asked directly, change nothing; nor does the backend asked by another socket.
        send_itself(&m, 5, at(77, 7));
        send_itself(&m, 6, backend);
        assert_eq!(sender(&m, 5, backend), at(1, 80));
    }
    assert_eq!(m.sockets.borrow().len(), 1, "it costs no entry");
    // The VIP's backend moves on: each of the two, as it was last asked.
    send_itself(&m, 5, backend);
    let left: Vec<u32> = (0..3).filter(|n| at(1100 + n, 8080) != backend).collect();
    m.set(1, &left, 0, 0);
    let second = send(&m, &ask).to;
    assert_eq!((sender(&m, 5, backend), sender(&m, 5, second)), (backend, at(1, 80)));
    send_itself(&m, 5, second);
    assert_eq!((sender(&m, 5, backend), sender(&m, 5, second)), (backend, second));
    m.set(1, &[0, 1, 2].into_iter().filter(|n| at(1100 + n, 8080) != second).collect::<Vec<_>>(), 0, 0);
    send(&m, &ask);
    assert_eq!(sender(&m, 5, second), second);
    m.close(5, UDP);
    assert!(m.sockets.borrow().is_empty());
    // An answer of a backend that has gone is the VIP's, unless that one was asked directly since.
    let mut m = Model::new(1, 2, 0, 0);
    let first = send(&m, &ask).to;
    m.set(1, &[1], 0, 0);
    let second = send(&m, &ask).to;
    assert_eq!((sender(&m, 5, first), sender(&m, 5, second)), (at(1, 80), at(1, 80)));
    send_itself(&m, 5, first);
    assert_eq!((sender(&m, 5, first), sender(&m, 5, second)), (first, at(1, 80)));
}

#[test]
fn backends_of_several_vips_answer_as_they_were_last_asked() {
    // Each its own backend, and all the same one.
    for shared in [false, true] {
        let mut m = Model::new(3, 1, 0, 0);
        let backend = |service: u32| if shared { at(5000, 8080) } else { at(1000 + service * 100, 8080) };
        for service in 1..=3 {
            m.backends.get_mut(&(service * 100)).unwrap().endpoint = backend(service);
        }
        for round in 0..2 {
            for service in 1..=3 {
                for other in 1..=3 {
                    assert!(send(&m, &Model::ask(service, 5, UDP)).redirected);
                    assert_eq!(sender(&m, 5, backend(service)), at(service, 80), "{shared} {round}");
                    send_itself(&m, 5, backend(other));
                    assert_eq!(sender(&m, 5, backend(other)), backend(other), "{shared} {round}");
                }
            }
        }
        m.close(5, UDP);
        assert!(m.sockets.borrow().is_empty(), "{:?}", m.sockets.borrow());
    }
}

#[test]
fn a_socket_that_is_connected_to_a_backend_itself_has_that_as_peer_and_sender() {
    let m = Model::new(2, 1, 0, 0);
    let (one, two) = (at(1100, 8080), at(1200, 8080));
    let itself = |cookie, to| connect(&m, &Ask { vip: to, ..Model::ask(1, cookie, UDP) });
    // Connected to the backend, then sent to the VIP, and the other way round.
    itself(5, one);
    send(&m, &Model::ask(1, 5, UDP));
    assert_eq!((peer(&m, 5, &one), sender(&m, 5, one)), (None, at(1, 80)));
    itself(5, one);
    assert_eq!((peer(&m, 5, &one), sender(&m, 5, one)), (None, one));
    // The VIP, the backend, the VIP.
    for _ in 0..2 {
        connect(&m, &Model::ask(1, 6, UDP));
        assert_eq!((peer(&m, 6, &one), sender(&m, 6, one)), (Some(at(1, 80)), at(1, 80)));
        send_itself(&m, 6, one);
        assert_eq!((peer(&m, 6, &one), sender(&m, 6, one)), (Some(at(1, 80)), one), "it is connected to the VIP");
        itself(6, one);
        assert_eq!((peer(&m, 6, &one), sender(&m, 6, one)), (None, one));
    }
    // One that has sent to both.
    for (to, other) in [(one, two), (two, one)] {
        send(&m, &Model::ask(1, 7, UDP));
        send(&m, &Model::ask(2, 7, UDP));
        send(&m, &Model::ask(1, 7, UDP));
        itself(7, to);
        assert_eq!((peer(&m, 7, &to), sender(&m, 7, to)), (None, to));
        assert!(peer(&m, 7, &other).is_none());
        connect(&m, &Model::ask(1, 7, UDP));
        assert_eq!((peer(&m, 7, &one), sender(&m, 7, one)), (Some(at(1, 80)), at(1, 80)));
        connect(&m, &Model::ask(2, 7, UDP));
        assert_eq!((peer(&m, 7, &two), sender(&m, 7, two)), (Some(at(2, 80)), at(2, 80)));
    }
    for cookie in 5..=7 {
        m.close(cookie, UDP);
    }
    assert!(m.sockets.borrow().is_empty(), "{:?}", m.sockets.borrow());
}

#[test]
fn an_ipv6_socket_that_is_connected_to_a_mapped_vip_keeps_it() {
    let m = Model::new(1, 1, 0, 0);
    let one = at(1100, 8080);
    let sent = |cookie| send(&m, &Ask { vip: one, may_be_connection: true, ..Model::ask(1, cookie, UDP) });
    connect(&m, &Model::ask(1, 5, UDP));
    assert_eq!(sent(5).verdict, Verdict::NotService);
    assert_eq!((peer(&m, 5, &one), sender(&m, 5, one)), (Some(at(1, 80)), at(1, 80)));
    // One that is connected to the backend itself, and sends to the VIP between.
    connect(&m, &Ask { vip: one, ..Model::ask(1, 6, UDP) });
    for _ in 0..2 {
        send(&m, &Model::ask(1, 6, UDP));
        assert_eq!((peer(&m, 6, &one), sender(&m, 6, one)), (None, at(1, 80)));
        sent(6);
        assert_eq!((peer(&m, 6, &one), sender(&m, 6, one)), (None, one));
    }
}

#[test]
fn whatever_one_socket_does_each_answer_is_whom_it_last_asked_and_nothing_stays_behind() {
    // Three Services, of which two share a backend; every sequence of four steps of: send to a VIP, connect to a VIP,
    // the same directly to a backend.
    let mut m = Model::new(3, 1, 0, 0);
    let backends = [at(5000, 8080), at(5000, 8080), at(1300, 8080)];
    for service in 1..=3 {
        m.backends.get_mut(&(service * 100)).unwrap().endpoint = backends[service as usize - 1];
    }
    let targets = [(at(1, 80), backends[0]), (at(2, 80), backends[1]), (at(3, 80), backends[2])];
    let targets = [&targets[..], &[(backends[0], backends[0]), (backends[2], backends[2])]].concat();
    let steps = targets.len() * 2;
    for sequence in 0..steps.pow(4) {
        let (mut rest, mut last, mut connected) = (sequence, HashMap::new(), None);
        let mut done = Vec::new();
        for _ in 0..4 {
            let (asked, backend) = targets[rest % steps / 2];
            let ask = Ask { vip: asked, ..Model::ask(1, 5, UDP) };
            if rest % 2 == 0 {
                send(&m, &ask);
                done.push(("send", asked));
                last.insert(backend, asked);
            } else {
                connect(&m, &ask);
                done.push(("connect", asked));
                // From others it gets nothing any more.
                connected = Some((asked, backend));
                last.clear();
                last.insert(backend, asked);
            }
            rest /= steps;
            for (backend, asked) in &last {
                assert_eq!(sender(&m, 5, *backend), *asked, "{done:?}");
            }
            if let Some((asked, backend)) = connected {
                assert_eq!(peer(&m, 5, &backend).unwrap_or(backend), asked, "{done:?}");
            }
        }
        m.close(5, UDP);
        assert!(m.sockets.borrow().is_empty(), "{done:?}: {:?}", m.sockets.borrow());
    }
}
