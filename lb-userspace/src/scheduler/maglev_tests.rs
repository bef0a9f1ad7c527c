//! What the Maglev scheduler promises, and how it compares with the paper's.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn seed() -> Seed {
    Seed::from_text("fairway")
}

/// `weights[i]` is the weight of backend `i`.
fn build(weights: &[u32], size: u32) -> Vec<u16> {
    let names = names(weights.len());
    let members: Vec<Member> = names
        .iter()
        .zip(weights)
        .enumerate()
        .map(|(i, (identity, &weight))| Member { identity, index: i as u16, weight })
        .collect();
    table(&members, size, &seed())
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("web{i} 10.0.{}.{}:80", i / 256, i % 256)).collect()
}

fn shares(owners: &[u16]) -> HashMap<u16, u64> {
    let mut shares = HashMap::new();
    for &owner in owners {
        *shares.entry(owner).or_insert(0) += 1;
    }
    shares
}

fn moved(before: &[u16], after: &[u16]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn each_share_is_within_one_slot_of_exact(
        weights in prop::collection::vec(prop_oneof![Just(0), 1..5u32, 1..200u32, 1..=u32::MAX], 1..120),
        bits in 4..13u32,
    ) {
        let size = 1 << bits;
        let owners = build(&weights, size);
        let shares = shares(&owners);
        let sum: u128 = weights.iter().map(|&w| u128::from(w)).sum();
        prop_assume!(sum > 0);
        prop_assert_eq!(owners.len(), size as usize);
        prop_assert!(!shares.contains_key(&NONE));
        for (i, &weight) in weights.iter().enumerate() {
            let got = u128::from(shares.get(&(i as u16)).copied().unwrap_or(0));
            let exact_times_sum = u128::from(size) * u128::from(weight);
            prop_assert!((got * sum).abs_diff(exact_times_sum) < sum, "backend {} has {} slots", i, got);
        }
    }

    #[test]
    fn the_table_depends_on_the_set_and_not_on_order_or_indices(n in 1..40usize, rotation in 0..40usize, shift in 0..100u16) {
        let names = names(n);
        let members: Vec<Member> = names.iter().enumerate()
            .map(|(i, identity)| Member { identity, index: i as u16, weight: 1 + i as u32 % 3 }).collect();
        let mut turned = members.clone();
        turned.rotate_left(rotation % n);
        turned.iter_mut().for_each(|member| member.index += shift);
        let (one, other) = (table(&members, 256, &seed()), table(&turned, 256, &seed()));
        prop_assert!(one.iter().zip(&other).all(|(a, b)| a + shift == *b));
        prop_assert_eq!(
            lookup_table_hash(&one, |i| Some(&names[i as usize])),
            lookup_table_hash(&other, |i| Some(&names[(i - shift) as usize]))
        );
    }
}

#[test]
fn weights_count_only_in_proportion() {
    assert_eq!(build(&[1, 2, 3, 4], 1024), build(&[100, 200, 300, 400], 1024));
}

#[test]
fn nobody_owns_anything_without_a_weight() {
    assert_eq!(build(&[], 16), vec![NONE; 16]);
    assert_eq!(build(&[0, 0], 16), vec![NONE; 16]);
}

#[test]
fn more_backends_than_slots_leaves_some_without_and_no_slot_empty() {
    let shares = shares(&build(&[1; 100], 16));
    assert_eq!(shares.len(), 16);
    assert!(shares.values().all(|&share| share == 1));
}

#[test]
fn the_lookup_table_hash_sees_one_changed_slot_and_an_unknown_owner() {
    let names = names(4);
    let identity = |i: u16| names.get(i as usize).map(String::as_str);
    let owners = build(&[1; 4], 64);
    let mut other = owners.clone();
    other[63] = (other[63] + 1) % 4;
    assert_ne!(lookup_table_hash(&owners, identity), lookup_table_hash(&other, identity));
    other[63] = NONE;
    assert_ne!(lookup_table_hash(&owners, identity), lookup_table_hash(&other, identity));
}

#[test]
fn two_seeds_give_two_tables() {
    let members = [Member { identity: "a", index: 0, weight: 1 }, Member { identity: "b", index: 1, weight: 1 }];
    assert_ne!(table(&members, 256, &Seed::from_text("x")), table(&members, 256, &Seed::from_text("y")));
}

