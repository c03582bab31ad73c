//! The messages that dead workers may have had without living to note it.

/// The call that a consumer was killed in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// When it was about to call.
    pub(crate) start: u64,
    /// When it was certainly alive for the last time.
    pub(crate) signal_at: u64,
    /// When it was certainly dead.
    pub(crate) reaped_at: u64,
    /// How many messages it can have had.
    pub(crate) most: u64,
    /// Whether they need not come again.
    pub(crate) swallows: bool,
    /// When the messages that had to come again had certainly been taken.
    pub(crate) retaken_by: u64,
}

/// A message that only a death in the midst of a call can explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A message did not come, or not again. Somebody took it between these
    /// times. Its attempts are used up after so many more deaths.
    Gone { from: u64, to: u64, deaths_left: Option<u8> },
    /// A message came late, and not marked as a repetition. Somebody took it
    /// between these times, and was killed before the last.
    Late { from: u64, to: u64, before: u64 },
}

impl Claim {
    /// Whether the consumer killed in this call may have been the next to have it.
    const fn fits(self, window: &Window) -> bool {
        let (from, to) = match self {
            Self::Gone { from, to, .. } => (from, to),
            Self::Late { from, to, before } => {
                if window.signal_at > before {
                    return false;
                }
                (from, to)
            }
        };
        window.start <= to && window.reaped_at >= from
    }

    /// Whether that would be the whole explanation.
    const fn explained_by(self, window: &Window) -> bool {
        let enough = match self {
            Self::Gone { deaths_left, .. } => window.swallows || matches!(deaths_left, Some(1)),
            Self::Late { .. } => true,
        };
        enough && self.fits(window)
    }

    /// The claim that is left after a first death that left no note.
    const fn after(self, first: &Window) -> Self {
        let (from, to) = (first.signal_at, first.retaken_by);
        match self {
            Self::Gone { deaths_left, .. } => {
                let deaths_left = match deaths_left {
                    Some(left) => Some(left.saturating_sub(1)),
                    None => None,
                };
                Self::Gone { from, to, deaths_left }
            }
            Self::Late { before, .. } => Self::Late { from, to, before },
        }
    }
}

/// Matches as many claims as possible to windows. Says of each claim whether
/// it is explained: by a window that is its own, or by two, the second after
/// the first. At most two deaths without a note are allowed for one message.
pub(crate) fn match_up(claims: &[Claim], windows: &[Window]) -> Vec<bool> {
    let fitting = |claim: &Claim| {
        let fits = |&n: &usize| windows.get(n).is_some_and(|window| claim.explained_by(window));
        (0..windows.len()).filter(fits).collect()
    };
    let mut matching = Matching {
        fitting: claims.iter().map(fitting).collect(),
        windows,
        used: windows.iter().map(|_| Vec::new()).collect(),
    };
    let mut explained: Vec<bool> = (0..claims.len())
        .map(|claim| matching.place(claim, &mut vec![false; windows.len()]))
        .collect();
    let mut free: Vec<&Window> = windows
        .iter()
        .zip(&matching.used)
        .filter(|(_, used)| used.is_empty())
        .map(|(w, _)| w)
        .collect();
    for (explained, claim) in explained.iter_mut().zip(claims).filter(|(explained, _)| !**explained)
    {
        let pair = free.iter().enumerate().find_map(|(first, window)| {
            let rest = claim.after(window);
            let second = |(n, other): (usize, &&Window)| {
                (n != first && rest.explained_by(other)).then_some(n)
            };
            let second = claim.fits(window).then(|| free.iter().enumerate().find_map(second))?;
            second.map(|second| [first.min(second), first.max(second)])
        });
        if let Some([first, second]) = pair {
            *explained = true;
            free.remove(second);
            free.remove(first);
        }
    }
    explained
}

/// Augmenting paths, as in Kuhn's algorithm.
struct Matching<'a> {
    /// By claim, its windows.
    fitting: Vec<Vec<usize>>,
    windows: &'a [Window],
    /// By window, its claims.
    used: Vec<Vec<usize>>,
}

impl Matching<'_> {
    fn place(&mut self, claim: usize, visited: &mut [bool]) -> bool {
        for at in 0..self.fitting[claim].len() {
            let window = self.fitting[claim][at];
            if std::mem::replace(&mut visited[window], true) {
                continue;
            }
            if (self.used[window].len() as u64) < self.windows[window].most {
                self.used[window].push(claim);
                return true;
            }
            for other in 0..self.used[window].len() {
                if self.place(self.used[window][other], visited) {
                    self.used[window][other] = claim;
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: u64, end: u64, most: u64) -> Window {
        let (signal_at, reaped_at) = (end, end);
        Window { start, signal_at, reaped_at, most, swallows: true, retaken_by: end + 5 }
    }

    const fn gone(from: u64, to: u64) -> Claim {
        Claim::Gone { from, to, deaths_left: None }
    }

    #[test]
    fn a_window_explains_only_what_can_have_been_taken_in_it() {
        let explained = |claim, window| match_up(&[claim], &[window])[0];
        assert!(explained(gone(5, 8), window(1, 6, 1)));
        assert!(!explained(gone(7, 8), window(1, 6, 1)), "it was sent later");
        assert!(!explained(gone(1, 3), window(4, 6, 1)), "it was taken before");
        let keeps = Window { swallows: false, ..window(1, 6, 1) };
        assert!(!explained(gone(5, 8), keeps), "it had to come again");
        assert!(explained(Claim::Gone { from: 5, to: 8, deaths_left: Some(1) }, keeps));
        assert!(!explained(Claim::Gone { from: 5, to: 8, deaths_left: Some(2) }, keeps));
        assert!(explained(Claim::Late { from: 5, to: 8, before: 7 }, keeps));
        assert!(!explained(Claim::Late { from: 5, to: 8, before: 5 }, keeps), "it still lived");
    }

    #[test]
    fn each_window_is_used_once_and_in_the_best_way() {
        let windows = [window(1, 6, 1), window(5, 9, 1)];
        // The first fits both, the second only one.
        assert_eq!(match_up(&[gone(2, 9), gone(1, 4)], &windows), [true, true]);
        assert_eq!(match_up(&[gone(2, 9), gone(2, 9), gone(2, 9)], &windows), [true, true, false]);
        assert_eq!(match_up(&[gone(2, 9); 4], &[window(1, 6, 3)]), [true, true, true, false]);
    }

    #[test]
    fn two_silent_deaths_explain_what_came_neither_time() {
        let first = Window { swallows: false, ..window(1, 6, 1) };
        assert_eq!(match_up(&[gone(2, 3)], &[first, window(8, 20, 1)]), [true]);
        assert_eq!(match_up(&[gone(2, 3)], &[first, window(12, 20, 1)]), [false]);
        assert_eq!(match_up(&[gone(2, 3)], &[first, first]), [false]);
    }
}
