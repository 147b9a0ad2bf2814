//! A primary with replicas: killed, paused, and back.

use std::{sync::Arc, time::Duration};

use engine::SqlConfig;
use testkit::Server;
use tokio::time::{Instant, timeout};

use super::books;
use crate::{
    DatabaseGroup as _, Epoch, Error, Guard, Leader, Name, Outcome, Pace, Replicas, Replication,
    Tended,
};

/// Two in the first city; who acknowledges is in the others.
const MEMBERS: [(&str, &str); 4] = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")];

/// Of anything that is waited for here: replicas that catch up share a busy
/// machine with the other tests.
const LIMIT: Duration = Duration::from_secs(300);

struct World {
    servers: testkit::Replicas,
    group: Arc<Replicas>,
}

// === impl World ===

impl World {
    /// A founded group, led by a1, with a user `polis` and its database.
    async fn start() -> World {
        let servers = testkit::Replicas::start(MEMBERS.len());
        let world = World { group: Arc::new(guardian(&servers)), servers };
        let leader = world.group.found(&name("a1")).await.expect("founded");
        assert_eq!(leader, Leader { name: name("a1"), epoch: Epoch(1) });
        world.servers.make_user(0, "polis", "books").expect("it may be made");
        world
    }

    fn server(&self, name: &Name) -> &Server {
        &self.servers[MEMBERS.iter().position(|(known, _)| *known == name.as_str()).expect("ours")]
    }

    fn url(&self) -> String {
        let at: Vec<_> = self.servers.iter().map(|s| format!("127.0.0.1:{}", s.port())).collect();
        format!("mysql://polis@{}/books", at.join(","))
    }

