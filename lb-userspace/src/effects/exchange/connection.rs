//! One connection of the exchange: the greeting, then frames in both directions, by a task for each. The tasks know nothing of what is
//! said; they hand on what can be believed, and say how it ended.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Link;
use crate::exchange::Direction;
use crate::exchange::message::{Answer, Message};
use crate::exchange::seal::{self, LARGEST_FRAME, LARGEST_GREETING, Refusal, Seal, Session, Unseal, Who};

/// Frames that wait to be written. A follower that does not answer is told no more than [`machine::WINDOW`](crate::exchange::machine::WINDOW)
/// messages, and signs of life besides.
const FRAMES: usize = 64;
/// Time for a connection to be made, and for the greetings.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kernel gives a connection up after this long without an answer: as long as the protocol does.
const UNANSWERED: Duration = crate::exchange::machine::DEADLINE;

/// What a connection's tasks have to say. The number is the connection's.
#[derive(Debug)]
pub enum News {
    /// The peer tells.
    Told(u64, Message),
    /// The peer answers.
    Answered(u64, Answer),
    /// It has ended.
    Ended(u64, Failure),
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum Failure {
    /// The network's doing.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no greeting within {} s", PATIENCE.as_secs())]
    Silent,
    /// What the other end said was not believed.
    #[error("not believed: {}", .0.name())]
    Refused(Refusal),
    /// The other end has closed it.
    #[error("the peer has closed it")]
    Closed,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A connection on which both ends have shown that they have the key.
pub struct Greeted {
    /// Who the other end is.
    pub who: Who,
    /// Its address.
    pub address: IpAddr,
    session: Session,
    stream: TcpStream,
}

/// A connection in use. Dropping it closes it.
pub struct Connection {
    /// Tells it from those before.
    pub number: u64,
    /// Who the other end is.
    pub who: Who,
    /// Its address.
    pub address: IpAddr,
    /// Since when, monotonic.
    pub since: Duration,
    seal: Seal,
    frames: mpsc::Sender<Vec<u8>>,
    tasks: [JoinHandle<()>; 2],
}

/// Connects to the peer and greets it.
///
/// # Errors
/// When it is not there, or not believed.
pub async fn open(link: Arc<Link>, who: Who, address: IpAddr) -> Result<Box<Greeted>, Failure> {
    let greeted = async {
        let mut stream = TcpStream::connect(SocketAddr::new(address, link.port)).await?;
        prepare(&stream)?;
        let opening = seal::open(&link.key, &who, random());
        write(&mut stream, &opening).await?;
        let answer = read_greeting(&mut stream).await?;
        let (peer, session) = seal::conclude(&link.key, &who, &opening, &answer)?;
        Ok(Box::new(Greeted { who: peer, address, session, stream }))
    };
    timeout(PATIENCE, greeted).await.map_err(|_| Failure::Silent)?
}

/// Greets who has connected to us.
///
/// # Errors
/// When it is not believed.
pub async fn accept(
    link: Arc<Link>,
    who: Who,
    mut stream: TcpStream,
    address: IpAddr,
) -> Result<Box<Greeted>, Failure> {
    let greeted = async {
        prepare(&stream)?;
        let opening = read_greeting(&mut stream).await?;
        let (peer, answer, session) = seal::answer(&link.key, &who, random(), &opening)?;
        write(&mut stream, &answer).await?;
        Ok(Box::new(Greeted { who: peer, address, session, stream }))
    };
    timeout(PATIENCE, greeted).await.map_err(|_| Failure::Silent)?
}

impl Connection {
    /// Begins to read and write.
    pub fn start(
        greeted: Box<Greeted>,
        number: u64,
        direction: Direction,
        now: Duration,
        news: mpsc::Sender<News>,
    ) -> Self {
        let Greeted { who, address, session: Session { seal, unseal }, stream } = *greeted;
        let (reading, writing) = stream.into_split();
        let (frames, waiting) = mpsc::channel(FRAMES);
        let reader = tokio::spawn(read_all(reading, unseal, number, direction, news.clone()));
        let writer = tokio::spawn(write_all(writing, waiting, number, news));
        Self { number, who, address, since: now, seal, frames, tasks: [reader, writer] }
    }

    /// Says something. `false`: the peer has not taken what was said before, and this is not said; the connection is of no use then.
    pub fn say(&mut self, payload: Vec<u8>) -> bool {
        self.frames.try_send(self.seal.seal(payload)).is_ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn read_all(
    mut stream: OwnedReadHalf,
    mut unseal: Unseal,
    number: u64,
    direction: Direction,
    news: mpsc::Sender<News>,
) {
    loop {
        let heard = match read_one(&mut stream, &mut unseal, number, direction).await {
            Ok(heard) => heard,
            Err(failure) => return drop(news.send(News::Ended(number, failure)).await),
        };
        if news.send(heard).await.is_err() {
            return;
        }
    }
}

async fn read_one(
    stream: &mut OwnedReadHalf,
    unseal: &mut Unseal,
    number: u64,
    direction: Direction,
) -> Result<News, Failure> {
    let frame = read_frame(stream, LARGEST_FRAME).await?;
    let payload = unseal.open(&frame)?;
    Ok(match direction {
        Direction::Telling => News::Answered(number, Answer::decode(payload).map_err(Refusal::from)?),
        Direction::Following => News::Told(number, Message::decode(payload).map_err(Refusal::from)?),
    })
}

async fn write_all(
    mut stream: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Vec<u8>>,
    number: u64,
    news: mpsc::Sender<News>,
) {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = write(&mut stream, &frame).await {
            return drop(news.send(News::Ended(number, error.into())).await);
        }
    }
}

async fn read_greeting(stream: &mut TcpStream) -> Result<Vec<u8>, Failure> {
    read_frame(stream, LARGEST_GREETING).await
}

/// The next frame, of at most so many octets: nobody makes us keep more, believed or not.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin), most: usize) -> Result<Vec<u8>, Failure> {
    let length = stream.read_u32().await.map_err(closed)? as usize;
    if length > most {
        return Err(Refusal::Length.into());
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await.map_err(closed)?;
    Ok(frame)
}

fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::UnexpectedEof { Failure::Closed } else { error.into() }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).expect("a frame has a limit");
    let mut octets = Vec::with_capacity(4 + frame.len());
    octets.extend(length.to_be_bytes());
    octets.extend(frame);
    stream.write_all(&octets).await
}

/// Small messages go out at once, and a peer that is gone is noticed also by the kernel.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNANSWERED))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNANSWERED))
}

fn random() -> [u8; 16] {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).expect("Linux has random numbers");
    octets
}
