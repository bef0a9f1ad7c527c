//! What a node asks to be told again.

use super::*;
use crate::config::parse;
use crate::exchange::message::Body;
use crate::native::NativeTables;
use crate::reconcile::image::Image;
use crate::reconcile::planner::Planner;
use crate::scheduler::seed::Seed;

const NOW: Duration = Duration::from_secs(1000);

/// What the tables mean of so many services of one virtual router.
fn directory(services: usize) -> Arc<Directory> {
    let mut text =
        "[dataplane]\ninterfaces = [\"eth0\"]\n[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\n\
                    addresses = [\"203.0.113.10/32\"]\n"
            .to_owned();
    for service in 0..services {
        text += &format!(
            "[[service]]\nname = \"s{service}\"\nlisten = [\"tcp://203.0.113.10:{}\"]\nvrrp = \"public\"\n\
             lookup_table_size = 16\nbackend = [{{ address = \"10.0.0.1\" }}]\n",
            80 + service
        );
    }
    let config = parse(&text, "host").expect("a valid file").0;
    let (mut planner, image) = (Planner::new(Seed::from_text("test"), 64, 64), Image::new(64, 64));
    planner.configure(NOW, &image, &config).expect("there is room");
    Arc::new(Directory::new(&config, "hash", &planner, &Directory::default()))
}

#[test]
fn a_service_that_is_loaded_after_its_backends_were_told_has_them_told_again() {
    for (of, is_told_again) in [("s0", false), ("s1", true)] {
        let mut party = Party::new(1, Limits { waiting: 10, items: 10 });
        party.tables = Some(Tables::new(NativeTables::new(Image::new(64, 64), 10)));
        party.take_directory(NOW, directory(1));
        party.handle(NOW, Event::Connected(Direction::Following, 7));
        let identity = Arc::from("10.0.0.1 direct");
        let backend = Backend { index: 0, weight: 100, up: true, leaving: false, identity };
        let item = (Key::Backends(of.into(), 0), Some(Value::Backends(vec![backend])));
        let realm: Arc<str> = "public".into();
        let bodies = [
            Body::Begin { realm: realm.clone(), epoch: 1 },
            Body::Items { realm: realm.clone(), epoch: 1, items: vec![item], unknown: 0 },
            Body::End { realm, epoch: 1 },
        ];
        for (number, body) in (1..).zip(bodies) {
            party.handle(NOW, Event::Told(Message { number, now: 0, body }));
        }
        let deeds = party.take_directory(NOW, directory(2));
        let is_closed = deeds.iter().any(|deed| matches!(deed, Deed::Close(Direction::Following, _)));
        assert_eq!(is_closed, is_told_again, "the backends of {of}");
    }
}
