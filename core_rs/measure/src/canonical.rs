//! The canonical form of a point: what has an effect is filled, what has none is null.
//!
//! What is guaranteed: points that measure the same have one form, and the form of a form is itself.

use crate::mix::Class;
use crate::names::{Background, During, Ending, Place, Populate};
use crate::plan::{Operations, Plan, TableTeardown, Teardown};
use crate::point::Point;

impl Plan {
    /// The point that this plan was made of, in its canonical form.
    pub(crate) fn canonical(&self) -> Point {
        let mut point = Point {
            lock: Some(self.lock),
            walker: Some(self.config.walker),
            counters: Some(self.counters),
            granule: Some(self.config.granule),
            ipa_bits: Some(self.config.ipa_bits),
            guest_bytes: Some(self.guest_bytes),
            leaf_bytes: Some(self.leaf_bytes),
            populate: Some(self.populate),
            delay_ns: self.delay.as_ref().map(|(ns, _)| u64::from(*ns)),
            delay_site: self.delay.as_ref().map(|(_, site)| site.clone()),
            ops_per_thread: Some(0),
            ..Point::default()
        };
        // Beside a life cycle it is that of crate `kvm`, which has no walk of its own and works on the whole guest.
        let during_table = matches!(self.ending, Teardown::Table(_)).then(|| self.during());
        let mut faults = during_table == Some(During::Faults);
        let mut ranges = matches!(during_table, Some(During::Age | During::DirtyLog));
        if let Some(operations) = &self.operations {
            self.of_operations(operations, &mut point);
            faults |= operations.mix.has(Class::Fault) || operations.background == Background::OtherVm;
            ranges |= operations.mix.has_ranges()
                || matches!(
                    operations.background,
                    Background::Age | Background::DirtyLog | Background::Memslot
                );
        }
        let beside = self.during() != During::None || self.background() != Background::None;
        point.background_pause_ns = beside.then_some(self.background_pause_ns);
        point.walk = faults.then_some(self.walk);
        point.op_bytes = ranges.then_some(self.op_bytes);
        let touches = faults || self.populate != Populate::None;
        point.touch_bytes = touches.then_some(self.touch_bytes);
        point.sparsity = touches.then_some(self.sparsity as u32);
        match &self.ending {
            Teardown::Table(table) => of_table(table, &mut point),
            Teardown::LifeCycle(cycle) => {
                point.teardown = Some(cycle.order);
                point.variant = Some(cycle.variant.clone());
                point.strategy = Some(cycle.strategy.clone());
                point.cache = Some(cycle.cache);
                point.during = Some(cycle.during);
            }
        }
        point
    }

    fn of_operations(&self, operations: &Operations, point: &mut Point) {
        let has_faults = operations.mix.has(Class::Fault);
        let reads = operations.write_percent < 100;
        let background = operations.background;
        point.threads = Some(operations.threads as u32);
        point.pattern = (operations.threads > 1).then_some(operations.pattern);
        point.locality = Some(operations.locality);
        point.mix = Some(operations.mix);
        point.ops_per_thread = operations.each;
        point.write_percent = has_faults.then_some(operations.write_percent);
        point.logging =
            (has_faults && (reads || self.leaf_bytes > self.page_bytes())).then_some(operations.logging);
        point.rate_per_s = operations.rate_per_s;
        point.background = Some(background);
    }

    fn page_bytes(&self) -> u64 {
        1 << self.config.granule.page_shift()
    }
}

fn of_table(table: &TableTeardown, point: &mut Point) {
    let under_lock = table.place == Place::UnderLock;
    point.teardown = Some(Ending::Table);
    point.step_bytes = table.step_bytes;
    point.place = (!table.defer).then_some(table.place);
    point.breaks = (under_lock && table.step_bytes.is_some()).then_some(table.breaks);
    point.free = Some(table.free);
    point.defer = Some(table.defer);
    point.during = Some(table.during);
}
