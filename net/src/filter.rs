//! Programs of the kernel that packets meet as filters of a device's clsact: how they do on kernels without tcx, which
//! came with Linux 6.6. A filter stays until it is removed, or its device goes.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use futures_util::TryStreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use crate::{EEXIST, Net, NetError, Order};

/// What kind of queueing discipline the filters hang on; it queues nothing.
const CLSACT: &str = "clsact";
/// Where our filters stand among others': after those with a lower number.
const PRIORITY: u16 = 100;
/// ETH_P_ALL.
const ALL_PROTOCOLS: u16 = 3;

/// Which packets of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that it has received.
    Ingress,
    /// Those that it is about to send.
    Egress,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

    fn parent(self) -> TcHandle {
        let minor = match self {
            Direction::Ingress => TcHandle::MIN_INGRESS,
            Direction::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: TcHandle::CLSACT.major, minor }
    }
}

/// A filter that is a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The name that was given to it.
    pub name: String,
    /// The program's id.
    pub program: u32,
    /// Priority and protocol, which together with the handle tell it from others.
    info: u32,
    handle: TcHandle,
}

impl Net {
    /// The filters of a device that are programs. A device that is gone has none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn filters(&self, device: u32, direction: Direction) -> Result<Vec<Filter>, NetError> {
        let request = self.handle.traffic_filter(device as i32).get();
        let request = match direction {
            Direction::Ingress => request.ingress(),
            Direction::Egress => request.egress(),
        };
        let messages: Vec<TcMessage> = self.runtime.block_on(request.execute().try_collect()).map_err(NetError)?;
        Ok(messages.iter().filter_map(read).collect())
    }

    /// Puts a program there, under a name of at most 255 bytes; one of this name is exchanged in one step.
    ///
    /// # Errors
    /// The kernel's: ENODEV, the device is gone; EINVAL, no program for packets.
    pub fn put_filter(
        &self,
        device: u32,
        direction: Direction,
        name: &str,
        program: BorrowedFd<'_>,
    ) -> Result<(), NetError> {
        self.add_clsact(device)?;
        let there = self.filters(device, direction)?.into_iter().find(|filter| filter.name == name);
        // Handle 0: the kernel takes a free one.
        let new = (u32::from(PRIORITY) << 16 | u32::from(ALL_PROTOCOLS.to_be()), TcHandle::default());
        let (info, handle) = there.map_or(new, |filter| (filter.info, filter.handle));
        let mut message = message(device, direction.parent(), TcFilterBpf::KIND);
        message.header.info = info;
        message.header.handle = handle;
        let options = [
            TcFilterBpfOption::ProgFd(program.as_raw_fd() as u32),
            TcFilterBpfOption::ProgName(name.to_owned()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        message.attributes.push(TcAttribute::Options(options.map(TcOption::Bpf).into()));
        self.tell(vec![Order { message: RouteNetlinkMessage::NewTrafficFilter(message), flags: NLM_F_CREATE }])
    }

    /// Removes the filter of a name; says whether there was one. The empty clsact stays.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_filter(&self, device: u32, direction: Direction, name: &str) -> Result<bool, NetError> {
        let Some(filter) = self.filters(device, direction)?.into_iter().find(|filter| filter.name == name) else {
            return Ok(false);
        };
        let mut message = message(device, direction.parent(), TcFilterBpf::KIND);
        message.header.info = filter.info;
        message.header.handle = filter.handle;
        self.tell(vec![Order { message: RouteNetlinkMessage::DelTrafficFilter(message), flags: 0 }]).map(|()| true)
    }

    fn add_clsact(&self, device: u32) -> Result<(), NetError> {
        let mut message = message(device, TcHandle::CLSACT, CLSACT);
        message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
        let message = RouteNetlinkMessage::NewQueueDiscipline(message);
        match self.tell(vec![Order { message, flags: NLM_F_CREATE | NLM_F_EXCL }]) {
            Err(error) if error.errno() == Some(EEXIST) => Ok(()),
            result => result,
        }
    }
}

fn message(device: u32, parent: TcHandle, kind: &str) -> TcMessage {
    let header = TcHeader { index: device as i32, parent, ..TcHeader::default() };
    TcMessage::from_parts(header, vec![TcAttribute::Kind(kind.to_owned())])
}

/// None of a message that is of no program: another kind of filter, or the head of their list.
fn read(message: &TcMessage) -> Option<Filter> {
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let mut filter =
        Filter { name: String::new(), program: 0, info: message.header.info, handle: message.header.handle };
    for option in options {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => filter.name.clone_from(name),
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => filter.program = *id,
            _ => {}
        }
    }
    (filter.program != 0).then_some(filter)
}
