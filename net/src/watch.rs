//! Tells that something of a namespace's interfaces, addresses, routes or queues has changed; not what. Whoever asks looks at what
//! it cares for.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::StreamExt as _;
use futures_util::future::select;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::sys::SocketAddr;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

// Not of neighbours: those of every link change all the time.
const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Tc,
];

/// Hears of changes.
pub struct Watch {
    runtime: Runtime,
    news: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    waker: Waker,
}

/// Ends a wait from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    /// Ends the wait that is going on, or the next one.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl Watch {
    /// For the network namespace of this thread.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn open() -> io::Result<Watch> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let news = {
            let _entered = runtime.enter();
            let (connection, _, news) = rtnetlink::new_multicast_connection(&GROUPS)?;
            runtime.spawn(connection);
            news
        };
        Ok(Watch { runtime, news, waker: Waker::default() })
    }

    /// What ends a wait.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Hears nothing for so long, unless the [`Waker`] is used: says whether it was.
    pub fn pause(&mut self, long: Duration) -> bool {
        let woken = self.waker.0.notified();
        self.runtime.block_on(async { tokio::time::timeout(long, woken).await.is_ok() })
    }

    /// Waits until something changes or the [`Waker`] is used, at most as long; says whether something did. Changes that
    /// come together are told once.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let (news, waker) = (&mut self.news, &self.waker);
        self.runtime.block_on(async {
            let woken = pin!(waker.0.notified());
            let either = select(news.next(), woken);
            let heard = tokio::time::timeout(at_most, either).await.is_ok();
            while heard && news.try_recv().is_ok() {}
            heard
        })
    }
}