    /// Waits until a leader of this epoch or a later one is seen.
    async fn led(&self, epoch: u64) -> Leader {
        let led = async {
            loop {
                match self.group.survey().await.leader {
                    Some(leader) if leader.epoch >= Epoch(epoch) => return leader,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        timeout(LIMIT, led).await.expect("somebody leads")
    }

    /// Promotes somebody, or says why not. Sessions of an attempt before this one
    /// may take a moment to end, and hold their locks until then.
    async fn fail_over(&self, seen: Epoch) -> Result<Outcome, Error> {
        let promoted = async {
            loop {
                match self.group.fail_over(seen, None).await {
                    Err(error) if is_passing(&error) => tokio::task::yield_now().await,
                    done => return done,
                }
            }
        };
        timeout(LIMIT, promoted).await.expect("sessions end, and members answer")
    }

    /// Tends once, by the same patience.
    async fn tend(&self, leader: &Leader) -> Vec<Tended> {
        let tended = async {
            loop {
                match self.group.tend(leader).await {
                    Err(error) if is_passing(&error) => tokio::task::yield_now().await,
                    done => return done.expect("the leader is there"),
                }
            }
        };
        timeout(LIMIT, tended).await.expect("sessions end, and the leader answers")
    }

    /// Tends until a member acknowledges, or is found to have too much.
    async fn tended(&self, leader: &Leader, member: &Name) -> Vec<Tended> {
        let mut all = Vec::new();
        let tended = async {
            loop {
                let done = self.tend(leader).await;
                let is_done = done.iter().any(|one| match one {
                    Tended::Acknowledges(name) | Tended::Errant { member: name, .. } => {
                        name == member
                    }
                    _ => false,
                });
                all.extend(done);
                if is_done {
                    return;
                }
            }
        };
        timeout(LIMIT, tended).await.expect("it is taken back or refused");
        all
    }

    fn present(&self, at: &Name) -> Vec<String> {
        let names = "SELECT name FROM books.polis_ledger_payment";
        let rows = self.server(at).query(names).expect("it may be asked");
        rows.into_iter().map(|mut row| row.remove(0)).collect()
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn guardian(servers: &[testkit::MariaDb]) -> Replicas {
    let members = servers.iter().zip(MEMBERS).map(|(server, (name, city))| {
        format!("{name}={city}=127.0.0.1:{}", server.port()).parse().expect("a member")
    });
    let login = SqlConfig::parse("mysql://root@127.0.0.1:1/mysql").expect("a good URL");
    let replication =
        Replication { user: "replica".to_owned(), password: "it's".to_owned(), secure: false };
    Replicas::new(members.collect(), login, replication)
}

/// Another attempt is not over, or somebody did not answer in time.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Busy { .. } | Error::Member { .. })
}

fn is_read_only(server: &Server) -> bool {
    server.query("SELECT @@global.read_only").expect("it may be asked")[0][0] == "1"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_followed_by_a_replica_with_every_acknowledged_payment() {
    let world = World::start().await;
    let books = books::ready(&world.url()).await;
    let (trigger, drain) = rt::drain::channel();
    let guard = Guard::new(world.group.clone(), Pace::default(), None);
    let guarding = tokio::spawn(guard.run(drain));
    let mut paying = books::pay_on(&books);
    let mut acknowledged = books::take(&mut paying, 300).await;

    world.servers[0].kill9();
    let killed = Instant::now();
    // Some were acknowledged before and had not been taken yet.
    let leader = world.led(2).await;
    println!("led by {} after {:?}", leader.name, killed.elapsed());
    acknowledged.extend(books::take(&mut paying, 1500).await);
    println!("1,500 payments more after {:?}", killed.elapsed());
    drop(paying);
    assert!(["b1", "c1"].contains(&leader.name.as_str()), "{leader:?}");
    trigger.drain(Duration::from_secs(60)).await;
    guarding.await.expect("no panic");
    // Who leads by now: one that was slow to answer has been followed, too.
    let leader = world.led(leader.epoch.0).await;
    let present = world.present(&leader.name);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !present.contains(id)).collect();
    assert!(lost.is_empty(), "of {} lost: {lost:?}", acknowledged.len());
    books::audit(&books).await;

    // It is back: whatever it has, it takes no writes.
    world.servers[0].restart();
    assert!(is_read_only(&world.servers[0]));
    let tended = world.tended(&leader, &name("a1")).await;
    println!("the old primary: {tended:?}");
    assert!(is_read_only(&world.servers[0]));
    let refused = testkit::query(
        &format!("mysql://polis@127.0.0.1:{}/books", world.servers[0].port()),
        "UPDATE polis_ledger_fence SET uses = uses + 1",
    );
    assert_eq!(refused.expect_err("it is read-only").code, Some(1290));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_guardians_that_promote_at_once_one_wins() {
    let world = World::start().await;
    let other = guardian(&world.servers);
    for round in 1..=4 {
        let seen = Epoch(round);
        let contest = async {
            loop {
                let (one, two) =
                    tokio::join!(world.group.fail_over(seen, None), other.fail_over(seen, None));
                match (one, two) {
                    (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => return (won, lost),
                    // By the sessions of the round before, or a slow member.
                    (Err(one), Err(two)) if is_passing(&one) && is_passing(&two) => {}
                    both => panic!("one wins, and not {both:?}"),
                }
            }
        };
        let (won, lost) = timeout(LIMIT, contest).await.expect("somebody wins");
        assert!(is_passing(&lost) || matches!(lost, Error::Moved { .. }), "{lost}");
        assert_eq!(won.leader.epoch, seen.next());
        let writable: Vec<_> = world.servers.iter().map(|s| !is_read_only(s)).collect();
        assert_eq!(writable.iter().filter(|writable| **writable).count(), 1, "{writable:?}");
        assert_eq!(world.led(won.leader.epoch.0).await, won.leader);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_only_silent_acknowledges_nothing_when_it_wakes() {
    let world = World::start().await;
    let before = books::ready(&world.url()).await;
    let old = format!("mysql://polis@127.0.0.1:{}/books", world.servers[0].port());
    let stale = books::over(&old).await;
    stale.fence(books::user(0).bucket(), books::soon()).await.expect("seen");
    world.servers[0].pause();
    let won = world.fail_over(Epoch(1)).await.expect("a replica leads");
    world.servers[0].resume();
    // It believes that it leads, and so does who pays there.
    assert!(!is_read_only(&world.servers[0]));
    let soon = Instant::now() + Duration::from_secs(4);
    let paid = stale.execute(books::order(&books::user(0), "k1"), None, soon).await;
    // On a slow machine the time is up before anything is sent.
    let unpaid = matches!(paid, Err(ledger::Error::OutcomeUnknown | ledger::Error::Deadline));
    assert!(unpaid, "{paid:?}");
    let stands = |one: &Tended| match one {
        Tended::Stuck { member, .. } | Tended::Errant { member, .. } => *member == name("a1"),
        _ => false,
    };
    // It has just woken: the first looks may find it silent still.
    let awake = async { while !world.tend(&won.leader).await.iter().any(stands) {} };
    timeout(LIMIT, awake).await.expect("it is seen to stand where it may not");
    // Whoever knows of the new leader finds it, and the same payment is made there.
    before.execute(books::order(&books::user(0), "k1"), None, books::soon()).await.expect("paid");
    world.servers[0].restart();
    let tended = world.tended(&won.leader, &name("a1")).await;
    println!("started again: {tended:?}");
    books::audit(&before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_promoted_while_one_that_may_have_acknowledged_is_missing() {
    let world = World::start().await;
    world.servers[2].kill9();
    let run = "CREATE TABLE books.t (a INT PRIMARY KEY)";
    world.servers[0].query(run).expect("the other one acknowledges");
    world.servers[0].kill9();
    let refused = world.fail_over(Epoch(1)).await;
    let Err(Error::Missing { members }) = refused else { panic!("{refused:?}") };
    assert_eq!(members, [name("b1")]);
    // Its files are there, but what it had only received is not: it must see the
    // old leader first, or a person decide.
    world.servers[2].restart();
    let refused = world.fail_over(Epoch(1)).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guardian_that_is_cut_off_at_any_step_leaves_a_group_that_the_next_one_leads() {
    let world = World::start().await;
    let mut seen = Epoch(1);
    // From before the first step until after the last one of most runs.
    for cut in (0..16).map(|n| Duration::from_millis(40 * n)) {
        let _ = timeout(cut, world.group.fail_over(seen, None)).await;
        let again = async {
            loop {
                let survey = world.group.survey().await;
                match (survey.leader, survey.epoch) {
                    (Some(leader), _) if leader.epoch > seen => return leader,
                    (_, Some(epoch)) => {
                        // Its sessions may take a moment to end.
                        let done = world.group.fail_over(epoch, None).await;
                        let is_another = matches!(
                            done,
                            Ok(_)
                                | Err(Error::Busy { .. }
                                    | Error::Moved { .. }
                                    | Error::Member { .. })
                        );
                        assert!(is_another, "cut after {cut:?}: {done:?}");
                    }
                    (_, None) => panic!("somebody knows of the group"),
                }
            }
        };
        let leader = timeout(LIMIT, again).await.expect("it is led again");
        let writable = world.servers.iter().filter(|server| !is_read_only(server)).count();
        assert_eq!(writable, 1, "cut after {cut:?}");
        // All that acknowledged before do so again, or nobody could be next.
        let is_tended = async {
            while !world.group.tend(&leader).await.is_ok_and(|tended| tended.is_empty()) {}
        };
        timeout(LIMIT, is_tended).await.expect("members follow");
        seen = leader.epoch;
    }
}
