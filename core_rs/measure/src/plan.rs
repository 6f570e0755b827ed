//! What a point means: defaults filled in, what has no effect taken out, everything checked.

use runtime::native::LockKind;
use stage2::{Config, Geometry, Granule, LAST_LEVEL, Walk, WalkerKind};

use crate::error::MeasureError;
use crate::life_cycle;
use crate::mix::{Class, Mix};
use crate::names::{Background, Cache, Counters, During, Ending, Free, Locality, Pattern, Place, Populate};
use crate::point::Point;
use crate::populate::pages_needed;
use crate::sites;

/// Threads that one measurement may have.
const MAX_THREADS: u32 = 128;
/// The longest delay and pause, and the longest interval between arrivals: a measurement is to end.
const MAX_PAUSE_NS: u64 = 10_000_000_000;
/// A delay holds a lock, so that others wait.
const MAX_DELAY_NS: u64 = 1_000_000_000;

/// A checked point: what is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The point in its canonical form: a field is null that has no effect, every other one is filled.
    pub point: Point,
    /// The table.
    pub config: Config,
    /// The lock that plays `mmu_lock`.
    pub lock: LockKind,
    /// What is recorded.
    pub counters: Counters,
    /// How faults take the lock and walk.
    pub walk: Walk,
    /// Guest memory, from IPA 0 up.
    pub guest_bytes: u64,
    /// What a fault maps.
    pub leaf_bytes: u64,
    /// What touches are apart, before sparsity.
    pub touch_bytes: u64,
    /// One of so many touches is made.
    pub sparsity: u64,
    /// The table before the clock starts.
    pub populate: Populate,
    /// Longer critical section: nanoseconds and the site.
    pub delay: Option<(u32, String)>,
    /// The phase of operations, `None` where there is none.
    pub operations: Option<Operations>,
    /// How it ends.
    pub ending: Teardown,
    /// The range of an operation that is no fault.
    pub op_bytes: u64,
    /// How long the thread beside the others rests between two of its operations.
    pub background_pause_ns: u64,
}

/// The phase of operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Operations {
    /// Threads that operate.
    pub threads: usize,
    /// Which part of the guest each works on.
    pub pattern: Pattern,
    /// In which order.
    pub locality: Locality,
    /// What they do.
    pub mix: Mix,
    /// How many operations each does; `None` is one pass over its part.
    pub each: Option<u64>,
    /// Touches that write, of 100.
    pub write_percent: u32,
    /// Whether dirty logging is on.
    pub logging: bool,
    /// Arrivals at a thread; `None` is a closed loop.
    pub rate_per_s: Option<f64>,
    /// What one more thread does meanwhile.
    pub background: Background,
}

/// How a VM ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Teardown {
    /// The table alone.
    Table(TableTeardown),
    /// The life cycle of the crate `kvm`.
    LifeCycle(LifeCycleTeardown),
}

/// A teardown of the table alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableTeardown {
    /// What one walk covers; `None` is all.
    pub step_bytes: Option<u64>,
    /// Where.
    pub place: Place,
    /// Whether others may have the lock between two ranges.
    pub breaks: bool,
    /// What the destruction looks at.
    pub free: Free,
    /// Whether it begins after a grace period.
    pub defer: bool,
    /// What one more thread does meanwhile.
    pub during: During,
}

/// The end of a VM's life cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeCycleTeardown {
    /// The order of events.
    pub order: Ending,
    /// Whose life cycle it is.
    pub variant: String,
    /// Its locking strategy.
    pub strategy: String,
    /// Its cache of pages for eager splits.
    pub cache: Cache,
    /// What one more thread does meanwhile.
    pub during: During,
}

