//! What userspace, and the kernel on its behalf, may do: the steps that a task consists of.
//!
//! A step's text is a verb and its operands, `close vm`; one about the second VM has a number before it,
//! `2:create_vm`, as its file descriptors have, `close 2:vm`.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A file descriptor, or a mapping of one, that holds a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fd {
    /// Which VM, from 0 up.
    pub vm: usize,
    /// What it is.
    pub kind: FdKind,
}

/// The kinds of files that hold a reference on a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FdKind {
    /// The VM's.
    Vm,
    /// A vCPU's.
    Vcpu(usize),
    /// A mapping of a vCPU's `kvm_run`: held by the address space, not by the files.
    Run(usize),
    /// A device's.
    Device,
    /// Statistics.
    Stats,
    /// A `guest_memfd`.
    Gmem,
    /// The debugfs dump of the stage-2 table.
    Dump,
}

/// VMs of one scenario at most.
pub const MAX_VMS: usize = 2;
/// vCPUs of one VM at most.
pub const MAX_VCPUS: usize = 2;
/// Memory slots of one VM at most.
pub const MAX_SLOTS: usize = 2;

/// One step of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `KVM_CREATE_VM`; the descriptor is the task's.
    CreateVm {
        /// Which VM.
        vm: usize,
        /// Whether it fails after the table was made, so that creation undoes it.
        fails: bool,
    },
    /// `KVM_CREATE_VCPU`; the descriptor is the task's.
    CreateVcpu {
        /// Which VM.
        vm: usize,
        /// Which of its vCPUs.
        vcpu: usize,
    },
    /// `KVM_CREATE_DEVICE`; the descriptor is the task's.
    CreateDevice {
        /// Which VM.
        vm: usize,
    },
    /// Closes a descriptor, or unmaps a `kvm_run`.
    Close(Fd),
    /// Sends a descriptor to whoever receives it (`SCM_RIGHTS`).
    Send(Fd),
    /// Waits for a descriptor that is sent.
    Receive(Fd),
    /// `do_exit`: `exit_mm`, then `exit_files`.
    Exit,
    /// `execve`: leaves the address space, then closes KVM's descriptors, which are close-on-exec.
    Exec,
    /// Kills another task: it exits before its next step.
    Kill(String),
    /// Takes the address space of another task for a while, as a reader of `/proc/PID/smaps` does.
    GetMm(String),
    /// Gives it back (`mmput`).
    PutMm(String),
    /// `munmap` of the guest's memory.
    Munmap,
    /// Reclaim by another task: unmaps one guest page after the other, may sleep.
    Reclaim(String),
    /// The same where callbacks may not sleep, as the OOM reaper asks for.
    ReclaimNonblock(String),
    /// Ageing by another task.
    Age(String),
    /// A vCPU faults on a page of the slot.
    Fault {
        /// Which VM.
        vm: usize,
        /// Which page.
        page: u64,
    },
    /// The guest uses the page through whatever translation is cached.
    Touch {
        /// Which VM.
        vm: usize,
        /// Which page.
        page: u64,
    },
    /// Makes a memory slot.
    CreateSlot {
        /// Which VM.
        vm: usize,
        /// Which of its slots.
        slot: usize,
    },
    /// Deletes a memory slot.
    DeleteSlot {
        /// Which VM.
        vm: usize,
        /// Which of its slots.
        slot: usize,
    },
    /// Begins dirty logging: write protection, then eager splits.
    LogDirty {
        /// Which VM.
        vm: usize,
        /// Which of its slots.
        slot: usize,
    },
    /// Ends dirty logging.
    LogClean {
        /// Which VM.
        vm: usize,
        /// Which of its slots.
        slot: usize,
    },
    /// `KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE`: how many pages the split cache is to hold.
    SetChunk {
        /// Which VM.
        vm: usize,
        /// Pages.
        pages: u64,
    },
    /// What `KVM_RUN` does the first time: the interrupt controller becomes known.
    FirstRun {
        /// Which VM.
        vm: usize,
    },
    /// `KVM_ARM_VCPU_INIT` with nested virtualization: adds two nested mmus.
    VcpuInit {
        /// Which VM.
        vm: usize,
    },
    /// Opens the debugfs dump; the descriptor is the task's.
    OpenDump {
        /// Which VM.
        vm: usize,
    },
    /// Reads it.
    ReadDump {
        /// Which VM.
        vm: usize,
    },
    /// Punches a hole into the `guest_memfd`.
    Punch {
        /// Which VM.
        vm: usize,
    },
    /// Tells whoever waits for this number, by a pipe of userspace's own; after `exit`, as a parent is told.
    Tell(u64),
    /// Waits until somebody has told this number.
    Await(u64),
}

/// Numbers to tell and await: 0 to one below this.
pub const MAX_TOLD: u64 = 64;

