//! The load: closed loop (each connection asks again once answered) or open loop (a call is due every so often, whether
//! or not earlier ones were answered, and its time counts from when it was due).

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::line::Line;
use super::world::World;
use super::{EachWay, Failure, TURNS};

/// Which way a call goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Direct,
    Proxy,
    Nginx,
}

/// How calls follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    Closed(usize),
    Open { rate: u32, connections: usize },
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Measured {
    /// Microseconds of each good answer; sorted at the end.
    micros: Vec<u32>,
    /// Statuses of the others.
    pub(crate) others: Vec<u16>,
    took: Duration,
}

impl Measured {
    pub(crate) fn count(&self) -> usize {
        self.micros.len()
    }

    pub(crate) fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds that this share of the calls needed at most.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let at = (self.micros.len() as f64 * share) as usize;
        self.micros
            .get(at.min(self.micros.len().saturating_sub(1)))
            .map_or(0.0, |micros| f64::from(*micros) / 1e3)
    }

    pub(crate) fn sort(&mut self) {
        self.micros.sort_unstable();
    }

    fn note(&mut self, since: Instant, status: u16) {
        if status == 200 {
            self.micros.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
        } else {
            self.others.push(status);
        }
    }
}

/// Loads each way in turns of this length.
pub(crate) fn take_turns(world: &World, pace: Pace, turn: Duration) -> Result<EachWay, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut each: EachWay = world.ways().into_iter().map(|way| (way, Measured::default())).collect();
    for _ in 0..TURNS {
        for (way, measured) in &mut each {
            one_way(&runtime, world, *way, pace, turn, measured)?;
        }
    }
    each.iter_mut().for_each(|(_, measured)| measured.sort());
    Ok(each)
}

/// Loads one way for this long.
pub(crate) fn one_way(
    runtime: &tokio::runtime::Runtime,
    world: &World,
    way: Way,
    pace: Pace,
    turn: Duration,
    measured: &mut Measured,
) -> Result<(), Failure> {
    one_way_beside(runtime, world, way, pace, turn, measured, async { Ok(()) })
}

/// The same while something else goes on.
pub(crate) fn one_way_beside(
    runtime: &tokio::runtime::Runtime,
    world: &World,
    way: Way,
    pace: Pace,
    turn: Duration,
    measured: &mut Measured,
    beside: impl Future<Output = io::Result<()>>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let sent = Cell::new(measured.micros.len() as u64);
    let loading = async {
        run(world, way, pace, turn, &sent, measured).await?;
        io::Result::Ok(started.elapsed())
    };
    let (took, ()) = runtime.block_on(async { tokio::try_join!(loading, beside) })?;
    measured.took += took;
    Ok(())
}

async fn run(
    world: &World,
    way: Way,
    pace: Pace,
    turn: Duration,
    sent: &Cell<u64>,
    measured: &mut Measured,
) -> io::Result<()> {
    let until = Instant::now() + turn;
    let all = RefCell::new(measured);
    let next = || sent.replace(sent.get() + 1);
    match pace {
        Pace::Closed(connections) => {
            let closed = || async {
                let mut line = world.connect(way).await?;
                while Instant::now() < until {
                    let request = world.request(way, next());
                    let asked = Instant::now();
                    let status = ask(world, way, &mut line, &request).await?;
                    all.borrow_mut().note(asked, status);
                }
                io::Result::Ok(())
            };
            join_all((0..connections).map(|_| closed())).await.into_iter().collect()
        }
        Pace::Open { rate, connections } => {
            let lines = join_all((0..connections).map(|_| world.connect(way))).await;
            let idle = tokio::sync::Mutex::new(lines.into_iter().collect::<io::Result<Vec<Line>>>()?);
            let room = tokio::sync::Semaphore::new(connections);
            let begin = Instant::now();
            let due = |at: u32| begin + Duration::from_secs(1) * at / rate;
            let one = |at: u32| {
                let (idle, room, all) = (&idle, &room, &all);
                async move {
                    tokio::time::sleep_until(due(at).into()).await;
                    let _slot = room.acquire().await.map_err(io::Error::other)?;
                    let mut line =
                        idle.lock().await.pop().ok_or_else(|| io::Error::other("no idle connection"))?;
                    let request = world.request(way, next());
                    let status = ask(world, way, &mut line, &request).await?;
                    all.borrow_mut().note(due(at), status);
                    idle.lock().await.push(line);
                    io::Result::Ok(())
                }
            };
            let calls = u32::try_from(turn.as_millis() * u128::from(rate) / 1_000).unwrap_or(u32::MAX);
            join_all((0..calls).map(one)).await.into_iter().collect()
        }
    }
}

async fn ask(world: &World, way: Way, line: &mut Line, request: &str) -> io::Result<u16> {
    let answer = line.ask(request.as_bytes()).await?;
    if answer.closes {
        *line = world.connect(way).await?;
    }
    Ok(answer.status)
}
