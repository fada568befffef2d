//! Records to bytes and back, by a layout's description: the same code reads the maps of this layout and
//! of any other.

use bowline_ebpf::describe::{ABSENT, Description, FIELDS, Field};
use bowline_ebpf::layout::{Affinity, AffinityKey, Backend, Endpoint, FrontendKey, NAME_BYTES, SocketKey, Translation};

/// Reads and writes the records of one layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records(pub(crate) Description);

/// This build's layout.
pub(crate) const OURS: Records = Records(Description::OURS);

impl Records {
    /// The layout that a value of the map `layout` describes; None where it is not one.
    pub(crate) fn described_by(bytes: &[u8]) -> Option<Records> {
        let version = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        let mut fields = [ABSENT; FIELDS];
        for (field, bytes) in fields.iter_mut().zip(bytes.get(8..)?.chunks_exact(2)) {
            *field = u16::from_ne_bytes([bytes[0], bytes[1]]);
        }
        (version != 0).then_some(Records(Description { version, pad: 0, fields }))
    }

    /// The value of the map `layout`.
    pub(crate) fn description(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 2 * FIELDS);
        bytes.extend(self.0.version.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.0.fields.iter().flat_map(|f| f.to_ne_bytes()));
        bytes
    }

    /// Offset of a field, or size of a record, in bytes.
    pub(crate) fn at(&self, field: Field) -> usize {
        self.0.at(field) as usize
    }

    fn record(&self, size: Field) -> Vec<u8> {
        vec![0; self.at(size)]
    }

    fn put<const N: usize>(&self, record: &mut [u8], field: Field, value: [u8; N]) {
        let at = self.at(field);
        if let Some(to) = record.get_mut(at..at + N) {
            to.copy_from_slice(&value);
        }
    }

    fn get<const N: usize>(&self, record: &[u8], field: Field) -> [u8; N] {
        let at = self.at(field);
        record.get(at..at + N).and_then(|b| b.try_into().ok()).unwrap_or([0; N])
    }

    /// A `u32` field of a record.
    pub(crate) fn u32(&self, record: &[u8], field: Field) -> u32 {
        u32::from_ne_bytes(self.get(record, field))
    }

    /// A `u64` field of a record.
    pub(crate) fn u64(&self, record: &[u8], field: Field) -> u64 {
        u64::from_ne_bytes(self.get(record, field))
    }

    fn endpoint(&self, record: &[u8], field: Field) -> Endpoint {
        let raw: [u8; 20] = self.get(record, field);
        let mut address = [0; 16];
        address.copy_from_slice(&raw[..16]);
        Endpoint::from_bytes(address, u16::from_ne_bytes([raw[16], raw[17]]))
    }

    fn put_endpoint(&self, record: &mut [u8], field: Field, endpoint: &Endpoint) {
        let mut raw = [0u8; 20];
        raw[..16].copy_from_slice(&endpoint.bytes());
        raw[16..18].copy_from_slice(&endpoint.port.to_ne_bytes());
        self.put(record, field, raw);
    }

    /// Bytes of a key of `frontends`.
    pub(crate) fn frontend_key(&self, key: &FrontendKey) -> Vec<u8> {
        let mut r = self.record(Field::FrontendKeySize);
        self.put(&mut r, Field::FrontendKeyAddress, Endpoint::new(key.address, 0).bytes());
        self.put(&mut r, Field::FrontendKeyPort, key.port.to_ne_bytes());
        self.put(&mut r, Field::FrontendKeyProtocol, [key.protocol]);
        r
    }

    /// A key of `frontends`.
    pub(crate) fn read_frontend_key(&self, r: &[u8]) -> FrontendKey {
        let at = Endpoint::from_bytes(
            self.get(r, Field::FrontendKeyAddress),
            u16::from_ne_bytes(self.get(r, Field::FrontendKeyPort)),
        );
        let [protocol] = self.get(r, Field::FrontendKeyProtocol);
        FrontendKey::new(&at, protocol)
    }

    /// Bytes of a value of `frontends`.
    pub(crate) fn frontend(&self, service: u32) -> Vec<u8> {
        let mut r = self.record(Field::FrontendSize);
        self.put(&mut r, Field::FrontendService, service.to_ne_bytes());
        r
    }

    /// Bytes of an element of `backends`.
    pub(crate) fn backend(&self, backend: &Backend) -> Vec<u8> {
        let mut r = self.record(Field::BackendSize);
        self.put_endpoint(&mut r, Field::BackendEndpoint, &backend.endpoint);
        self.put(&mut r, Field::BackendService, backend.service.to_ne_bytes());
        self.put(&mut r, Field::BackendLife, backend.life.to_ne_bytes());
        r
    }

    /// An element of `backends`.
    pub(crate) fn read_backend(&self, r: &[u8]) -> Backend {
        Backend {
            endpoint: self.endpoint(r, Field::BackendEndpoint),
            service: self.u32(r, Field::BackendService),
            life: self.u32(r, Field::BackendLife),
            ..Backend::default()
        }
    }

    /// Bytes of a key of `affinity`.
    pub(crate) fn affinity_key(&self, key: &AffinityKey) -> Vec<u8> {
        let mut r = self.record(Field::AffinityKeySize);
        self.put(&mut r, Field::AffinityKeyClient, key.client.to_ne_bytes());
        self.put(&mut r, Field::AffinityKeyService, key.service.to_ne_bytes());
        r
    }

    /// A key of `affinity`.
    pub(crate) fn read_affinity_key(&self, r: &[u8]) -> AffinityKey {
        AffinityKey::new(self.u64(r, Field::AffinityKeyClient), self.u32(r, Field::AffinityKeyService))
    }

    /// Bytes of a value of `affinity`.
    pub(crate) fn affinity(&self, value: &Affinity) -> Vec<u8> {
        let mut r = self.record(Field::AffinitySize);
        self.put(&mut r, Field::AffinityUsed, value.used.to_ne_bytes());
        self.put(&mut r, Field::AffinityBackend, value.backend.to_ne_bytes());
        self.put(&mut r, Field::AffinityLife, value.life.to_ne_bytes());
        r
    }

    /// A value of `affinity`.
    pub(crate) fn read_affinity(&self, r: &[u8]) -> Affinity {
        Affinity {
            used: self.u64(r, Field::AffinityUsed),
            backend: self.u32(r, Field::AffinityBackend),
            life: self.u32(r, Field::AffinityLife),
        }
    }

    /// Bytes of a key of `sockets`.
    pub(crate) fn socket_key(&self, key: &SocketKey) -> Vec<u8> {
        let mut r = self.record(Field::SocketKeySize);
        self.put(&mut r, Field::SocketKeyCookie, key.cookie.to_ne_bytes());
        self.put_endpoint(&mut r, Field::SocketKeyPeer, &key.peer);
        self.put(&mut r, Field::SocketKeyService, key.service.to_ne_bytes());
        r
    }

    /// A key of `sockets`.
    pub(crate) fn read_socket_key(&self, r: &[u8]) -> SocketKey {
        let mut key = SocketKey::further(self.u64(r, Field::SocketKeyCookie), self.u32(r, Field::SocketKeyService));
        key.peer = self.endpoint(r, Field::SocketKeyPeer);
        key
    }

    /// Bytes of a value of `sockets`.
    pub(crate) fn translation(&self, t: &Translation) -> Vec<u8> {
        let mut r = self.record(Field::TranslationSize);
        self.put_endpoint(&mut r, Field::TranslationVip, &t.vip);
        self.put_endpoint(&mut r, Field::TranslationBackend, &t.backend);
        self.put_endpoint(&mut r, Field::TranslationPrevious, &t.previous);
        self.put(&mut r, Field::TranslationService, t.service.to_ne_bytes());
        self.put(&mut r, Field::TranslationBackendId, t.backend_id.to_ne_bytes());
        self.put(&mut r, Field::TranslationLife, t.life.to_ne_bytes());
        self.put(&mut r, Field::TranslationNext, t.next.to_ne_bytes());
        r
    }

    /// A value of `sockets`.
    pub(crate) fn read_translation(&self, r: &[u8]) -> Translation {
        Translation {
            vip: self.endpoint(r, Field::TranslationVip),
            backend: self.endpoint(r, Field::TranslationBackend),
            previous: self.endpoint(r, Field::TranslationPrevious),
            service: self.u32(r, Field::TranslationService),
            backend_id: self.u32(r, Field::TranslationBackendId),
            life: self.u32(r, Field::TranslationLife),
            next: self.u32(r, Field::TranslationNext),
        }
    }

    /// Bytes of a value of `names`; None where the text is too long.
    pub(crate) fn name(&self, text: &str) -> Option<Vec<u8>> {
        let mut r = self.record(Field::NameSize);
        if text.len() > NAME_BYTES {
            return None;
        }
        self.put(&mut r, Field::NameLength, (text.len() as u32).to_ne_bytes());
        let at = self.at(Field::NameText);
        r.get_mut(at..at + text.len())?.copy_from_slice(text.as_bytes());
        Some(r)
    }

    /// A value of `names`.
    pub(crate) fn read_name(&self, r: &[u8]) -> Option<String> {
        let at = self.at(Field::NameText);
        let text = r.get(at..at.checked_add(self.u32(r, Field::NameLength) as usize)?)?;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests;