/// A verb, and what makes a step of its operands.
type Verb<F> = (&'static str, F);
type OfVm = fn(usize) -> Step;
type OfSlot = fn(usize, usize) -> Step;
type OfNumber = fn(usize, u64) -> Step;
type OfFd = fn(Fd) -> Step;
type OfTask = fn(String) -> Step;

/// Verbs without an operand but the VM before them.
const OF_A_VM: [Verb<OfVm>; 8] = [
    ("create_vm", |vm| Step::CreateVm { vm, fails: false }),
    ("create_vm_fails", |vm| Step::CreateVm { vm, fails: true }),
    ("create_device", |vm| Step::CreateDevice { vm }),
    ("first_run", |vm| Step::FirstRun { vm }),
    ("vcpu_init", |vm| Step::VcpuInit { vm }),
    ("open_dump", |vm| Step::OpenDump { vm }),
    ("read_dump", |vm| Step::ReadDump { vm }),
    ("punch", |vm| Step::Punch { vm }),
];
/// Verbs about a slot: the first, unless there is a number.
const OF_A_SLOT: [Verb<OfSlot>; 4] = [
    ("create_slot", |vm, slot| Step::CreateSlot { vm, slot }),
    ("delete_slot", |vm, slot| Step::DeleteSlot { vm, slot }),
    ("log_dirty", |vm, slot| Step::LogDirty { vm, slot }),
    ("log_clean", |vm, slot| Step::LogClean { vm, slot }),
];
/// Verbs with a number.
const WITH_A_NUMBER: [Verb<OfNumber>; 6] = [
    ("create_vcpu", |vm, n| Step::CreateVcpu { vm, vcpu: n as usize }),
    ("fault", |vm, n| Step::Fault { vm, page: n }),
    ("touch", |vm, n| Step::Touch { vm, page: n }),
    ("set_chunk", |vm, n| Step::SetChunk { vm, pages: n }),
    ("tell", |_, n| Step::Tell(n)),
    ("await", |_, n| Step::Await(n)),
];
/// Verbs with a descriptor.
const WITH_A_FD: [Verb<OfFd>; 3] = [("close", Step::Close), ("send", Step::Send), ("receive", Step::Receive)];
/// Verbs with a task.
const WITH_A_TASK: [Verb<OfTask>; 6] = [
    ("kill", Step::Kill),
    ("get_mm", Step::GetMm),
    ("put_mm", Step::PutMm),
    ("reclaim", Step::Reclaim),
    ("reclaim_nonblock", Step::ReclaimNonblock),
    ("age", Step::Age),
];
/// Verbs that stand alone.
const ALONE: [Verb<Step>; 3] = [("exit", Step::Exit), ("exec", Step::Exec), ("munmap", Step::Munmap)];

impl FromStr for Step {
    type Err = Error;

    /// Reads a verb and its operands.
    ///
    /// ```
    /// use kvm::Step;
    /// for text in ["close vm", "2:create_vm", "send 2:vcpu0", "fault 1", "delete_slot 1", "exit"] {
    ///     assert_eq!(text.parse::<Step>()?.to_string(), text);
    /// }
    /// assert!("shut vm".parse::<Step>().unwrap_err().to_string().contains("close"));
    /// # Ok::<(), kvm::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, Error> {
        let (vm, rest) = numbered(text.trim())?;
        let mut words = rest.split_whitespace();
        let (verb, operand) = (words.next().unwrap_or_default(), words.next());
        let word = |what, value: &str, expected: &str| Error::Word {
            what,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        if let Some(extra) = words.next() {
            return Err(word("word after a step", extra, "nothing: a step has one operand at most"));
        }
        let step = match operand {
            None => named(&OF_A_VM, verb)
                .map(|make| make(vm))
                .or_else(|| named(&OF_A_SLOT, verb).map(|make| make(vm, 0)))
                .or_else(|| ALONE.iter().find(|(name, _)| *name == verb).map(|(_, step)| step.clone())),
            Some(operand) => {
                let number = operand.parse::<u64>();
                let number =
                    || number.map_err(|_| word("operand of a step", operand, "the numbers from 0 up"));
                if let Some(make) = named(&WITH_A_NUMBER, verb) {
                    Some(make(vm, number()?))
                } else if let Some(make) = named(&OF_A_SLOT, verb) {
                    let slot = number()?;
                    if slot >= MAX_SLOTS as u64 {
                        return Err(word("slot", operand, &format!("0 to {}", MAX_SLOTS - 1)));
                    }
                    Some(make(vm, slot as usize))
                } else if let Some(make) = named(&WITH_A_FD, verb) {
                    Some(make(operand.parse()?))
                } else {
                    named(&WITH_A_TASK, verb).map(|make| make(operand.to_owned()))
                }
            }
        };
        let vcpus = MAX_VCPUS;
        match step {
            Some(Self::CreateVcpu { vcpu, .. }) if vcpu >= vcpus => {
                Err(word("vCPU", &vcpu.to_string(), &format!("0 to {}", vcpus - 1)))
            }
            Some(Self::Tell(number) | Self::Await(number)) if number >= MAX_TOLD => {
                Err(word("number to tell", &number.to_string(), &format!("0 to {}", MAX_TOLD - 1)))
            }
            Some(step) => Ok(step),
            None => Err(Error::Word { what: "step", value: text.to_owned(), expected: verbs() }),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |name: &str, vm: usize| format!("{}{name}", prefix(vm));
        let text = match self {
            Self::CreateVm { vm, fails: false } => verb("create_vm", *vm),
            Self::CreateVm { vm, fails: true } => verb("create_vm_fails", *vm),
            Self::CreateVcpu { vm, vcpu } => verb("create_vcpu ", *vm) + &vcpu.to_string(),
            Self::Close(fd) => format!("close {fd}"),
            Self::Send(fd) => format!("send {fd}"),
            Self::Receive(fd) => format!("receive {fd}"),
            Self::Exit => String::from("exit"),
            Self::Exec => String::from("exec"),
            Self::Kill(task) => format!("kill {task}"),
            Self::GetMm(task) => format!("get_mm {task}"),
            Self::PutMm(task) => format!("put_mm {task}"),
            Self::Munmap => String::from("munmap"),
            Self::Reclaim(task) => format!("reclaim {task}"),
            Self::ReclaimNonblock(task) => format!("reclaim_nonblock {task}"),
            Self::Age(task) => format!("age {task}"),
            Self::Fault { vm, page } => verb("fault ", *vm) + &page.to_string(),
            Self::Touch { vm, page } => verb("touch ", *vm) + &page.to_string(),
            Self::CreateDevice { vm } => verb("create_device", *vm),
            Self::CreateSlot { vm, slot } => verb("create_slot", *vm) + &which(*slot),
            Self::DeleteSlot { vm, slot } => verb("delete_slot", *vm) + &which(*slot),
            Self::LogDirty { vm, slot } => verb("log_dirty", *vm) + &which(*slot),
            Self::LogClean { vm, slot } => verb("log_clean", *vm) + &which(*slot),
            Self::SetChunk { vm, pages } => verb("set_chunk ", *vm) + &pages.to_string(),
            Self::FirstRun { vm } => verb("first_run", *vm),
            Self::VcpuInit { vm } => verb("vcpu_init", *vm),
            Self::OpenDump { vm } => verb("open_dump", *vm),
            Self::ReadDump { vm } => verb("read_dump", *vm),
            Self::Punch { vm } => verb("punch", *vm),
            Self::Tell(number) => format!("tell {number}"),
            Self::Await(number) => format!("await {number}"),
        };
        f.write_str(&text)
    }
}

impl FromStr for Fd {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (vm, rest) = numbered(text)?;
        let kinds = [
            ("vm", FdKind::Vm),
            ("device", FdKind::Device),
            ("stats", FdKind::Stats),
            ("gmem", FdKind::Gmem),
            ("dump", FdKind::Dump),
            ("vcpu0", FdKind::Vcpu(0)),
            ("vcpu1", FdKind::Vcpu(1)),
            ("run0", FdKind::Run(0)),
            ("run1", FdKind::Run(1)),
        ];
        Ok(Self { vm, kind: crate::error::one_of("file descriptor", &kinds, rest)? })
    }
}

impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&prefix(self.vm))?;
        match self.kind {
            FdKind::Vm => f.write_str("vm"),
            FdKind::Vcpu(n) => write!(f, "vcpu{n}"),
            FdKind::Run(n) => write!(f, "run{n}"),
            FdKind::Device => f.write_str("device"),
            FdKind::Stats => f.write_str("stats"),
            FdKind::Gmem => f.write_str("gmem"),
            FdKind::Dump => f.write_str("dump"),
        }
    }
}

