//! The part of a census about translated flows: those of which neither direction has been heard of for their timeout are forgotten.

use lb_common::abi::{FlowKey6, Translation};
use lb_common::path::translation::{Ends, turned};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{as_is, widen};
use crate::effects::dataplane::flow_table::{FlowTable, Taken};
use crate::effects::dataplane::{Maps, narrow};
use crate::reconcile::census::{Census, TranslationFate};
use crate::reconcile::image::Image;

/// Counts the flows of both families. `now` is the packet path's clock.
pub(super) fn count(maps: &mut Maps, image: &Image, census: &mut Census, now: u64) -> anyhow::Result<()> {
    table(&mut maps.translations_v4, widen, narrow, image, census, now)?;
    let wide = |key: &FlowKey6| key.as_bytes().try_into().expect("a key is 40 octets");
    table(&mut maps.translations_v6, as_is, wide, image, census, now)
}

fn table<const K: usize>(
    table: &mut FlowTable<K, 48>,
    widen: impl Fn(&[u8; K]) -> FlowKey6,
    narrow: impl Fn(&FlowKey6) -> [u8; K],
    image: &Image,
    census: &mut Census,
    now: u64,
) -> anyhow::Result<()>
where
    [u8; K]: aya::Pod,
{
    let timeout_of = |key: &FlowKey6, it: &Translation| Census::translation_timeout(image, key, it).unwrap_or(0);
    let silence = |it: &Translation| now.saturating_sub(it.last_seen);
    let mut silent = Vec::new();
    table.for_each(|key, value| {
        let (key, it) = (widen(key), read(value));
        if silence(&it) > timeout_of(&key, &it) {
            silent.push(key);
        } else if it.state != 0 {
            census.add_translation(&key, &it);
        }
    })?;
    for key in silent {
        // Since it was read packets may have made it young, or another flow's.
        let Some(it) = table.get(&narrow(&key))?.map(|value| read(&value)) else { continue };
        let timeout = timeout_of(&key, &it);
        let is_over = |value: &[u8; 48]| silence(&read(value)) > timeout;
        let other_key = turned(&Ends::from(&it), key.protocol);
        let other = table.get(&narrow(&other_key))?.map(|value| read(&value));
        let fate = match silence(&it) > timeout {
            true => Census::silent_translation(&key, &it, timeout, other.as_ref(), now),
            false => TranslationFate::Keep,
        };
        match fate {
            TranslationFate::Keep if it.state != 0 => census.add_translation(&key, &it),
            TranslationFate::Keep => {}
            TranslationFate::Forget => {
                table.take_if(&narrow(&key), is_over)?;
            }
            TranslationFate::ForgetBoth => {
                // The reply's first: whoever finds the other alone is about to make both anew.
                let Taken::Gone(reply) = table.take_if(&narrow(&other_key), is_over)? else { continue };
                if let Taken::Kept(_) = table.take_if(&narrow(&key), is_over)? {
                    table.add(&narrow(&other_key), reply)?;
                }
            }
        }
    }
    Ok(())
}

fn read(value: &[u8; 48]) -> Translation {
    Translation::read_from_bytes(value).expect("a translation is 48 octets")
}
