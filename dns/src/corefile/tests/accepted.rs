//! Corefiles that CoreDNS accepts and refuses.
