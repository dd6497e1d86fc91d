//! Whose turn it is: the order in which weighted members take slots of a Maglev table.
//!
//! Maglev's members take turns. With weights, a member of weight `w` takes its turn number `k` (from 0) at the virtual
//! time `(k + ½) / w`, and its first at time 0. Cut off at any time `T`, each has had `max(1, round(T·w))` turns:
//! shares follow the weights to within about one slot (Webster's rule of apportionment, which favours neither the
//! heavy nor the light), and nobody of weight above zero is left without one. Equal weights give the plain round robin
//! of the paper.
//!
//! A member's turn times depend on its own weight alone. When another one leaves, joins or is re-weighted, the order
//! of those that stay is the same as before; counting rounds of the heaviest member instead, as others do, moves
//! every rounding when the heaviest one goes.
//!
//! Members of equal weight are one class and take their turns one after the other, so that a heap is consulted once
//! per class and turn: never, in effect, where all weights are equal.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;

/// Yields, without end, the index of the member whose turn it is.
pub(super) struct Turns {
    heap: BinaryHeap<Class>,
    /// The members of the class whose turn it is that have not had it yet.
    now: Range<usize>,
}

impl Turns {
    /// `weights` must be in descending order and above zero; among equal ones the earlier member goes first.
    pub(super) fn new(weights: &[u16]) -> Self {
        let mut start = 0;
        let heap = weights
            .chunk_by(|a, b| a == b)
            .filter_map(|class| {
                let members = start..start + class.len();
                start = members.end;
                let weight = u64::from(*class.first()?);
                Some(Class {
                    half_turns: 0,
                    weight,
                    members,
                })
            })
            .collect();
        Self { heap, now: 0..0 }
    }
}

impl Iterator for Turns {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if let Some(member) = self.now.next() {
            return Some(member);
        }
        let mut class = self.heap.peek_mut()?;
        self.now = class.members.clone();
        // 0, then 3, 5, 7 ...: half turns, so that times stay whole numbers over the weight.
        class.half_turns = if class.half_turns == 0 {
            3
        } else {
            class.half_turns + 2
        };
        // Restores the heap's order.
        drop::<PeekMut<'_, Class>>(class);
        self.now.next()
    }
}

/// The members of one weight, and when they have their next turn: `half_turns / (2 * weight)`.
struct Class {
    half_turns: u64,
    weight: u64,
    members: Range<usize>,
}

impl Ord for Class {
    /// Greatest (the heap's top) is who comes first: the earliest time, and at the same time the heavier weight.
    ///
    /// Times are compared as fractions, exactly. The products stay far below 2^64: half turns are at most twice the
    /// table's slots, weights 16 bits.
    fn cmp(&self, other: &Self) -> Ordering {
        let own = self.half_turns * other.weight;
        let others = other.half_turns * self.weight;
        others.cmp(&own).then(self.weight.cmp(&other.weight))
    }
}

impl PartialOrd for Class {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Class {}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(weights: &[u16], turns: usize) -> Vec<usize> {
        Turns::new(weights).take(turns).collect()
    }

    #[test]
    fn equal_weights_take_turns_in_their_order() {
        assert_eq!(first(&[7, 7, 7], 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn everybody_has_a_turn_before_anybody_has_two() {
        assert_eq!(first(&[65_535, 2, 1], 6), [0, 1, 2, 0, 0, 0]);
    }

    #[test]
    fn later_turns_follow_the_weights() {
        // Times of weight 3: 0, 3/6, 5/6, 7/6, 9/6, 11/6; of weight 1: 0, 3/2 (a tie: the heavier first), 5/2.
        assert_eq!(first(&[3, 1], 9), [0, 1, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn the_order_of_those_who_stay_does_not_depend_on_who_leaves() {
        let with: Vec<usize> = first(&[9, 5, 2, 2, 1], 400)
            .into_iter()
            .filter_map(|m| m.checked_sub(1))
            .collect();
        let without = first(&[5, 2, 2, 1], with.len());
        assert_eq!(with, without);
    }

    #[test]
    fn nobody_means_no_turns() {
        assert_eq!(first(&[], 3), [0_usize; 0]);
    }
}
