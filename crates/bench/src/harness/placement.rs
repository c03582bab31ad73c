//! Decides which samples were taken in the same placement: those in which both
//! probes show the same distance between the two processors.

use super::board::Place;
use super::records::Sample;

/// How far two round trips of a cache line are from each other when the
/// processors have moved. Those of neighbours and of strangers differ by more.
const MOVED: f64 = 1.6;
/// The same of a line of a stream, which tells apart what has the same round
/// trip, and of which an interruption takes more.
const SLOWED: f64 = 2.2;

fn near(one: Place, other: Place) -> bool {
    let within = |one: f64, other: f64, most: f64| one < other * most && other < one * most;
    within(one.trip, other.trip, MOVED) && within(one.streamed, other.streamed, SLOWED)
}

/// Whether the processors were all the time where this round's are.
pub(super) fn stayed(sample: &Sample, place: &mut Option<Place>) -> bool {
    let Some((before, after)) = sample.probes else {
        return true;
    };
    near(before, after) && near(before, *place.get_or_insert(before))
}

/// The rounds of the placement that most were in; all of them, if the processors moved
/// in each.
pub(super) fn of_one_placement(
    mut rounds: Vec<(Option<Place>, Vec<Option<Sample>>)>,
) -> Vec<Vec<Option<Sample>>> {
    let moved = |samples: &[Option<Sample>]| samples.iter().flatten().any(|sample| sample.moved);
    if rounds.iter().any(|(_, samples)| !moved(samples)) {
        rounds.retain(|(_, samples)| !moved(samples));
    }
    let alike = |one: &Option<Place>, other: &Option<Place>| match (one, other) {
        (Some(one), Some(other)) => near(*one, *other),
        _ => true,
    };
    let companions =
        |place: Option<Place>| rounds.iter().filter(|(other, _)| alike(&place, other)).count();
    let places = rounds.iter().map(|(place, _)| *place);
    let most = places.max_by_key(|place| companions(*place)).flatten();
    rounds.retain(|(place, _)| alike(place, &most));
    rounds.into_iter().map(|(_, samples)| samples).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Place = Place { trip: 60.0, streamed: 3.0 };
    /// The same round trip, and a stream that is slower.
    const THIN: Place = Place { trip: 65.0, streamed: 10.0 };
    const FAR: Place = Place { trip: 350.0, streamed: 14.0 };

    fn sample(before: Place, after: Place) -> Sample {
        Sample { probes: Some((before, after)), ..Sample::default() }
    }

    #[test]
    fn who_moved_is_known_by_either_probe() {
        let restless = Place { trip: 50.0, streamed: 4.5 };
        for (before, after, same) in [
            (NEAR, NEAR, true),
            (NEAR, restless, true),
            (NEAR, THIN, false),
            (THIN, NEAR, false),
            (NEAR, FAR, false),
        ] {
            assert_eq!(stayed(&sample(before, after), &mut None), same, "{before:?} {after:?}");
            let mut place = Some(before);
            assert_eq!(stayed(&sample(after, after), &mut place), same, "{before:?} {after:?}");
        }
    }

    #[test]
    fn rounds_of_the_commonest_placement_are_kept() {
        let places = [NEAR, THIN, FAR, THIN];
        let rounds = places.map(|place| (Some(place), vec![Some(sample(place, place))]));
        let kept = of_one_placement(rounds.into());
        assert_eq!(kept.len(), 2);
        for round in kept {
            let streamed = round[0].as_ref().and_then(|sample| sample.probes).unwrap().0.streamed;
            assert_eq!(streamed, THIN.streamed);
        }
    }

    #[test]
    fn rounds_in_which_the_processors_moved_count_only_where_there_are_no_others() {
        let moved = || (None, vec![Some(Sample { moved: true, ..sample(NEAR, FAR) })]);
        assert_eq!(of_one_placement(vec![moved(), moved()]).len(), 2);
        let kept = of_one_placement(vec![moved(), (Some(FAR), vec![Some(sample(FAR, FAR))])]);
        assert!(kept.len() == 1 && !kept[0][0].as_ref().unwrap().moved);
    }
}
