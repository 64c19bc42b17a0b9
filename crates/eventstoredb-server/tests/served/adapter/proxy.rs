//! A network between client and server that does what networks do, when it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    network: Arc<Network>,
}

struct Network {
    server: SocketAddr,
    /// What the server says gets lost.
    deaf: AtomicBool,
    /// Each stretch of bytes takes so long.
    delay_ms: AtomicU64,
    /// Bytes that a connection carries to the server before it breaks.
    carries: AtomicU64,
    /// Connections begun; those up to the number in `silent` carry nothing any more, and nobody is told.
    begun: AtomicU64,
    silent: AtomicU64,
    /// Counts how often all connections were cut.
    cuts: watch::Sender<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Up,
    Down,
}

impl Proxy {
    pub(super) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(Network {
            server,
            deaf: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            carries: AtomicU64::new(u64::MAX),
            begun: AtomicU64::new(0),
            silent: AtomicU64::new(0),
            cuts: watch::Sender::new(0),
        });
        let carrying = Arc::clone(&network);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&carrying).connect(client));
            }
        });
        Self { address, network }
    }

    pub(super) fn string(&self) -> String {
        format!("esdb://{}?tls=false", self.address)
    }

    /// Whether what the server says gets lost.
    pub(super) fn lose_answers(&self, lost: bool) {
        self.network.deaf.store(lost, SeqCst);
    }

    pub(super) fn slow_down(&self, by: Duration) {
        self.network.delay_ms.store(by.as_millis().try_into().unwrap(), SeqCst);
    }

    /// Connections break when they have carried so many bytes to the server.
    pub(super) fn break_after(&self, bytes: u64) {
        self.network.carries.store(bytes, SeqCst);
    }

    /// Connections there are carry nothing any more, and stay open. New ones are sound.
    pub(super) fn fall_silent(&self) {
        self.network.silent.store(self.network.begun.load(SeqCst), SeqCst);
    }

    pub(super) fn cut(&self) {
        self.network.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(super) fn connections(&self) -> u64 {
        self.network.begun.load(SeqCst)
    }
}

impl Network {
    async fn connect(self: Arc<Self>, mut client: TcpStream) {
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        let mut cuts = self.cuts.subscribe();
        let Ok(mut server) = TcpStream::connect(self.server).await else { return };
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = self.carry(number, Direction::Up, from_client, to_server) => {}
            () = self.carry(number, Direction::Down, from_server, to_client) => {}
            _ = cuts.changed() => {}
        }
    }

    async fn carry(
        &self,
        number: u64,
        direction: Direction,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) {
        let mut carried = 0;
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let lost = direction == Direction::Down && self.deaf.load(SeqCst);
            if lost || number <= self.silent.load(SeqCst) {
                continue;
            }
            let delay = Duration::from_millis(self.delay_ms.load(SeqCst));
            if !delay.is_zero() {
                sleep(delay).await;
            }
            let left = match direction {
                Direction::Up => self.carries.load(SeqCst).saturating_sub(carried),
                Direction::Down => u64::MAX,
            };
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(read);
            if to.write_all(&buffer[..part]).await.is_err() || part < read {
                return;
            }
            carried += part as u64;
        }
    }
}
