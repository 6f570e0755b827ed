//! A point: one configuration of a measurement, as flat JSON.

use runtime::native::LockKind;
use stage2::{Granule, Walk, WalkerKind};

use crate::columns::Columns;
use crate::error::MeasureError;
use crate::field::{FieldType, each_field};
use crate::mix::Mix;
use crate::names::{Background, Cache, Counters, During, Ending, Free, Locality, Pattern, Place, Populate};

macro_rules! fields {
    ($(#[$doc:meta])* $point:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $point {
            $($(#[$field_doc])* pub $field: Option<$type>),+
        }

        impl $point {
            /// The fields, in their order.
            pub const FIELDS: &[&str] = &[$(stringify!($field)),+];

            /// Reads a JSON object; a field that is missing or null is left to [`Point::check`].
            pub fn from_json(text: &str) -> Result<Self, MeasureError> {
                let mut point = Self::default();
                each_field(text, |name, value| {
                    match name {
                        $(stringify!($field) if value.is_null() => point.$field = None,
                        stringify!($field) => {
                            point.$field = Some(FieldType::read(stringify!($field), value)?);
                        })+
                        _ => return Err(MeasureError::Field(name.to_owned())),
                    }
                    Ok(())
                })?;
                Ok(point)
            }

            /// The point as a JSON object with every field, in their order.
            pub fn to_json(&self) -> String {
                let mut text = String::with_capacity(1024);
                $(
                    text.push_str(if text.is_empty() { "{\"" } else { ", \"" });
                    text.push_str(stringify!($field));
                    text.push_str("\": ");
                    match &self.$field {
                        Some(value) => value.write(&mut text),
                        None => text.push_str("null"),
                    }
                )+
                text.push('}');
                text
            }

            /// Adds a column for each field.
            pub(crate) fn columns(&self, columns: &mut Columns) {
                $(columns.push(stringify!($field), <$type as FieldType>::column(self.$field.as_ref()));)+
            }
        }
    };
}

fields!(
    /// One configuration, as it is given: [`Point::check`] says what is wrong with it, and makes it canonical.
    Point {
        /// Threads that operate on the table, 1 to 128.
        threads: u32,
        /// The lock that plays `mmu_lock`.
        lock: LockKind,
        /// How a fault takes the lock and walks.
        walk: Walk,
        /// How the table's entries are visited.
        walker: WalkerKind,
        /// What is recorded.
        counters: Counters,
        /// The page size.
        granule: Granule,
        /// Size of the guest's physical address space, in bits.
        ipa_bits: u32,
        /// Guest memory, from IPA 0 up.
        guest_bytes: u64,
        /// What a fault maps: a page, or a block size of the granule.
        leaf_bytes: u64,
        /// What a guest's touches are apart: at most a leaf. As `leaf_bytes` if not given.
        touch_bytes: u64,
        /// Which part of the guest each thread works on.
        pattern: Pattern,
        /// In which order.
        locality: Locality,
        /// One of so many touches is made: 1 is dense.
        sparsity: u32,
        /// The table before the clock starts.
        populate: Populate,
        /// The operations of a thread.
        mix: Mix,
        /// Operations of each thread; null is one pass over its part.
        ops_per_thread: u64,
        /// The range of an operation that is no fault.
        op_bytes: u64,
        /// Touches that write, of 100; the others read.
        write_percent: u32,
        /// Dirty logging is on: a write to a block is given a page of its own, and a read maps no writable page.
        logging: bool,
        /// Arrivals at each thread; null is a closed loop.
        rate_per_s: f64,
        /// What one more thread does meanwhile.
        background: Background,
        /// How long that thread rests between two of its operations.
        background_pause_ns: u64,
        /// A longer critical section at `delay_site`.
        delay_ns: u64,
        /// The site of the lock at which the delay is spent.
        delay_site: String,
        /// How the VM ends.
        teardown: Ending,
        /// Bytes that one walk of the teardown covers: null is all, 0 the kernel's step.
        step_bytes: u64,
        /// Where the table is destroyed.
        place: Place,
        /// Whether others may have the lock between two ranges.
        breaks: bool,
        /// What the destruction looks at.
        free: Free,
        /// Whether it begins after an RCU grace period.
        defer: bool,
        /// What one more thread does meanwhile.
        during: During,
        /// Whose life cycle it is.
        variant: String,
        /// Its locking strategy.
        strategy: String,
        /// Its cache of pages for eager splits.
        cache: Cache,
    }
);
