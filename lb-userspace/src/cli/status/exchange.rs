//! The exchange's part of the status screen: whether the peer has what a failover needs.

use super::super::table::{Tone, clean};
use super::super::units::{ago, plural};
use crate::exchange::view::{SessionView, View};

/// The lines.
pub fn screen(view: &View, now: f64, colour: bool) -> String {
    let session = |session: &Option<SessionView>, yes: &str, no: &str| match session {
        Some(it) => format!("{yes} {} for {}", clean(&it.peer), ago(now, it.since)),
        None => Tone::Bad.paint(no, colour),
    };
    let telling = session(&view.telling, "telling", "telling NOBODY");
    let following = session(&view.following, "hearing", "hearing NOBODY");
    let mut out = format!("exchange {telling}, {following}; {} told\n", plural(view.told_records as usize, "record"));
    for realm in &view.realms {
        let state = match (realm.master, realm.in_sync) {
            (true, true) => "the peer has all of it".to_owned(),
            (true, false) => Tone::Bad.paint("the peer has NOT all of it", colour),
            (false, true) => "all of it is here".to_owned(),
            (false, false) => Tone::Odd.paint("nothing of it is here", colour),
        };
        out.push_str(&format!("         {}: {state}\n", clean(&realm.vrrp)));
    }
    if let Some(ratio) = view.rehearsal.ratio {
        let share = format!("{:.1} % of the peer's decisions would be made here too", (ratio * 1000.0).floor() / 10.0);
        let tone = if ratio < 1.0 { Tone::Bad } else { Tone::Good };
        out.push_str(&format!("         {}\n", tone.paint(&share, colour)));
        for example in &view.rehearsal.examples {
            out.push_str(&format!("           {}\n", clean(example)));
        }
    }
    if let Some(why) = &view.not_caught_up {
        out.push_str(&format!("         {}\n", Tone::Odd.paint(why, colour)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::admin::sample;

    #[test]
    fn it_says_who_has_what() {
        let mut view = sample::exchange();
        let expected = "\
exchange telling lb2 for 2m 5s, hearing lb2 for 2m 5s; 13 records told
         inside: all of it is here
         public: the peer has all of it
         100.0 % of the peer's decisions would be made here too
";
        assert_eq!(screen(&view, sample::NOW, false), expected);
        view.telling = None;
        view.realms[1].in_sync = false;
        (view.rehearsal.ratio, view.rehearsal.examples) = (Some(0.9999), vec!["one to a there and b here".to_owned()]);
        let shown = screen(&view, sample::NOW, false);
        assert!(shown.contains(" 99.9 % of") && shown.contains("           one to a there"), "{shown}");
        assert!(shown.contains("telling NOBODY") && shown.contains("the peer has NOT all of it"), "{shown}");
    }
}
