//! Permissions and memory types, from the letters and names that Python uses: those of operation scripts.

use stage2::{Config, Prot};

use crate::errors::Error;

const LETTERS: [(char, Prot); 9] = [
    ('r', Prot::R),
    ('w', Prot::W),
    ('x', Prot::X),
    ('u', Prot::UX),
    ('p', Prot::PX),
    ('0', Prot::SW0),
    ('1', Prot::SW1),
    ('2', Prot::SW2),
    ('3', Prot::SW3),
];

/// Reads letters such as `rwx`; `-` or nothing is no permission.
pub(crate) fn permissions(letters: &str) -> Result<Prot, Error> {
    let mut prot = Prot::empty();
    for letter in letters.chars().filter(|letter| *letter != '-') {
        let Some((_, bit)) = LETTERS.iter().find(|(known, _)| *known == letter) else {
            return Err(Error::Input(format!(
                "prot {letters:?}: {letter:?} is none of r, w, x (execute), u (execute at EL0), p (execute at \
                 EL1), 0 to 3 (software bits), -"
            )));
        };
        prot |= *bit;
    }
    Ok(prot)
}

/// Reads `normal`, `nc` or `device`.
pub(crate) fn memory_type(name: &str) -> Result<Prot, Error> {
    match name {
        "normal" => Ok(Prot::empty()),
        "nc" => Ok(Prot::NORMAL_NC),
        "device" => Ok(Prot::DEVICE),
        _ => Err(Error::Input(format!("memtype {name:?} is none of 'normal', 'nc', 'device'"))),
    }
}

/// Refuses attributes that upstream answers with -EINVAL, and says why.
pub(crate) fn check_attributes(
    config: &Config,
    letters: &str,
    memtype: &str,
    prot: Prot,
) -> Result<(), Error> {
    if prot.intersects(Prot::X) && prot.intersects(Prot::DEVICE | Prot::NORMAL_NC) {
        return Err(Error::Input(format!(
            "prot {letters:?} executes from memtype {memtype:?}: only 'normal' memory can be executed"
        )));
    }
    if !config.xnx && prot.contains(Prot::PX) != prot.contains(Prot::UX) {
        return Err(Error::Input(format!(
            "prot {letters:?} executes at one exception level, which needs xnx=True: 'x' would be right"
        )));
    }
    Ok(())
}
