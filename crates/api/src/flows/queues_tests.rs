//! The queues of a level under load, in virtual time.

use std::collections::BTreeMap;

use super::*;

const SHAPE: Shape = Shape { queues: 64, hand: 6, length_max: 50 };

/// A level whose callers each keep a number of requests going, which all take
/// the same time. Counts what each got.
struct World {
    queues: Queues<Waiter>,
    now_ms: u64,
    /// Who is served, and when it ends.
    served: Vec<(u64, Waiter, u64)>,
    got: BTreeMap<&'static str, usize>,
    refused: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    name: &'static str,
    grant: Grant,
    took_ms: u64,
}

/// Who asks: with how many at once, how wide, and how long each takes.
struct Client {
    name: &'static str,
    hash: u64,
    at_once: usize,
    width: usize,
    took_ms: u64,
}

impl World {
    fn new(shape: Shape, limit: usize) -> World {
        World {
            queues: Queues::new(shape, limit),
            now_ms: 0,
            served: Vec::new(),
            got: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    fn ask(&mut self, client: &Client) {
        let Client { name, hash, width, took_ms, .. } = *client;
        // Which queue it is put into is told after it was put there.
        let placeholder = Grant { queue: None, width };
        let (offer, woken) =
            self.queues.offer(hash, width, || Waiter { name, grant: placeholder, took_ms });
        match offer {
            Offer::Seated(grant) => self.serve(Waiter { name, grant, took_ms }),
            Offer::Waits(grant, id) => {
                let queue = &mut self.queues.queues[grant.queue.expect("it waits in one")];
                if let Some(waiting) = queue.waiting.iter_mut().find(|waiting| waiting.id == id) {
                    waiting.waiter.grant = grant;
                }
            }
            Offer::Refused(_) => *self.refused.entry(name).or_default() += 1,
        }
        self.wake(woken);
    }

    fn serve(&mut self, waiter: Waiter) {
        *self.got.entry(waiter.name).or_default() += 1;
        self.served.push((self.now_ms + waiter.took_ms, waiter, self.now_ms));
    }

    fn wake(&mut self, woken: Vec<Waiter>) {
        for waiter in woken {
            self.serve(waiter);
        }
    }

    /// Everyone asks again as soon as they are served.
    fn run(&mut self, clients: &[Client], until_ms: u64) {
        for client in clients {
            (0..client.at_once).for_each(|_| self.ask(client));
        }
        while self.now_ms < until_ms {
            let next = self.served.iter().enumerate().min_by_key(|(_, (end, ..))| *end);
            let Some((at, _)) = next else { return };
            let (end, waiter, since) = self.served.swap_remove(at);
            self.now_ms = end;
            let woken = self.queues.finish(waiter.grant, Duration::from_millis(end - since));
            self.wake(woken);
            let client = clients.iter().find(|client| client.name == waiter.name);
            self.ask(client.expect("it asked"));
        }
    }

    fn got(&self, name: &str) -> usize {
        self.got.get(name).copied().unwrap_or_default()
    }
}

fn client(name: &'static str, hash: u64, at_once: usize, took_ms: u64) -> Client {
    Client { name, hash, at_once, width: 1, took_ms }
}

#[test]
fn an_elephant_does_not_keep_a_mouse_waiting() {
    let mut world = World::new(SHAPE, 10);
    let elephant = client("elephant", 1, 300, 100);
    let mouse = client("mouse", 987_654_321_987, 1, 100);
    world.run(&[elephant, mouse], 100_000);
    // Served after whoever is served now, every time: it waits for the next
    // seat, and ten seats come free all 100 ms.
    assert!(world.got("mouse") >= 450, "{:?}", world.got);
    assert!(!world.refused.contains_key("mouse"));
    assert!(world.got("elephant") > 9_000, "{:?}", world.got);
}

#[test]
fn callers_that_ask_too_much_get_the_same_whatever_they_ask() {
    let mut world = World::new(Shape { queues: 512, hand: 1, length_max: 500 }, 12);
    let wide = Client { width: 3, ..client("wide", 3, 30, 100) };
    world.run(&[client("many", 1, 400, 50), client("few", 2, 40, 50), wide], 200_000);
    let seat_ms = |name: &str, each: usize| world.got(name) * each;
    let all = [seat_ms("many", 50), seat_ms("few", 50), seat_ms("wide", 300)];
    let (least, most) = (all.iter().min().expect("three"), all.iter().max().expect("three"));
    assert!(most * 10 < least * 11, "{all:?}");
}

#[test]
fn slow_requests_are_paid_for_when_they_end() {
    let mut world = World::new(Shape { queues: 512, hand: 1, length_max: 500 }, 8);
    world.run(&[client("slow", 1, 40, 1000), client("quick", 2, 40, 10)], 200_000);
    let (slow, quick) = (world.got("slow") * 1000, world.got("quick") * 10);
    assert!(quick * 10 > slow * 8, "{slow} {quick}");
}

#[test]
fn nobody_saves_up_by_being_quiet() {
    let mut world = World::new(Shape { queues: 512, hand: 1, length_max: 500 }, 4);
    world.run(&[client("first", 1, 40, 10)], 50_000);
    let before = world.got("first");
    // The one that comes late gets its half, no more.
    world.run(&[client("first", 1, 0, 10), client("late", 2, 40, 10)], 100_000);
    let first = world.got("first") - before;
    let late = world.got("late");
    assert!(late * 10 < first * 12 && first * 10 < late * 12, "{first} {late}");
}

#[test]
fn one_that_wants_many_seats_is_not_passed_by_forever() {
    let mut world = World::new(Shape { queues: 64, hand: 1, length_max: 50 }, 4);
    let wide = Client { width: 4, ..client("wide", 3, 1, 10) };
    let huge = Client { width: 9, ..client("huge", 5, 1, 10) };
    world.run(&[client("narrow", 1, 20, 10), wide, huge], 10_000);
    assert!(world.got("wide") > 50 && world.got("huge") > 20, "{:?}", world.got);
}

#[test]
fn a_level_without_queues_refuses_and_a_full_queue_too() {
    let mut reject: Queues<()> = Queues::new(Shape::NONE, 1);
    let (Offer::Seated(grant), _) = reject.offer(1, 1, || ()) else { panic!("there is room") };
    assert_eq!(reject.offer(1, 1, || ()).0, Offer::Refused(Refusal::NoSeat));
    assert!(reject.finish(grant, Duration::ZERO).is_empty());
    assert!(matches!(reject.offer(1, 1, || ()).0, Offer::Seated(_)));

    let mut full: Queues<()> = Queues::new(Shape { queues: 1, hand: 1, length_max: 2 }, 1);
    let offers: Vec<Offer> = (0..4).map(|_| full.offer(1, 1, || ()).0).collect();
    assert!(matches!(
        offers[..],
        [Offer::Seated(_), Offer::Waits(..), Offer::Waits(..), Offer::Refused(Refusal::QueueFull)]
    ));
}

#[test]
fn who_leaves_gives_its_place_and_what_was_left_is_counted() {
    let mut queues: Queues<&str> = Queues::new(Shape { queues: 4, hand: 1, length_max: 9 }, 2);
    let (Offer::Seated(first), _) = queues.offer(1, 1, || "first") else { panic!("room") };
    let (Offer::Waits(wide, id), _) = queues.offer(2, 2, || "wide") else { panic!("no room") };
    let (Offer::Waits(..), woken) = queues.offer(1, 1, || "narrow") else { panic!("no room") };
    assert!(woken.is_empty(), "its turn is after the wide one's");
    assert_eq!(queues.leave(wide, id), Some(vec!["narrow"]));
    assert_eq!(queues.leave(wide, id), None);
    assert!(queues.finish(first, Duration::ZERO).is_empty());
    assert!(queues.finish(first, Duration::ZERO).is_empty());
    assert_eq!(queues.count(), Count { limit: 2, ..Count::default() });
}

#[test]
fn a_smaller_level_lets_its_last_queues_drain() {
    let mut queues: Queues<u8> = Queues::new(Shape { queues: 8, hand: 8, length_max: 9 }, 1);
    let mut grants = Vec::new();
    for n in 0..9 {
        match queues.offer(5, 1, || n).0 {
            Offer::Seated(grant) | Offer::Waits(grant, _) => grants.push(grant),
            Offer::Refused(refusal) => panic!("{refusal:?}"),
        }
    }
    queues.reshape(Shape { queues: 1, hand: 1, length_max: 9 });
    let mut woken = queues.set_limit(9);
    woken.sort_unstable();
    assert_eq!(woken, [1, 2, 3, 4, 5, 6, 7, 8]);
    for grant in grants {
        queues.finish(grant, Duration::ZERO);
    }
    assert_eq!(queues.queues.len(), 1);
    assert_eq!(queues.count(), Count { limit: 9, ..Count::default() });
}
