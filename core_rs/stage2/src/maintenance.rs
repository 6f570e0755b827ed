//! The maintenance that an operation causes: invalidations, cache cleans, freed subtrees, warnings.
//!
//! The log is a type parameter of every operation, so that a run without one pays nothing.

/// A TLB invalidation, as KVM asks the hypervisor for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tlbi {
    /// One address, broadcast. The address is where the walk stood.
    Ipa {
        /// Guest physical address.
        ipa: u64,
        /// Level hint (TTL); `None` is unknown.
        level: Option<i8>,
    },
    /// One address, this processor only.
    IpaNsh {
        /// Guest physical address.
        ipa: u64,
        /// Level hint (TTL); `None` is unknown.
        level: Option<i8>,
    },
    /// A range, with `FEAT_TLBIRANGE`.
    Range {
        /// First guest physical address.
        ipa: u64,
        /// Pages of the granule.
        pages: u64,
    },
    /// Everything of the VM.
    Vmid,
}

impl Tlbi {
    /// Whether whatever `other` invalidates is invalidated by this too, with pages of `page_size` bytes.
    ///
    /// ```
    /// use stage2::Tlbi;
    /// let table = Tlbi::Ipa { ipa: 0x20_0000, level: None };
    /// assert!(Tlbi::Range { ipa: 0, pages: 1024 }.includes(table, 4096));
    /// assert!(!Tlbi::Range { ipa: 0, pages: 512 }.includes(table, 4096));
    /// ```
    pub fn includes(self, other: Self, page_size: u64) -> bool {
        let page = |ipa: u64| ipa / page_size;
        match (self, other) {
            (Self::Vmid, _) => true,
            (Self::Range { ipa, pages }, Self::Range { ipa: first, pages: n }) => {
                page(ipa) <= page(first) && page(first) + n <= page(ipa) + pages
            }
            (Self::Range { ipa, pages }, Self::Ipa { ipa: at, .. } | Self::IpaNsh { ipa: at, .. }) => {
                (page(ipa)..page(ipa) + pages).contains(&page(at))
            }
            (
                Self::Ipa { ipa, level },
                Self::Ipa { ipa: at, level: hint } | Self::IpaNsh { ipa: at, level: hint },
            )
            | (Self::IpaNsh { ipa, level }, Self::IpaNsh { ipa: at, level: hint }) => {
                page(ipa) == page(at) && (level.is_none() || level == hint)
            }
            _ => false,
        }
    }
}

/// Something an operation caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A TLB invalidation.
    Tlbi(Tlbi),
    /// Data cache cleaned and invalidated to the point of coherency.
    DcacheClean {
        /// Physical address.
        pa: u64,
        /// Bytes.
        size: u64,
    },
    /// Instruction cache invalidated to the point of unification.
    IcacheInvalidate {
        /// Physical address.
        pa: u64,
        /// Bytes.
        size: u64,
    },
    /// A subtree was unlinked and handed to RCU; `level` is that of the entry that held it.
    FreeUnlinked {
        /// Level of the entry.
        level: i8,
    },
    /// Upstream's `WARN_ON` would have fired.
    Warn,
}

/// Where the maintenance of an operation goes, in the order in which it happens.
pub trait Maintenance {
    /// Takes one event.
    fn log(&mut self, event: Event);
}

/// Keeps nothing, costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl Maintenance for NoLog {
    #[inline]
    fn log(&mut self, _: Event) {}
}

/// Keeps every event.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

impl Maintenance for EventLog {
    fn log(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// Numbers of events by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Invalidations of one address, broadcast.
    pub tlbi_ipa: u64,
    /// Invalidations of one address on one processor.
    pub tlbi_ipa_nsh: u64,
    /// Invalidations of a range.
    pub tlbi_range: u64,
    /// Invalidations of all of a VM.
    pub tlbi_vmid: u64,
    /// Data cache cleans.
    pub dcache_clean: u64,
    /// Instruction cache invalidations.
    pub icache_invalidate: u64,
    /// Subtrees handed to RCU.
    pub free_unlinked: u64,
    /// Warnings.
    pub warn: u64,
}

impl Maintenance for EventCounts {
    fn log(&mut self, event: Event) {
        let counter = match event {
            Event::Tlbi(Tlbi::Ipa { .. }) => &mut self.tlbi_ipa,
            Event::Tlbi(Tlbi::IpaNsh { .. }) => &mut self.tlbi_ipa_nsh,
            Event::Tlbi(Tlbi::Range { .. }) => &mut self.tlbi_range,
            Event::Tlbi(Tlbi::Vmid) => &mut self.tlbi_vmid,
            Event::DcacheClean { .. } => &mut self.dcache_clean,
            Event::IcacheInvalidate { .. } => &mut self.icache_invalidate,
            Event::FreeUnlinked { .. } => &mut self.free_unlinked,
            Event::Warn => &mut self.warn,
        };
        *counter += 1;
    }
}
