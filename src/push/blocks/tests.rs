//! The plan against a naive model of volumes.

use std::collections::BTreeMap;

use i2kit_format::gpt::{self, BACKUP_SECTORS, PRIMARY_SECTORS, SECTOR};
use proptest::prelude::*;

use super::*;
use crate::push::sample::Sample;
use crate::push::source::BLOCK_LEN;

/// A snapshot's blocks.
type Blocks = BTreeMap<u32, Vec<u8>>;

fn index(sample: &Sample) -> Index {
    Index::read(&sample.bytes, &sample.root).unwrap()
}

/// Blocks that are not zeros, and `more`.
fn written(sample: &Sample, more: &[u32]) -> BTreeSet<u32> {
    let all = 0..index(sample).blocks();
    let holds = |block: &u32| sample.block(*block).iter().any(|byte| *byte != 0);
    let more = more.iter().copied().filter(|block| all.contains(block));
    all.clone().filter(holds).chain(more).collect()
}

/// The block's bytes, zeros past the end.
fn own_block(sample: &Sample, block: u32) -> Vec<u8> {
    if block < index(sample).blocks() {
        sample.block(block).to_vec()
    } else {
        vec![0; BLOCK_LEN]
    }
}

/// Puts what the plan says on top of the parent's blocks.
fn push(sample: &Sample, more: &[u32], parent: Option<(&Sample, &Blocks)>) -> (Vec<u32>, Blocks) {
    let known = parent.map(|(parent, blocks)| Known {
        index: index(parent),
        present: blocks.keys().copied().collect(),
    });
    let plan = plan(&index(sample), &written(sample, more), known.as_ref());
    let mut blocks = parent.map(|(_, blocks)| blocks.clone()).unwrap_or_default();
    blocks.extend(plan.iter().map(|block| (*block, own_block(sample, *block))));
    (plan, blocks)
}

/// Whether anybody reads the 4 KiB at a byte of the disk, said from scratch.
fn is_read(sample: &Sample, table: &gpt::Table, at: usize) -> bool {
    let (start, end) = (at as u64, at as u64 + 4096);
    let len = sample.bytes.len() as u64;
    if start < PRIMARY_SECTORS * SECTOR || end > len - BACKUP_SECTORS * SECTOR {
        return true;
    }
    let Some(partition) = table.partitions.iter().find(|one| one.has(start)) else {
        return false;
    };
    let is_zero = sample.bytes[at..at + 4096].iter().all(|byte| *byte == 0);
    partition.name != i2kit_contract::LABEL_STORE || !is_zero
}

/// The volume made of the blocks reads as the disk does, wherever anybody reads.
fn check_volume(sample: &Sample, blocks: &Blocks) {
    let table = gpt::read(&sample.bytes).unwrap();
    let garbage = vec![0xa5; BLOCK_LEN];
    for block in 0..index(sample).blocks() {
        let read = blocks.get(&block).unwrap_or(&garbage);
        for (within, bytes) in read.chunks(4096).enumerate() {
            let at = block as usize * BLOCK_LEN + within * 4096;
            if is_read(sample, &table, at) {
                assert!(bytes == &sample.bytes[at..at + 4096], "byte {at}");
            }
        }
    }
    // Nothing of an older disk is left anywhere.
    for (block, bytes) in blocks {
        assert!(*bytes == own_block(sample, *block), "block {block}");
    }
}

fn sample() -> impl Strategy<Value = (Vec<u8>, u8, Vec<u32>)> {
    let slabs = prop::collection::vec(0..3_u8, 1..6);
    (slabs, 0..4_u8, prop::collection::vec(0..20_u32, 0..3))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_chain_of_pushes_reads_as_its_last_disk(disks in prop::collection::vec(sample(), 1..4)) {
        let mut last: Option<(Sample, Blocks)> = None;
        for (slabs, esp, more) in disks {
            let sample = Sample::new(&slabs, esp);
            let parent = last.as_ref().map(|(sample, blocks)| (sample, blocks));
            let (plan, blocks) = push(&sample, &more, parent);
            prop_assert!(plan.is_sorted_by(|one, next| one < next));
            check_volume(&sample, &blocks);
            last = Some((sample, blocks));
        }
    }
}

#[test]
fn a_whole_disk_is_put_but_for_what_nobody_reads() {
    let sample = Sample::new(&[1, 0, 2], 0);
    let (plan, _) = push(&sample, &[], None);
    let (esp, store, hash) = (sample.esp(), sample.store(), sample.hash());
    let last = index(&sample).blocks() - 1;
    // The ESP is all zeros here, and is put.
    assert_eq!(
        plan,
        [0, esp, esp + 1, store, store + 2, hash, hash + 1, last]
    );
    let (plan, _) = push(&sample, &[1, store + 1], None);
    assert!(plan.contains(&1), "what lies outside of partitions is put");
    assert!(!plan.contains(&(store + 1)), "the tree knows better");
}

#[test]
fn a_delta_is_what_differs_and_what_is_not_known() {
    let old = Sample::new(&[1, 2, 0, 3], 1);
    let new = Sample::new(&[1, 0, 2, 3], 1);
    let (_, blocks) = push(&old, &[], None);
    let (plan, _) = push(&new, &[], Some((&old, &blocks)));
    let (esp, store, hash) = (new.esp(), new.store(), new.hash());
    let last = index(&new).blocks() - 1;
    // Block 0 is the same: these tables have the same GUIDs. What became zeros is put as zeros.
    assert_eq!(
        plan,
        [esp, esp + 1, store + 1, store + 2, hash, hash + 1, last]
    );
}

#[test]
fn a_parent_that_lacks_a_block_that_its_tree_names_is_not_relied_on() {
    let sample = Sample::new(&[1, 2], 1);
    let (_, mut blocks) = push(&sample, &[], None);
    blocks.remove(&sample.store());
    blocks.remove(&0);
    let (plan, _) = push(&sample, &[], Some((&sample, &blocks)));
    assert!(plan.contains(&sample.store()) && plan.contains(&0));
    assert!(!plan.contains(&(sample.store() + 1)));
}

#[test]
fn what_a_longer_parent_has_past_the_end_is_overwritten() {
    let old = Sample::new(&[1; 9], 1);
    let new = Sample::new(&[1; 2], 1);
    let (_, blocks) = push(&old, &[], None);
    let (plan, blocks) = push(&new, &[], Some((&old, &blocks)));
    assert!(
        plan.contains(&(index(&old).blocks() - 1)),
        "its table's second copy"
    );
    check_volume(&new, &blocks);
    // And then never again.
    let (plan, _) = push(&new, &[], Some((&new, &blocks)));
    assert!(
        plan.iter().all(|block| *block < index(&new).blocks()),
        "{plan:?}"
    );
}