impl Point {
    /// Says what is wrong, or what is measured.
    ///
    /// ```
    /// use measure::Point;
    ///
    /// let plan = Point::from_json(r#"{"threads": 2, "mix": "age", "walk": "shared"}"#)?.check()?;
    /// assert_eq!(plan.point.walk, None, "nothing faults");
    /// assert_eq!(plan.point.guest_bytes, Some(64 << 20));
    /// let wrong = Point::from_json(r#"{"threads": 0}"#)?.check().unwrap_err();
    /// assert_eq!(wrong.to_string(), "threads 0 is not 1 to 128");
    /// # Ok::<(), measure::MeasureError>(())
    /// ```
    pub fn check(&self) -> Result<Plan, MeasureError> {
        let mut config = Config::new(self.granule.unwrap_or(Granule::K4), self.ipa_bits.unwrap_or(40));
        config.walker = self.walker.unwrap_or(WalkerKind::Upstream);
        let geometry = config.geometry()?;
        let leaf_bytes = self.leaf(&geometry)?;
        let guest_bytes = self.guest(&geometry, leaf_bytes)?;
        let touch_bytes = self.touch_bytes.unwrap_or(leaf_bytes);
        if !(geometry.page_size()..=leaf_bytes).contains(&touch_bytes) || !touch_bytes.is_power_of_two() {
            let right =
                format!("a power of two from a page, {}, to a leaf, {leaf_bytes}", geometry.page_size());
            return Err(MeasureError::number("touch_bytes", touch_bytes, right));
        }
        let sparsity = u64::from(self.sparsity.unwrap_or(1));
        if sparsity == 0 || sparsity > guest_bytes / touch_bytes {
            let right = format!("1 to {}, the touches of the guest", guest_bytes / touch_bytes);
            return Err(MeasureError::number("sparsity", sparsity, right));
        }
        let ending = self.ending(&geometry, leaf_bytes)?;
        let life_cycle = matches!(ending, Teardown::LifeCycle(_));
        let plan = Plan {
            point: Self::default(),
            config,
            lock: self.lock.unwrap_or(LockKind::Qrwlock),
            counters: self.counters.unwrap_or(Counters::Times),
            walk: self.walk.unwrap_or(Walk::Shared),
            guest_bytes,
            leaf_bytes,
            touch_bytes,
            sparsity,
            populate: self.populate.unwrap_or(if life_cycle { Populate::Written } else { Populate::None }),
            delay: self.delay()?,
            operations: self.operations()?.filter(|_| !life_cycle),
            ending,
            op_bytes: self.op_range(&geometry, guest_bytes)?,
            background_pause_ns: self.pause()?,
        };
        if plan.background() == Background::Memslot && guest_bytes + plan.op_bytes > 1 << geometry.ipa_bits()
        {
            return Err(MeasureError::Together(format!(
                "background \"memslot\" has no room: guest_bytes {guest_bytes} and op_bytes {} are more than the {} \
                 bytes of ipa_bits {}",
                plan.op_bytes,
                1_u64 << geometry.ipa_bits(),
                geometry.ipa_bits()
            )));
        }
        if pages_needed(&plan, &geometry) > config.page_limit()? {
            return Err(MeasureError::OutOfPages { guest_bytes });
        }
        if let Teardown::LifeCycle(how) = &plan.ending {
            life_cycle::at_size(&plan, how)?;
        }
        let delay = plan.delay.clone().filter(|(_, site)| sites::is_taken(&plan, site));
        let plan = Plan { delay, ..plan };
        Ok(Plan { point: plan.canonical(), ..plan })
    }

    fn leaf(&self, geometry: &Geometry) -> Result<u64, MeasureError> {
        let leaf = self.leaf_bytes.unwrap_or(geometry.page_size());
        let leaves: Vec<u64> = (geometry.start_level()..=LAST_LEVEL)
            .filter(|&level| geometry.leaf_allowed(level))
            .map(|level| geometry.granule_size(level))
            .collect();
        let known = leaves.contains(&leaf);
        known
            .then_some(leaf)
            .ok_or_else(|| MeasureError::number("leaf_bytes", leaf, format!("one of {leaves:?}")))
    }

    fn guest(&self, geometry: &Geometry, leaf: u64) -> Result<u64, MeasureError> {
        let guest = self.guest_bytes.unwrap_or((64 << 20).max(leaf));
        let space = 1_u64 << geometry.ipa_bits();
        if guest == 0 || guest > space || !guest.is_multiple_of(leaf) {
            let right = format!("a multiple of leaf_bytes {leaf} up to {space}");
            return Err(MeasureError::number("guest_bytes", guest, right));
        }
        Ok(guest)
    }

    fn op_range(&self, geometry: &Geometry, guest: u64) -> Result<u64, MeasureError> {
        let op = self.op_bytes.unwrap_or((2 << 20).min(guest).max(geometry.page_size()));
        if op == 0 || op > guest || !op.is_multiple_of(geometry.page_size()) {
            let right = format!("a multiple of a page, {}, up to guest_bytes {guest}", geometry.page_size());
            return Err(MeasureError::number("op_bytes", op, right));
        }
        Ok(op)
    }

    fn pause(&self) -> Result<u64, MeasureError> {
        let pause = self.background_pause_ns.unwrap_or(0);
        if pause > MAX_PAUSE_NS {
            return Err(MeasureError::number(
                "background_pause_ns",
                pause,
                format!("at most {MAX_PAUSE_NS}"),
            ));
        }
        Ok(pause)
    }

