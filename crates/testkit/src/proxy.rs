//! A proxy before a coordinator that loses replies, or everything, or holds it back.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::RngExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// Of every connection that loses replies: passes them for some time of this, in milliseconds ...
const PASSES_MS: std::ops::Range<u64> = 50..600;
/// ... then none for so long, and then the connection breaks.
const LOSES: Duration = Duration::from_millis(30);
const CHUNK: usize = 64 << 10;

/// What a proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// Passes everything on.
    None,
    /// After a while of every connection, takes requests but passes no reply, then breaks it.
    LoseReplies,
    /// Passes nothing, and tells nobody.
    Blackhole,
    /// Passes nothing and loses nothing: like a cable that is pulled out, under TCP, which sends
    /// again once it is in.
    Hold,
}

/// A proxy on a loopback port before one coordinator. It and its connections end when it is
/// dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    broken: AtomicU64,
    lost: AtomicU64,
}

impl Proxy {
    /// Listens, and passes everything on to `target`, host:port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(target: String) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (faults, receiver) = watch::channel(Faults::None);
        let counts = Arc::<Counts>::default();
        let counted = counts.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let passing = pass(client, target.clone(), receiver.clone(), counted.clone());
                tokio::spawn(passing);
            }
        });
        Ok(Self { address, faults, counts, task })
    }

    /// Where it listens, host:port.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// From now on, for connections that are there too.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// How many connections it has broken.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.counts.broken.load(Ordering::Relaxed)
    }

    /// How many replies it took from the coordinator and passed to nobody.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    client: TcpStream,
    target: String,
    faults: watch::Receiver<Faults>,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let mut ended = faults.clone();
    tokio::select! {
        done = both_ways(client, target, faults, counts) => done,
        // The proxy was dropped.
        _ = async { while ended.changed().await.is_ok() {} } => Ok(()),
    }
}

async fn both_ways(
    client: TcpStream,
    target: String,
    mut faults: watch::Receiver<Faults>,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let_through(&mut faults).await;
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        done = requests(from_client, to_server, faults.clone()) => done,
        done = replies(from_server, to_client, faults, &counts) => done,
    }
}

/// Waits until nothing is held back.
async fn let_through(faults: &mut watch::Receiver<Faults>) -> Faults {
    if let Ok(faults) = faults.wait_for(|faults| *faults != Faults::Hold).await {
        return *faults;
    }
    // The proxy was dropped, which ends this connection.
    std::future::pending().await
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    loop {
        let read = from.read(&mut bytes).await?;
        let now = let_through(&mut faults).await;
        if read == 0 {
            return Ok(());
        }
        if now != Faults::Blackhole {
            to.write_all(&bytes[..read]).await?;
        }
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Faults>,
    counts: &Counts,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    let lose_after = Duration::from_millis(rand::rng().random_range(PASSES_MS));
    let mut lost = std::pin::pin!(sleep(lose_after));
    let mut losing = false;
    let mut frames = Frames::default();
    loop {
        tokio::select! {
            () = &mut lost, if *faults.borrow() == Faults::LoseReplies => {
                if losing {
                    counts.broken.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                losing = true;
                lost.set(sleep(LOSES));
            }
            read = from.read(&mut bytes) => {
                let read = read?;
                let now = let_through(&mut faults).await;
                if read == 0 {
                    return Ok(());
                }
                let replies = frames.ended(&bytes[..read]);
                if losing || now == Faults::Blackhole {
                    counts.lost.fetch_add(replies, Ordering::Relaxed);
                } else {
                    to.write_all(&bytes[..read]).await?;
                }
            }
        }
    }
}

/// Follows the frames of HTTP/2 (RFC 9113, section 4.1) from a server.
#[derive(Default)]
struct Frames {
    /// The header that is being read.
    header: Vec<u8>,
    /// How much is left of the frame after its header.
    left: usize,
}

impl Frames {
    const HEADER_BYTES: usize = 9;
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;

    /// Takes the next bytes. How many answers end in them: each ends in a frame of trailers.
    fn ended(&mut self, mut bytes: &[u8]) -> u64 {
        let mut ended = 0;
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (Self::HEADER_BYTES - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [high, middle, low, kind, flags, ..] = self.header[..]
                && self.header.len() == Self::HEADER_BYTES
            {
                self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
                ended += u64::from(kind == Self::HEADERS && flags & Self::END_STREAM != 0);
                self.header.clear();
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_however_the_bytes_are_cut() {
        // Settings, the headers of an answer, its data (which looks like headers), its trailers,
        // an answer that is trailers alone, and a reset.
        let frame = |kind: u8, flags: u8, payload: &[u8]| {
            let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
        };
        let inner = frame(1, 5, b"x");
        let bytes = [
            frame(4, 0, &[]),
            frame(1, 4, b"headers"),
            frame(0, 0, &inner),
            frame(1, 5, b"trailers"),
            frame(1, 5, &[7; 300]),
            frame(3, 0, &[0; 4]),
        ]
        .concat();
        for size in 1..bytes.len() {
            let mut frames = Frames::default();
            let ended: u64 = bytes.chunks(size).map(|chunk| frames.ended(chunk)).sum();
            assert_eq!((ended, frames.left), (2, 0), "in pieces of {size}");
        }
    }
}
