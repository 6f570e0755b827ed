//! Translations that some core has cached.

use super::Model;

impl Model {
    /// A core caches that `[ipa, ipa + size)` lies at `pa`.
    pub(in crate::scheduled) fn cache_translation(&mut self, ipa: u64, size: u64, pa: u64) {
        if !self.translations.contains(&(ipa, size, pa)) {
            self.translations.push((ipa, size, pa));
        }
    }

    /// Where the oldest cached translation says that `ipa` lies.
    pub(in crate::scheduled) fn cached_translation(&self, ipa: u64) -> Option<u64> {
        let covers = |(start, size, _): &&(u64, u64, u64)| *start <= ipa && ipa - start < *size;
        self.translations.iter().find(covers).map(|(start, _, pa)| pa + (ipa - start))
    }

    pub(in crate::scheduled) fn invalidate_translations(&mut self, ipa: u64, size: u64) {
        let end = ipa.saturating_add(size);
        self.translations.retain(|(start, size, _)| end <= *start || start.saturating_add(*size) <= ipa);
    }
}