#[test]
fn the_table_never_changes_because_nodes_of_two_versions_must_agree() {
    let names = names(7);
    let hash = lookup_table_hash(&build(&[1, 2, 3, 0, 5, 6, 7], 1024), |i| Some(&names[i as usize]));
    assert_eq!(format!("{hash:016x}"), "70819c881c7882fe");
}

#[test]
fn one_heavy_backend_among_a_thousand_light_ones_is_quick_too() {
    let mut weights = vec![1; 1000];
    weights[500] = 1_000_000;
    let shares = shares(&build(&weights, 1 << 16));
    assert!(shares[&500] >= 65_470);
}

#[test]
fn a_very_light_backend_is_served_in_few_rounds() {
    let shares = shares(&build(&[1, 1000], 1 << 16));
    assert!((65..=66).contains(&shares[&0]));
    build(&[1, u32::MAX, u32::MAX, 1], 1 << 16);
}

#[test]
fn a_tenth_more_weight_for_one_backend_moves_little() {
    for (size, n) in [(16_384u32, 10usize), (16_384, 100), (65_536, 100), (65_536, 1000)] {
        let before = vec![100; n];
        let mut after = before.clone();
        after[n / 2] = 110;
        let moved = moved(&build(&before, size), &build(&after, size));
        let needed = size as usize / 10 / n;
        println!("weight +10 %: {size} slots, {n} backends: {moved} moved, {needed} needed");
        assert!(moved <= 2 * needed + size as usize / 100, "{moved} slots moved where {needed} had to");
    }
}

#[test]
fn moves_fewer_slots_than_the_paper() {
    for (size, prime) in [(16_384u32, 16_381usize), (65_536, 65_537)] {
        for n in [10usize, 100, 1000] {
            let (mut here, mut paper) = (0, 0);
            let full_here = build(&vec![1; n], size);
            let full_paper = paper_table(&names(n), &vec![true; n], prime);
            const REMOVALS: usize = 8;
            for removal in 0..REMOVALS {
                let gone = removal * n / REMOVALS;
                let mut weights = vec![1; n];
                weights[gone] = 0;
                here += extra_moves(&full_here, &build(&weights, size), gone);
                let present: Vec<bool> = (0..n).map(|i| i != gone).collect();
                paper += extra_moves(&full_paper, &paper_table(&names(n), &present, prime), gone);
            }
            let percent = |moves: usize| (moves * 100) as f64 / (REMOVALS as f64 * f64::from(size));
            println!(
                "| {size} | {n:4} | {:9} | {} ({:.2} %) | {} ({:.2} %) |",
                size as usize / n,
                here / REMOVALS,
                percent(here),
                paper / REMOVALS,
                percent(paper)
            );
            assert!(
                percent(here) < 1.0,
                "{size} slots, {n} backends: {:.2} % of the table moved besides",
                percent(here)
            );
            assert!(here < paper, "{size} slots, {n} backends: {here} against the paper's {paper}");
        }
    }
}

fn extra_moves(before: &[u16], after: &[u16], gone: usize) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b && usize::from(**a) != gone).count()
}

/// The algorithm of the Maglev paper (NSDI 2016, section 3.4): prime size, skips below it, each turn the next free
/// slot.
fn paper_table(names: &[String], present: &[bool], size: usize) -> Vec<u16> {
    let mut owners = vec![NONE; size];
    let mut cursors: Vec<(usize, usize, u16)> = (0..names.len())
        .filter(|&i| present[i])
        .map(|i| {
            let (offset, skip) = seed().hash(PERMUTATION, names[i].as_bytes());
            (offset as usize % size, skip as usize % (size - 1) + 1, i as u16)
        })
        .collect();
    let mut filled = 0;
    loop {
        for (next, skip, index) in &mut cursors {
            while owners[*next] != NONE {
                *next = (*next + *skip) % size;
            }
            owners[*next] = *index;
            filled += 1;
            if filled == size {
                return owners;
            }
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures how long a table takes")]
fn a_table_is_quick_to_build() {
    for (size, n) in [(16_384, 100), (65_536, 1000), (1 << 20, 8192)] {
        let weights = vec![1; n];
        let start = std::time::Instant::now();
        build(&weights, size);
        let took = start.elapsed();
        println!("{size} slots, {n} backends: {took:?}");
        // Generous, for busy machines: it is some 50 times what is usual, and catches a quadratic slip.
        assert!(took.as_secs_f64() < 1e-5 * f64::from(size) + 0.2, "{size} slots, {n} backends took {took:?}");
    }
}
