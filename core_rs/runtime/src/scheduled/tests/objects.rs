//! What actions are done to.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

fn object(page: &[Word]) -> Object<'_> {
    Object { name: "page", index: 5, words: page }
}

#[test]
fn a_word_belongs_to_its_object_and_a_new_allocation_is_a_new_object() {
    let page: Rc<Vec<Word>> = Rc::new((0..4).map(Word::new).collect());
    S::allocated(object(&page), site!("set up"));
    let thread = thread("T1", move || {
        load(&page[2]);
        S::freed(object(&page), site!("free"));
        load(&page[2]);
        S::allocated(object(&page), site!("again"));
        load(&page[3]);
        S::freed(Object { name: "array", index: 0, words: &[] }, site!("free"));
    });
    let execution = run(vec![thread], &mut Replay(Vec::new()));
    let targets: Vec<_> = execution.actions.iter().filter_map(|action| action.target).collect();
    let at = |object, word| Target { object, word };
    assert_eq!(targets, [at(0, 2), at(0, 0), at(0, 2), at(1, 0), at(1, 3), at(2, 0)]);
    assert_eq!(
        execution.objects.iter().map(|o| (o.name, o.index)).collect::<Vec<_>>(),
        [("page", 5), ("page", 5), ("array", 0)]
    );
}

#[test]
fn a_dead_object_is_the_target_of_accesses_and_of_a_second_free() {
    let page: Rc<Vec<Word>> = Rc::new((0..2).map(Word::new).collect());
    let array = || Object { name: "array", index: 3, words: &[] };
    S::allocated(object(&page), site!("set up"));
    S::allocated(array(), site!("set up"));
    let execution = in_order(vec![thread("T1", move || {
        S::freed(object(&page), site!("free"));
        S::freed(array(), site!("free"));
        store(&page[1], 7);
        S::freed(array(), site!("free"));
        S::freed(object(&page), site!("free"));
    })]);
    let objects: Vec<_> = execution.actions.iter().map(|action| action.target.unwrap().object).collect();
    assert_eq!(objects, [0, 1, 0, 1, 0]);
}

#[test]
fn a_translation_is_used_until_it_is_invalidated_and_the_oldest_first() {
    let looks = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&looks);
    let execution = in_order(vec![thread("vCPU", move || {
        let look = |ipa| looks.borrow_mut().push(S::tlb_lookup(ipa, site!("use")));
        look(0x1000);
        S::tlb_insert(0x1000, 0x1000, 0x8000, site!("walk"));
        S::tlb_insert(0x1000, 0x1000, 0x9000, site!("walk"));
        S::tlb_insert(0x4000, 0x1000, 0xa000, site!("walk"));
        look(0x1010);
        S::tlb_invalidate(0x1000, 0x2000, site!("invalidate"));
        look(0x1010);
        look(0x4000);
        S::tlb_invalidate(0, u64::MAX, site!("invalidate all"));
        look(0x4000);
    })]);
    assert_eq!(*seen.borrow(), [None, Some(0x8010), None, Some(0xa000), None]);
    let at = |ipa, size| Effect::Addresses { ipa, size };
    assert_eq!(effects(&execution)[..3], [at(0x1000, 1), at(0x1000, 0x1000), at(0x1000, 0x1000)]);
    assert_eq!(effects(&execution)[4], Effect::Cached { ipa: 0x1010, pa: 0x8010, page: None });
    let at = |n: usize| &execution.actions[n];
    assert!(dependent(at(1), at(5)) && dependent(at(1), at(4)) && !dependent(at(3), at(5)));
    assert!(!dependent(at(4), at(6)) && !dependent(at(5), at(8)), "two uses, two invalidations");
}

#[test]
fn to_use_a_translation_is_to_use_the_page_that_it_leads_to() {
    let guest = |index| Object { name: GUEST_PAGE, index, words: &[] };
    S::allocated(guest(8), site!("set up"));
    S::allocated(guest(9), site!("set up"));
    let vcpu = thread("vCPU", || {
        S::tlb_insert(0x1000, 0x2000, 0x8000, site!("walk"));
        S::tlb_lookup(0x1234, site!("use"));
    });
    let munmap = thread("munmap", move || {
        S::freed(guest(8), site!("free"));
        S::freed(guest(9), site!("free"));
    });
    let execution = in_order(vec![vcpu, munmap]);
    let [_, used, first, second] = execution.actions[..] else { panic!("four actions") };
    assert!(dependent(&used, &first) && dependent(&first, &used) && !dependent(&used, &second));
    assert_eq!(page_used(&used), first.target.map(|target| target.object));
}
