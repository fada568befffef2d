//! A description of the layout, by field, so that an agent can read the maps of one with another layout,
//! older or newer, and programs of one layout can read the socket entries of another while both live.
//!
//! The description is the only value of the pinned map `layout`. Its own form never changes: an array of
//! 16-bit numbers whose index is a [`Field`]; fields are only ever added at the end; [`ABSENT`] is a
//! field that the writer didn't have.

use crate::layout::{
    Affinity, AffinityKey, Backend, Frontend, FrontendKey, Name, Service, SocketKey, Translation, VERSION,
};
use core::mem::{offset_of, size_of};

/// Entries of a description.
pub const FIELDS: usize = 64;

/// A field that the layout doesn't have.
pub const ABSENT: u16 = u16::MAX;

/// What an entry of the description tells: the offset of a field in its record or the size of a record,
/// in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs, reason = "the names are those of the records and their fields in layout.rs")]
pub enum Field {
    FrontendKeySize,
    FrontendKeyAddress,
    FrontendKeyPort,
    FrontendKeyProtocol,
    FrontendSize,
    FrontendService,
    ServiceSize,
    ServiceCluster,
    ServiceTurn,
    BackendSize,
    BackendEndpoint,
    BackendService,
    BackendLife,
    AffinityKeySize,
    AffinityKeyClient,
    AffinityKeyService,
    AffinitySize,
    AffinityUsed,
    AffinityBackend,
    AffinityLife,
    SocketKeySize,
    SocketKeyCookie,
    SocketKeyPeer,
    SocketKeyService,
    TranslationSize,
    TranslationVip,
    TranslationBackend,
    TranslationPrevious,
    TranslationService,
    TranslationBackendId,
    TranslationLife,
    TranslationNext,
    NameSize,
    NameLength,
    NameText,
    ServiceStandIn,
}

/// The description of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Description {
    /// The layout's version; 0 is "none".
    pub version: u32,
    /// Zero.
    pub pad: u32,
    /// Indexed by [`Field`].
    pub fields: [u16; FIELDS],
}

impl Description {
    /// No layout.
    pub const NONE: Description = Description { version: 0, pad: 0, fields: [ABSENT; FIELDS] };

    /// The layout of this build.
    pub const OURS: Description = {
        let mut d = Description { version: VERSION, pad: 0, fields: [ABSENT; FIELDS] };
        let all = [
            (Field::FrontendKeySize, size_of::<FrontendKey>()),
            (Field::FrontendKeyAddress, offset_of!(FrontendKey, address)),
            (Field::FrontendKeyPort, offset_of!(FrontendKey, port)),
            (Field::FrontendKeyProtocol, offset_of!(FrontendKey, protocol)),
            (Field::FrontendSize, size_of::<Frontend>()),
            (Field::FrontendService, offset_of!(Frontend, service)),
            (Field::ServiceSize, size_of::<Service>()),
            (Field::ServiceCluster, offset_of!(Service, cluster)),
            (Field::ServiceTurn, offset_of!(Service, turn)),
            (Field::BackendSize, size_of::<Backend>()),
            (Field::BackendEndpoint, offset_of!(Backend, endpoint)),
            (Field::BackendService, offset_of!(Backend, service)),
            (Field::BackendLife, offset_of!(Backend, life)),
            (Field::AffinityKeySize, size_of::<AffinityKey>()),
            (Field::AffinityKeyClient, offset_of!(AffinityKey, client)),
            (Field::AffinityKeyService, offset_of!(AffinityKey, service)),
            (Field::AffinitySize, size_of::<Affinity>()),
            (Field::AffinityUsed, offset_of!(Affinity, used)),
            (Field::AffinityBackend, offset_of!(Affinity, backend)),
            (Field::AffinityLife, offset_of!(Affinity, life)),
            (Field::SocketKeySize, size_of::<SocketKey>()),
            (Field::SocketKeyCookie, offset_of!(SocketKey, cookie)),
            (Field::SocketKeyPeer, offset_of!(SocketKey, peer)),
            (Field::SocketKeyService, offset_of!(SocketKey, service)),
            (Field::TranslationSize, size_of::<Translation>()),
            (Field::TranslationVip, offset_of!(Translation, vip)),
            (Field::TranslationBackend, offset_of!(Translation, backend)),
            (Field::TranslationPrevious, offset_of!(Translation, previous)),
            (Field::TranslationService, offset_of!(Translation, service)),
            (Field::TranslationBackendId, offset_of!(Translation, backend_id)),
            (Field::TranslationLife, offset_of!(Translation, life)),
            (Field::TranslationNext, offset_of!(Translation, next)),
            (Field::NameSize, size_of::<Name>()),
            (Field::NameLength, offset_of!(Name, length)),
            (Field::NameText, offset_of!(Name, text)),
            (Field::ServiceStandIn, offset_of!(Service, stand_in)),
        ];
        let mut i = 0;
        while i < all.len() {
            d.fields[all[i].0 as usize] = all[i].1 as u16;
            i += 1;
        }
        d
    };

    /// The entry of a field.
    #[inline(always)]
    pub const fn at(&self, field: Field) -> u16 {
        self.fields[field as usize]
    }
}