    fn delay(&self) -> Result<Option<(u32, String)>, MeasureError> {
        match (self.delay_ns.unwrap_or(0), &self.delay_site) {
            (0, _) => Ok(None),
            (ns, _) if ns > MAX_DELAY_NS => {
                Err(MeasureError::number("delay_ns", ns, format!("at most {MAX_DELAY_NS}")))
            }
            _ if self.counters == Some(Counters::Off) => Err(MeasureError::Together(
                "delay_ns has no effect with counters \"off\": \"counts\" or \"times\" would be right".into(),
            )),
            (_, None) => Err(MeasureError::Missing {
                what: "delay_site",
                why: "delay_ns is spent at a site of the lock, such as \"kvm_handle_guest_abort\"",
            }),
            (ns, Some(site)) => {
                sites::known(site, self.teardown.unwrap_or(Ending::Table))?;
                Ok(Some((ns as u32, site.clone())))
            }
        }
    }

    fn operations(&self) -> Result<Option<Operations>, MeasureError> {
        let threads = self.threads.unwrap_or(1);
        if threads == 0 || threads > MAX_THREADS {
            return Err(MeasureError::number("threads", threads, format!("1 to {MAX_THREADS}")));
        }
        let write_percent = self.write_percent.unwrap_or(100);
        if write_percent > 100 {
            return Err(MeasureError::number("write_percent", write_percent, "0 to 100"));
        }
        let least = 1e9 / MAX_PAUSE_NS as f64;
        if let Some(rate) = self.rate_per_s.filter(|rate| !(least..=1e9).contains(rate)) {
            return Err(MeasureError::number("rate_per_s", rate, format!("{least} to 1e9")));
        }
        let pause = self.background_pause_ns.unwrap_or(0);
        if pause > MAX_PAUSE_NS {
            return Err(MeasureError::number(
                "background_pause_ns",
                pause,
                format!("at most {MAX_PAUSE_NS}"),
            ));
        }
        let mix = self.mix.unwrap_or_default();
        let background = self.background.unwrap_or(Background::None);
        let logs = background == Background::DirtyLog || mix.has(Class::Wrprotect) || mix.has(Class::Split);
        let operations = Operations {
            threads: threads as usize,
            pattern: self.pattern.unwrap_or(Pattern::Disjoint),
            locality: self.locality.unwrap_or(Locality::Sequential),
            mix,
            each: self.ops_per_thread,
            write_percent,
            logging: self.logging.unwrap_or(logs),
            rate_per_s: self.rate_per_s,
            background,
        };
        Ok((self.ops_per_thread != Some(0)).then_some(operations))
    }

    fn ending(&self, geometry: &Geometry, leaf: u64) -> Result<Teardown, MeasureError> {
        let order = self.teardown.unwrap_or(Ending::Table);
        if order != Ending::Table {
            let text = |what, value: &Option<String>| {
                let why = "the teardown is a life cycle, of a kernel and under a strategy";
                value.clone().ok_or(MeasureError::Missing { what, why })
            };
            return Ok(Teardown::LifeCycle(LifeCycleTeardown {
                order,
                variant: text("variant", &self.variant)?,
                strategy: text("strategy", &self.strategy)?,
                cache: self.cache.unwrap_or(Cache::Never),
                during: self.during.unwrap_or(During::None),
            }));
        }
        // A smaller step would meet one block twice, and count it twice.
        let step = self.step_bytes.map(|step| if step == 0 { geometry.step_bytes() } else { step });
        if let Some(step) = step.filter(|&step| step < leaf || !step.is_power_of_two()) {
            let right = format!("0 for the kernel's step, or a power of two from leaf_bytes {leaf} up");
            return Err(MeasureError::number("step_bytes", step, right));
        }
        let step_bytes = step.filter(|&step| step < 1 << geometry.ipa_bits());
        let defer = self.defer.unwrap_or(false);
        let place = if defer { Place::TakenOut } else { self.place.unwrap_or(Place::TakenOut) };
        let breaks = place == Place::UnderLock && step_bytes.is_some() && self.breaks.unwrap_or(true);
        let free = self.free.unwrap_or(Free::Entries);
        let during = self.during.unwrap_or(During::None);
        Ok(Teardown::Table(TableTeardown { step_bytes, place, breaks, free, defer, during }))
    }
}

impl Plan {
    /// What one more thread does during the operations.
    pub fn background(&self) -> Background {
        self.operations.as_ref().map_or(Background::None, |operations| operations.background)
    }

    /// Threads that run at the same time, at most.
    pub fn threads(&self) -> usize {
        if let Teardown::LifeCycle(how) = &self.ending {
            return life_cycle::threads(how);
        }
        let beside = usize::from(self.background() != Background::None);
        let operating = self.operations.as_ref().map_or(0, |operations| operations.threads + beside);
        operating.max(1 + usize::from(self.during() != During::None))
    }

    /// What one more thread does during the teardown.
    pub fn during(&self) -> During {
        match &self.ending {
            Teardown::Table(table) => table.during,
            Teardown::LifeCycle(cycle) => cycle.during,
        }
    }
}
