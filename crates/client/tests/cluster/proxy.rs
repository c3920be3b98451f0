//! A proxy before a coordinator that loses replies, or everything.

use std::{
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
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// What a proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Passes everything on.
    None,
    /// After a while of every connection, takes requests but passes no reply, then breaks it.
    LoseReplies,
    /// Passes nothing, and tells nobody.
    Blackhole,
}

/// See the module. Stops when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    broken: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, receiver) = watch::channel(Faults::None);
        let broken = Arc::new(AtomicU64::new(0));
        let counted = broken.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let passing = pass(client, target.clone(), receiver.clone(), counted.clone());
                tokio::spawn(passing);
            }
        });
        Self { address, faults, broken, task }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// How many connections it has broken.
    pub(crate) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
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
    broken: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from_client.read(&mut bytes).await?;
            if read == 0 {
                return Ok(());
            }
            if *faults.borrow() != Faults::Blackhole {
                to_server.write_all(&bytes[..read]).await?;
            }
        }
    };
    let replies = async {
        let mut bytes = vec![0; 64 << 10];
        let lose_after = Duration::from_millis(rand::rng().random_range(50..600));
        let lost = sleep(lose_after);
        tokio::pin!(lost);
        let mut losing = false;
        loop {
            tokio::select! {
                () = &mut lost, if *faults.borrow() == Faults::LoseReplies => {
                    if losing {
                        broken.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                    losing = true;
                    lost.set(sleep(Duration::from_millis(30)));
                }
                read = from_server.read(&mut bytes) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    if !losing && *faults.borrow() != Faults::Blackhole {
                        to_client.write_all(&bytes[..read]).await?;
                    }
                }
            }
        }
    };
    tokio::select! {
        ended = requests => ended,
        ended = replies => ended,
    }
}