/// The VM that a text names before a colon, from 0 up, and the rest.
fn numbered(text: &str) -> Result<(usize, &str), Error> {
    let split = text.split_once(':').filter(|(number, _)| !number.contains(char::is_whitespace));
    let Some((number, rest)) = split else { return Ok((0, text)) };
    match number.parse::<usize>() {
        Ok(vm) if (1..=MAX_VMS).contains(&vm) => Ok((vm - 1, rest)),
        _ => Err(Error::Word {
            what: "number of a VM",
            value: number.to_owned(),
            expected: String::from("1 or 2"),
        }),
    }
}

/// The number of a slot after a verb, which the first does without.
fn which(slot: usize) -> String {
    if slot == 0 { String::new() } else { format!(" {slot}") }
}

fn prefix(vm: usize) -> String {
    if vm == 0 { String::new() } else { format!("{}:", vm + 1) }
}

fn named<T: Copy>(verbs: &[(&str, T)], verb: &str) -> Option<T> {
    verbs.iter().find(|(name, _)| *name == verb).map(|(_, make)| *make)
}

fn verbs() -> String {
    let mut all: Vec<_> = ALONE.iter().map(|(name, _)| (*name).to_owned()).collect();
    all.extend(OF_A_VM.iter().map(|(name, _)| (*name).to_owned()));
    all.extend(OF_A_SLOT.iter().map(|(name, _)| format!("{name} [N]")));
    all.extend(WITH_A_NUMBER.iter().map(|(name, _)| format!("{name} N")));
    all.extend(WITH_A_FD.iter().map(|(name, _)| format!("{name} FD")));
    all.extend(WITH_A_TASK.iter().map(|(name, _)| format!("{name} TASK")));
    all.join(", ")
}
