//! Who should have which shard.
//!
//! **Invariants.** Every shard is somebody's while there is anybody; nobody has more than one shard more than another. Who
//! has what it may keep gives nothing away: as few shards move as can be. The same view leads to the same answer on every
//! hub.

use std::collections::{BTreeMap, BTreeSet};

use domain::{HubId, ShardId};

/// Who holds each shard.
pub(super) type Holders = [Option<HubId>; ShardId::COUNT];

/// Spreads the shards over these hubs, given who holds them now.
pub(super) fn share(holders: &Holders, hubs: &BTreeSet<HubId>) -> Holders {
    let mut room = quotas(holders, hubs);
    let mut shares = [None; ShardId::COUNT];
    let mut free = Vec::new();
    for shard in in_order() {
        match holders[shard].and_then(|holder| Some((holder, room.get_mut(&holder)?))) {
            Some((holder, left)) if *left > 0 => {
                *left -= 1;
                shares[shard] = Some(holder);
            }
            _ => free.push(shard),
        }
    }
    let mut free = free.into_iter();
    for (hub, left) in room {
        free.by_ref().take(left).for_each(|shard| shares[shard] = Some(hub));
    }
    shares
}

/// How many each may have. Where it does not come out even, who holds more already may have one more.
fn quotas(holders: &Holders, hubs: &BTreeSet<HubId>) -> BTreeMap<HubId, usize> {
    let Some(least) = ShardId::COUNT.checked_div(hubs.len()) else { return BTreeMap::new() };
    let one_more = ShardId::COUNT % hubs.len();
    let held = |hub| holders.iter().filter(|holder| **holder == Some(hub)).count().min(least + 1);
    let mut ranked: Vec<_> = hubs.iter().copied().collect();
    ranked.sort_by_key(|hub| (std::cmp::Reverse(held(*hub)), *hub));
    let quota = |(rank, hub)| (hub, least + usize::from(rank < one_more));
    ranked.into_iter().enumerate().map(quota).collect()
}

/// So that the first few, which have more to do than the others, are spread as evenly as all of them.
fn in_order() -> impl Iterator<Item = usize> {
    ShardId::all().map(|shard| shard.0.reverse_bits().into())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOBODYS: Holders = [None; ShardId::COUNT];

    fn hubs(numbers: impl IntoIterator<Item = u128>) -> BTreeSet<HubId> {
        numbers.into_iter().map(|n| HubId(Uuid::from_u128(n))).collect()
    }

    fn counts(shares: &Holders, hubs: &BTreeSet<HubId>) -> Vec<usize> {
        hubs.iter().map(|hub| shares.iter().filter(|holder| **holder == Some(*hub)).count()).collect()
    }

    /// Xorshift (Marsaglia): the same chances in every run.
    fn below(state: &mut u64, end: u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % end
    }

    #[test]
    fn whoever_comes_and_goes_all_are_spread_within_one_and_as_few_move_as_can_be() {
        let mut chance = 0x0063_6861_6e63_6572;
        let (mut present, mut shares) = (hubs([]), NOBODYS);
        for step in 0..2000 {
            let hub = HubId(Uuid::from_u128(u128::from(below(&mut chance, 12))));
            if !present.remove(&hub) {
                present.insert(hub);
            }
            // Some have been released, and not been taken yet.
            for _ in 0..below(&mut chance, 4) {
                shares[usize::try_from(below(&mut chance, 256)).unwrap()] = None;
            }
            let before = shares;
            shares = share(&before, &present);
            if present.is_empty() {
                assert_eq!(shares, NOBODYS);
                continue;
            }
            let counts = counts(&shares, &present);
            assert!(shares.iter().all(Option::is_some), "step {step}");
            assert!(
                counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1,
                "step {step}: {counts:?}"
            );
            assert_eq!(share(&shares, &present), shares, "step {step}: nothing moves without a reason");
            let given_away = |hub: &HubId| {
                let lost =
                    before.iter().zip(&shares).filter(|(was, is)| **was == Some(*hub) && is != was).count();
                let kept = shares.iter().filter(|is| **is == Some(*hub)).count();
                (lost, kept)
            };
            for hub in &present {
                let (lost, kept) = given_away(hub);
                assert!(
                    lost == 0 || kept >= 256 / present.len(),
                    "step {step}: {hub} gave {lost}, kept {kept}"
                );
            }
        }
    }

    #[test]
    fn the_first_sixteen_are_spread_too() {
        let alone = share(&NOBODYS, &hubs([1]));
        let both = share(&alone, &hubs([1, 2]));
        let of_first = both[..16].iter().filter(|holder| **holder == alone[0]).count();
        assert_eq!(of_first, 8);
        let nobodys = share(&NOBODYS, &hubs([1, 2]));
        assert_eq!(nobodys[..16].iter().filter(|holder| **holder == nobodys[0]).count(), 8);
    }
}
