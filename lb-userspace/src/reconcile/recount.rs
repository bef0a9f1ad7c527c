//! Are the connection counts of stateful services right? The packet path keeps them as it goes, CPU beside CPU, and now and then a
//! race loses one: two CPUs with a packet of one flow at the same moment, or a record that is deleted while a packet is under way.
//!
//! A census counts the records themselves. It does not do so at one moment, so what it finds may lie anywhere between what the
//! counts said before and after it, and a little beyond, since what comes and goes in between is seen or not. But beyond means on
//! either side; an error that stays is always on the same.

use std::collections::BTreeMap;

use lb_common::connection::Counted;

use super::census::Census;
use super::placed::Placed;
use super::write::Write;

/// So many censuses in a row must find too many, or too few: then the least of these is an error, not noise.
const AGREE: usize = 4;

/// What censuses have found, by load.
#[derive(Clone, Debug, Default)]
pub struct Recount {
    found: BTreeMap<u32, Vec<Counted>>,
}

impl Recount {
    /// Takes note of a census; the writes that correct counts.
    pub fn observe<'a>(&mut self, services: impl Iterator<Item = &'a Placed>, census: &Census) -> Vec<Write> {
        let mut found = std::mem::take(&mut self.found);
        let mut writes = Vec::new();
        for placed in services {
            let Some(seat) = placed.seat else { continue };
            let loads = census.loads.range(seat.first_load..seat.first_load + seat.room);
            for (&load, &[before, after]) in loads {
                let backend = u16::try_from(load - seat.first_load).expect("a pool has fewer backends");
                let counted = census.counted(placed.pool, backend);
                let missing = Counted {
                    active: beyond(counted.active, before.active, after.active),
                    inactive: beyond(counted.inactive, before.inactive, after.inactive),
                };
                let mut history = found.remove(&load).unwrap_or_default();
                history.push(missing);
                let correction = Counted {
                    active: agreed(history.iter().map(|it| it.active)),
                    inactive: agreed(history.iter().map(|it| it.inactive)),
                };
                if history.len() < AGREE {
                    self.found.insert(load, history);
                } else if correction == Counted::default() {
                    history.remove(0);
                    self.found.insert(load, history);
                } else {
                    writes.push(Write::Recount(load, correction));
                }
            }
        }
        writes
    }
}

/// How far a number lies outside of what is between two others.
fn beyond(number: i32, one: i32, other: i32) -> i32 {
    number - number.clamp(one.min(other), one.max(other))
}

/// The smallest of numbers that all have one sign; else 0.
fn agreed(found: impl Iterator<Item = i32> + Clone) -> i32 {
    let (least, most) = (found.clone().min().unwrap_or(0), found.max().unwrap_or(0));
    if least > 0 {
        least
    } else if most < 0 {
        most
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_before_and_after_is_no_error() {
        for (number, one, other, error) in [(5, 3, 7, 0), (5, 7, 3, 0), (2, 3, 7, -1), (9, 7, 3, 2), (-1, 0, 0, -1)] {
            assert_eq!(beyond(number, one, other), error);
        }
    }

    #[test]
    fn what_all_agree_on_is_an_error_and_the_rest_is_noise() {
        for (found, error) in [(&[3, 5, 2, 9][..], 2), (&[-4, -1, -2, -8], -1), (&[3, -1, 4, 4], 0), (&[0, 1, 1, 1], 0)]
        {
            assert_eq!(agreed(found.iter().copied()), error, "{found:?}");
        }
    }
}
