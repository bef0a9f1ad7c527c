//! The two policy rules of a family: that which leads what this host sends to the routes of ours, and that for local addresses, which
//! must come after it. At no moment there is none for local addresses.

use super::{LOCAL_PRIORITY, PRIORITY, PROTOCOL, TABLE};

/// The table of local addresses.
const LOCAL: u32 = libc::RT_TABLE_LOCAL as u32;
/// `RTPROT_KERNEL`: the rule of local addresses bears it that every namespace begins with.
const KERNEL: u8 = 2;

/// A rule that names a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Rules are asked in the order of these.
    pub priority: u32,
    /// Who is led there.
    pub whom: Whom,
    /// The table; 0: the rule does something else.
    pub table: u32,
    /// Who made it, by number.
    pub protocol: u8,
}

/// Whom a rule is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    /// Everybody.
    All,
    /// What this host's own sockets send: `iif lo`.
    Own,
    /// Whoever is chosen by anything else.
    Others,
}

/// One change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The rule comes.
    Add(Rule),
    /// It goes.
    Remove(Rule),
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whom = if self.whom == Whom::Own { " iif lo" } else { "" };
        write!(f, "priority {}{whom} lookup {}", self.priority, self.table)
    }
}

/// What leads our packets to our routes.
const OURS: Rule = Rule { priority: PRIORITY, whom: Whom::Own, table: TABLE, protocol: PROTOCOL };
/// The rule of local addresses where we have moved it.
const MOVED: Rule = Rule { priority: LOCAL_PRIORITY, whom: Whom::All, table: LOCAL, protocol: PROTOCOL };
/// Where it is at first.
const FIRST: Rule = Rule { priority: 0, whom: Whom::All, table: LOCAL, protocol: KERNEL };

/// The steps that make the rules of a family what they shall be, in their order.
///
/// # Errors
/// When that would change what an operator's rules do; why, in words.
pub fn plan(present: &[Rule], wanted: bool) -> Result<Vec<Step>, String> {
    if wanted { come(present) } else { Ok(go(present)) }
}

fn come(present: &[Rule]) -> Result<Vec<Step>, String> {
    let is_behind = present.iter().any(|rule| is_local(rule) && rule.priority > PRIORITY);
    let in_front: Vec<&Rule> = present.iter().filter(|rule| is_local(rule) && rule.priority <= PRIORITY).collect();
    if let Some(rule) = in_front.iter().find(|rule| rule.priority != FIRST.priority) {
        return Err(format!(
            "the rule for local addresses has priority {}, and one of ours has to come before it: give it a higher number",
            rule.priority
        ));
    }
    let would_overtake = |rule: &&Rule| **rule != OURS && !is_local(rule) && rule.priority <= LOCAL_PRIORITY;
    if let Some(rule) = present.iter().find(would_overtake).filter(|_| !in_front.is_empty()) {
        return Err(format!(
            "a rule with priority {} would come to be asked before that for local addresses: give it a number above {LOCAL_PRIORITY}",
            rule.priority
        ));
    }
    let moved = (!is_behind).then_some(Step::Add(MOVED));
    let ours = (!present.contains(&OURS)).then_some(Step::Add(OURS));
    Ok(moved.into_iter().chain(ours).chain(in_front.into_iter().map(|rule| Step::Remove(*rule))).collect())
}

/// What an operator had moved stays where it is: then there is none of our moving.
fn go(present: &[Rule]) -> Vec<Step> {
    let was_moved = present.contains(&MOVED);
    let is_first = present.iter().any(|rule| is_local(rule) && rule.priority == FIRST.priority);
    let back = (was_moved && !is_first).then_some(Step::Add(FIRST));
    let gone = [OURS, MOVED].into_iter().filter(|rule| present.contains(rule)).map(Step::Remove);
    back.into_iter().chain(gone).collect()
}

fn is_local(rule: &Rule) -> bool {
    rule.whom == Whom::All && rule.table == LOCAL
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: Rule = Rule { priority: 32_766, whom: Whom::All, table: 254, protocol: KERNEL };
    const BY_HAND: Rule = Rule { priority: 100, whom: Whom::All, table: LOCAL, protocol: 3 };

    fn operators(priority: u32) -> Rule {
        Rule { priority, whom: Whom::Others, table: 7, protocol: 3 }
    }

    fn done(present: &[Rule], wanted: bool) -> Vec<Rule> {
        let mut rules = present.to_vec();
        for step in plan(present, wanted).expect("nothing is in the way") {
            match step {
                Step::Add(rule) => rules.push(rule),
                Step::Remove(rule) => rules.retain(|it| *it != rule),
            }
            assert!(rules.iter().any(is_local), "at {step:?}: {rules:?}");
        }
        assert_eq!(plan(&rules, wanted), Ok(vec![]), "done is done");
        rules.sort_by_key(|rule| rule.priority);
        rules
    }

    #[test]
    fn the_rule_for_local_addresses_goes_behind_ours_and_comes_back() {
        let moved = done(&[FIRST, MAIN], true);
        assert_eq!(moved, [OURS, MOVED, MAIN]);
        assert_eq!(done(&moved, false), [FIRST, MAIN]);
        assert_eq!(plan(&[FIRST, MAIN], false), Ok(vec![]));
    }

    #[test]
    fn whoever_died_between_two_steps_is_succeeded() {
        for present in [&[FIRST, MOVED, MAIN][..], &[FIRST, OURS, MOVED, MAIN], &[OURS, MOVED, MAIN]] {
            assert_eq!(done(present, true), [OURS, MOVED, MAIN], "{present:?}");
            assert_eq!(done(present, false), [FIRST, MAIN], "{present:?}");
        }
        assert_eq!(done(&[FIRST, OURS, MAIN], false), [FIRST, MAIN]);
    }

    #[test]
    fn what_an_operator_moved_stays_there() {
        let present = [operators(10), BY_HAND, MAIN];
        assert_eq!(done(&present, true), [OURS, operators(10), BY_HAND, MAIN]);
        assert_eq!(done(&[OURS, operators(10), BY_HAND, MAIN], false), present);
    }

    #[test]
    fn rules_behind_are_left_alone_and_those_in_front_are_in_the_way() {
        assert_eq!(done(&[FIRST, operators(3), MAIN], true), [OURS, MOVED, operators(3), MAIN]);
        for in_the_way in [operators(0), operators(1), operators(2), Rule { priority: 1, ..BY_HAND }] {
            let refused = plan(&[FIRST, in_the_way, MAIN], true).expect_err("it would come first");
            assert!(refused.contains(&format!("priority {}", in_the_way.priority)), "{refused}");
        }
        assert!(plan(&[operators(1), BY_HAND, MAIN], true).is_ok(), "it was before local addresses anyway");
    }
}
