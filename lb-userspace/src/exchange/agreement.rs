//! Whether two nodes that should be the same are: what differs between them for longer than it takes a change to reach both.

use std::collections::BTreeMap;
use std::time::Duration;

/// A reload of both nodes, one after the other, or a change of weights on its way is no disagreement.
pub const GRACE: Duration = Duration::from_secs(10);

/// Since when what differs.
#[derive(Debug, Default)]
pub struct Agreement(BTreeMap<String, Duration>);

impl Agreement {
    /// These differ now, in words; everything else agrees. What has differed for longer than the grace.
    pub fn judge(&mut self, now: Duration, differing: impl IntoIterator<Item = String>) -> Vec<String> {
        let before = std::mem::take(&mut self.0);
        let since = |it: String| {
            let since = before.get(&it).copied().unwrap_or(now);
            (it, since)
        };
        self.0 = differing.into_iter().map(since).collect();
        self.0.iter().filter(|(_, since)| now >= **since + GRACE).map(|(it, _)| it.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_for_longer_than_the_grace_is_said() {
        let mut agreement = Agreement::default();
        let mut judge = |at: u64, differing: &[&str]| {
            agreement.judge(Duration::from_secs(at), differing.iter().map(|it| (*it).to_owned()))
        };
        assert!(judge(0, &["a"]).is_empty());
        assert!(judge(5, &["a", "b"]).is_empty());
        assert_eq!(judge(10, &["a", "b"]), ["a"]);
        assert_eq!(judge(15, &["a", "b"]), ["a", "b"]);
        assert!(judge(16, &[]).is_empty());
        assert!(judge(17, &["a"]).is_empty(), "it begins anew");
    }
}
