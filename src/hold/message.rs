//! One held message: pushed whole, then filled into the backend as often as needed. Its octets are in the file first,
//! then in `pieces`, then in `open`. It must not lose or double an octet when a caller drops a flush or a fill halfway:
//! the work under way stays in `job` for the next call.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::task::spawn_blocking;

use crate::hold::HoldFault;
use crate::hold::Settings;
use crate::hold::chunks::Chunk;
use crate::hold::chunks::Chunks;
use crate::hold::file;
use crate::hold::file::AT_ONCE;
use crate::hold::file::Done;
use crate::hold::file::Sent;
use crate::hold::file::Stop;
use crate::hold::file::What;
use crate::hold::shares::Account;

/// A message on hold. Dropping it frees its memory, its file and its part of `total`.
pub struct Hold {
    account: Account,
    chunks: Chunks,
    settings: Arc<Settings>,
    /// The file; `None` while a job has it, and after a job failed, which loses the message.
    file: Option<File>,
    /// Octets given to the file: the start of the message.
    filed: u64,
    pieces: Vec<Bytes>,
    open: Option<Chunk>,
    job: Option<JoinHandle<io::Result<Done>>>,
    reading: Reading,
    /// Whether the job was begun before a rewind, so that its result is not wanted.
    is_stale: bool,
    /// Whether lines are kept with LF for CRLF.
    is_stored: bool,
}

/// The result of `fill`.
#[derive(Debug)]
pub enum Filled {
    /// The whole message was handed out or sent.
    End,
    /// The socket's connection is lost.
    Lost,
    /// A piece of the message, to be written next.
    Piece(Bytes),
    /// The socket has taken octets.
    Sent {
        /// Whether the socket's buffer is full: wait until it is writable before the next `fill`.
        full: bool,
    },
}

/// The position of `fill` in the message.
#[derive(Default)]
struct Reading {
    /// Octets of the file that went to `ready`.
    file: u64,
    /// Pieces read from the file, to be handed out next.
    ready: VecDeque<Bytes>,
    /// Whether the file is sent to `socket` directly.
    sends: bool,
    /// The socket to send to; `None` while a job has it.
    socket: Option<OwnedFd>,
    /// The result of the last send, not yet given to the caller.
    stop: Option<Stop>,
    /// Index of the next of `pieces`.
    piece: usize,
    /// Octets of `pieces` handed out.
    in_memory: u64,
    /// Octets at the end of the message that are not handed out.
    left_out: u64,
}

impl Hold {
    pub(super) fn new(account: Account, chunks: Chunks, settings: Arc<Settings>) -> Self {
        let reading = Reading::default();
        let (pieces, is_stale, is_stored) = (Vec::new(), false, false);
        Self {
            account,
            chunks,
            settings,
            file: None,
            filed: 0,
            pieces,
            open: None,
            job: None,
            reading,
            is_stale,
            is_stored,
        }
    }

    /// Keeps lines with LF line ends, as files have them. Pushed is canonical text, in which CR stands before LF only.
    pub fn stored(self) -> Self {
        Self { is_stored: true, ..self }
    }

    /// Appends octets to the message, in memory; call `flush` when `needs_flush` says so. A fill after this starts
    /// over.
    ///
    /// # Errors
    ///
    /// `NoRoom` when `total`, or the owner's share of it, is used up: none of `octets` were taken.
    pub fn push(&mut self, octets: &[u8]) -> Result<(), HoldFault> {
        let left_out = if self.is_stored { memchr::memchr_iter(b'\r', octets).count() } else { 0 };
        self.account.reserve((octets.len() - left_out) as u64)?;
        self.rewind();
        let mut from = 0;
        if left_out > 0 {
            for end in memchr::memchr_iter(b'\r', octets) {
                self.append(&octets[from..end]);
                from = end + 1;
            }
        }
        self.append(&octets[from..]);
        Ok(())
    }

    fn append(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let chunk = match &mut self.open {
                Some(chunk) => chunk,
                None if self.filed == 0 && self.pieces.is_empty() => self.open.insert(self.chunks.take_small()),
                None => self.open.insert(self.chunks.take()),
            };
            let taken = chunk.append(octets);
            octets = &octets[taken..];
            if !octets.is_empty() {
                self.close_chunk();
            }
        }
    }

    /// Octets of the message so far.
    pub fn len(&self) -> u64 {
        self.account.octets()
    }

    /// Whether nothing was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Marks the message as complete: it is not asked to make room any more.
    pub fn complete(&mut self) {
        self.account.complete();
    }

    /// Ready when the message has to be given up to make room, because it comes in too slowly. Cancel-safe.
    pub fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.account.poll_leave(cx)
    }

    /// Whether `flush` has work to do. Until it has returned, read nothing more from the client, or memory is not
    /// bounded.
    pub fn needs_flush(&self) -> bool {
        self.job.is_some() || self.is_due()
    }

    /// Writes the octets that are due to the file; ready when they are written. The end of a message may stay in
    /// memory. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `NoRoom` when the disk is full, `Io` when it fails; the message is lost then.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HoldFault>> {
        ready!(self.poll_finish(cx))?;
        if self.is_due() {
            self.start_writing()?;
            ready!(self.poll_finish(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Starts the next `fill` at the beginning of the message again.
    pub fn rewind(&mut self) {
        self.reading = Reading::default();
        self.is_stale = self.job.is_some();
    }

    /// The whole message as a file, to be read from its start by another program: the hold's own, or one in memory. The
    /// message is in there only from now on; its room is kept until the hold is dropped. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `NoRoom` when the disk is full, `Io` when it fails; the message is lost then.
    pub fn poll_file(&mut self, cx: &mut Context<'_>) -> Poll<Result<File, HoldFault>> {
        ready!(self.poll_finish(cx))?;
        self.close_chunk();
        if self.filed == 0 {
            let pieces = std::mem::take(&mut self.pieces);
            return Poll::Ready(file::in_memory(&pieces).map_err(HoldFault::from));
        }
        if !self.pieces.is_empty() {
            self.start_writing()?;
            ready!(self.poll_finish(cx))?;
        }
        Poll::Ready(self.take_file().and_then(|file| Ok(file::from_start(file)?)))
    }

    /// Leaves out so many octets at the end of the message, up to the next rewind.
    pub fn leave_out(&mut self, octets: u64) {
        self.reading.left_out = octets;
    }

    /// Whether a part of the message is in a file, and can be sent from there to a socket.
    pub fn has_file(&self) -> bool {
        self.filed > 0
    }

    /// Starts over, and sends the part in the file to `socket`, which must be non-blocking.
    pub fn rewind_to(&mut self, socket: OwnedFd) {
        self.rewind();
        (self.reading.sends, self.reading.socket) = (true, Some(socket));
    }

    /// Whether the next `fill` writes to the socket itself, so that all earlier output has to be flushed.
    pub fn sends(&self) -> bool {
        self.reading.sends && self.reading.file < self.file_end()
    }

    /// The next piece of the message, or a part of the file sent. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `Io` when the file cannot be read; `NoRoom` or `Io` when a flush failed whose result was not awaited.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Filled, HoldFault>> {
        while self.reading.ready.is_empty() {
            ready!(self.poll_finish(cx))?;
            match self.reading.stop.take() {
                Some(Stop::Done) => return Poll::Ready(Ok(Filled::Sent { full: false })),
                Some(Stop::Full) => return Poll::Ready(Ok(Filled::Sent { full: true })),
                Some(Stop::Lost) => return Poll::Ready(Ok(Filled::Lost)),
                Some(Stop::Unable) => self.reading.sends = false,
                None => {}
            }
            if !self.reading.ready.is_empty() {
                break;
            }
            if self.reading.file == self.file_end() {
                return Poll::Ready(Ok(self.next_in_memory()));
            }
            self.start_reading()?;
        }
        let piece = self.reading.ready.pop_front();
        if self.job.is_none() && self.reading.ready.is_empty() && self.reading.file < self.file_end() {
            // The disk works while this piece is on its way to the backend.
            self.start_reading()?;
        }
        Poll::Ready(Ok(piece.map_or(Filled::End, Filled::Piece)))
    }

    /// Whether a flush is due. Not while the message is read: octets handed out already would come from the file again.
    fn is_due(&self) -> bool {
        let Reading { file, piece, ready, .. } = &self.reading;
        if *file > 0 || *piece > 0 || !ready.is_empty() {
            return false;
        }
        let waiting = self.len() - self.filed;
        if self.filed == 0 { waiting > self.settings.memory } else { waiting >= AT_ONCE }
    }

    fn next_in_memory(&mut self) -> Filled {
        self.close_chunk();
        let wanted = self.end().saturating_sub(self.filed + self.reading.in_memory);
        let Some(piece) = self.pieces.get(self.reading.piece).filter(|_| wanted > 0) else { return Filled::End };
        let taken = piece.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.reading.piece += 1;
        self.reading.in_memory += taken as u64;
        Filled::Piece(piece.slice(..taken))
    }

    /// The end of what is handed out.
    fn end(&self) -> u64 {
        self.len().saturating_sub(self.reading.left_out)
    }

    /// The end of what is handed out of the file.
    fn file_end(&self) -> u64 {
        self.filed.min(self.end())
    }

    fn close_chunk(&mut self) {
        self.pieces.extend(self.open.take().map(Chunk::freeze));
    }

    fn start_writing(&mut self) -> Result<(), HoldFault> {
        let file = if self.filed == 0 { None } else { Some(self.take_file()?) };
        self.close_chunk();
        let (at, pieces, settings) = (self.filed, std::mem::take(&mut self.pieces), self.settings.clone());
        self.filed = self.len();
        self.job = Some(spawn_blocking(move || file::write(file, &settings.spool, at, pieces)));
        Ok(())
    }

    fn start_reading(&mut self) -> Result<(), HoldFault> {
        let file = self.take_file()?;
        let (at, end) = (self.reading.file, self.file_end());
        self.job = Some(match self.reading.socket.take() {
            Some(socket) => spawn_blocking(move || file::send(file, socket, at, end)),
            None => {
                let chunks = self.chunks.clone();
                spawn_blocking(move || file::read(file, at, end, &chunks))
            }
        });
        Ok(())
    }

    fn take_file(&mut self) -> Result<File, HoldFault> {
        self.file.take().ok_or_else(|| HoldFault::Io(io::Error::other("the message was lost in an earlier error")))
    }

    /// Waits for the job under way, if any.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HoldFault>> {
        let Some(job) = &mut self.job else { return Poll::Ready(Ok(())) };
        let done = ready!(Pin::new(job).poll(cx));
        self.job = None;
        let done = done.map_err(io::Error::other)??;
        self.file = Some(done.file);
        match done.what {
            _ if std::mem::take(&mut self.is_stale) => {}
            What::Read(at, pieces) => {
                self.reading.file = at + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
                self.reading.ready.extend(pieces);
            }
            What::Sent(at, Sent { octets, socket, stop }) => {
                self.reading.file = at + octets;
                (self.reading.socket, self.reading.stop) = (socket, Some(stop));
            }
            What::Written => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for Hold {
    /// Leaves the octets out: mail does not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").field("len", &self.len()).field("filed", &self.filed).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;
    use crate::hold::Holds;

    const NET: IpNet = IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::LOCALHOST, 24));

    fn holds(spool: &tempfile::TempDir, memory: u64, total: u64) -> Holds {
        Holds::new(Settings { memory, total, min_rate: 500, spool: spool.path().into(), min_free: 0, queue: None })
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len as u32).flat_map(u32::to_le_bytes).take(len).collect()
    }

    impl Hold {
        async fn fill(&mut self) -> Result<Filled, HoldFault> {
            poll_fn(|cx| self.poll_fill(cx)).await
        }

        async fn flush(&mut self) -> Result<(), HoldFault> {
            poll_fn(|cx| self.poll_flush(cx)).await
        }
    }

    async fn push_all(hold: &mut Hold, text: &[u8], at_a_time: usize) {
        for part in text.chunks(at_a_time) {
            hold.push(part).unwrap();
            if hold.needs_flush() {
                hold.flush().await.unwrap();
            }
        }
    }

    async fn read_all(hold: &mut Hold) -> Vec<u8> {
        let mut all = Vec::new();
        while let Filled::Piece(piece) = hold.fill().await.unwrap() {
            assert!(!piece.is_empty());
            all.extend_from_slice(&piece);
        }
        assert!(matches!(hold.fill().await, Ok(Filled::End)), "the end stays the end");
        all
    }

    /// A message of so many octets, nearly all of them in a file.
    async fn filed(octets: usize) -> (tempfile::TempDir, Hold, Vec<u8>) {
        let spool = tempfile::tempdir().unwrap();
        let mut hold = holds(&spool, 0, 1 << 30).begin(NET, 0).unwrap();
        let text = text(octets);
        push_all(&mut hold, &text, 300_000).await;
        (spool, hold, text)
    }

    /// Polls a future once and drops it.
    async fn give_up_on<F: Future>(future: F) {
        tokio::select! { biased; _ = future => {}, () = std::future::ready(()) => {} }
    }

    #[tokio::test]
    async fn what_was_pushed_is_filled() {
        // what, octets, `memory`, octets in the file
        let rows = [
            ("nothing", 0, 0, 0),
            ("a small message", 300, 1000, 0),
            ("exactly the small chunk", 8192, 1 << 20, 0),
            ("several chunks of memory", 300_000, 1 << 20, 0),
            ("exactly `memory`", 100_000, 100_000, 0),
            ("no memory at all: the first push is filed, the rest waits", 100_000, 0, 1000),
            ("file only", 262_144 * 3, 262_143, 262_144 * 3),
            ("file and memory", 1_000_000, 262_144, 789_000),
        ];
        for (what, octets, memory, filed) in rows {
            let spool = tempfile::tempdir().unwrap();
            let holds = holds(&spool, memory, 1 << 30);
            let mut hold = holds.begin(NET, octets as u64).unwrap();
            let text = text(octets);
            push_all(&mut hold, &text, if octets % 1000 == 0 { 1000 } else { 1024 }).await;
            assert_eq!(hold.len(), octets as u64, "{what}");
            assert_eq!(hold.filed, filed, "{what}: octets in the file");
            assert!(read_all(&mut hold).await == text, "{what}");
            hold.rewind();
            assert!(read_all(&mut hold).await == text, "{what}, once more");
            for left_out in [1, 2, 70_000, 1 << 20] {
                hold.rewind();
                hold.leave_out(left_out);
                let end = octets.saturating_sub(usize::try_from(left_out).unwrap());
                assert!(read_all(&mut hold).await == text[..end], "{what}, but for {left_out} octets");
            }
            assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0, "{what}: no name in the spool");
            drop(hold);
            assert_eq!(holds.used(), 0, "{what}");
        }
    }

    #[tokio::test]
    async fn a_flush_between_two_fills_changes_nothing() {
        let spool = tempfile::tempdir().unwrap();
        let mut hold = holds(&spool, 262_144, 1 << 30).begin(NET, 0).unwrap();
        let text = text(300_000);
        hold.push(&text).unwrap();
        let Filled::Piece(first) = hold.fill().await.unwrap() else { panic!("no piece") };
        let mut all = first.to_vec();
        assert!(!hold.needs_flush());
        hold.flush().await.unwrap();
        all.extend(read_all(&mut hold).await);
        assert!(all == text);
    }

    #[tokio::test]
    async fn a_rewind_in_the_middle_starts_over() {
        let (_spool, mut hold, text) = filed(1_500_000).await;
        for pieces in 0..12 {
            for _ in 0..pieces {
                hold.fill().await.unwrap();
            }
            give_up_on(hold.fill()).await;
            hold.rewind();
            assert!(read_all(&mut hold).await == text, "after {pieces} pieces");
            hold.rewind();
        }
    }

    /// Takes all that `hold` has, by way of a socket where it can, and whether it was ever full.
    async fn receive_all(hold: &mut Hold, mut end: &UnixStream) -> (Vec<u8>, bool) {
        let (mut all, mut was_full) = (Vec::new(), false);
        let mut part = vec![0; 1 << 20];
        loop {
            let full = match hold.fill().await.unwrap() {
                Filled::End => return (all, was_full),
                Filled::Piece(piece) => {
                    all.extend_from_slice(&piece);
                    continue;
                }
                Filled::Sent { full } => full,
                Filled::Lost => panic!("lost"),
            };
            was_full |= full;
            while let Ok(octets @ 1..) = end.read(&mut part) {
                all.extend_from_slice(&part[..octets]);
            }
        }
    }

    fn sockets() -> (OwnedFd, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ours.into(), theirs)
    }

    #[tokio::test]
    async fn a_file_goes_to_a_socket_by_itself() {
        let spool = tempfile::tempdir().unwrap();
        let mut hold = holds(&spool, 262_144, 1 << 30).begin(NET, 0).unwrap();
        let text = text(3_000_100);
        push_all(&mut hold, &text, 300_000).await;
        assert!(hold.has_file() && !hold.sends());
        let (socket, end) = sockets();
        hold.rewind_to(socket);
        assert!(hold.sends());
        let (all, was_full) = receive_all(&mut hold, &end).await;
        assert!(all == text && was_full && !hold.sends());
        // The last octets of the file are its own end, and then those in memory are.
        for left_out in [2, 600_000] {
            let (socket, end) = sockets();
            hold.rewind_to(socket);
            hold.leave_out(left_out);
            let (all, _) = receive_all(&mut hold, &end).await;
            assert!(all == text[..text.len() - usize::try_from(left_out).unwrap()], "but for {left_out} octets");
        }
        for fills in 0..4 {
            let (socket, first) = sockets();
            hold.rewind_to(socket);
            for _ in 0..fills {
                hold.fill().await.unwrap();
            }
            give_up_on(hold.fill()).await;
            let (socket, end) = sockets();
            hold.rewind_to(socket);
            assert!(receive_all(&mut hold, &end).await.0 == text, "{fills} fills before it was given up");
            drop(first);
        }
        hold.rewind();
        assert!(read_all(&mut hold).await == text);
    }

    #[tokio::test]
    async fn a_socket_whose_other_side_is_gone_is_told() {
        let (_spool, mut hold, _) = filed(300_000).await;
        let (socket, end) = sockets();
        drop(end);
        hold.rewind_to(socket);
        assert!(matches!(hold.fill().await, Ok(Filled::Lost)));
    }

    #[tokio::test]
    async fn what_takes_no_file_gets_pieces() {
        let (spool, mut hold, text) = filed(300_000).await;
        // sendfile to a file that is open for appending is EINVAL.
        let odd = File::options().append(true).create(true).open(spool.path().join("odd")).unwrap();
        hold.rewind_to(odd.into());
        assert!(read_all(&mut hold).await == text);
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_a_fault() {
        let (_spool, mut hold, _) = filed(300_000).await;
        hold.file.as_ref().unwrap().set_len(1000).unwrap();
        let (socket, _end) = sockets();
        hold.rewind_to(socket);
        assert!(matches!(hold.fill().await, Err(HoldFault::Io(_))));
    }

    #[tokio::test]
    async fn dropped_in_a_flush_it_gives_all_back() {
        let spool = tempfile::tempdir().unwrap();
        let holds = holds(&spool, 0, 1 << 30);
        let mut hold = holds.begin(NET, 0).unwrap();
        hold.push(&text(500_000)).unwrap();
        hold.start_writing().unwrap();
        drop(hold);
        assert_eq!(holds.used(), 0);
        assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_spool_that_fails_fails_for_good() {
        let spool = tempfile::tempdir().unwrap();
        let holds = Holds::new(Settings {
            memory: 0,
            total: 1 << 20,
            min_rate: 500,
            spool: spool.path().join("missing"),
            min_free: 0,
            queue: None,
        });
        let mut hold = holds.begin(NET, 0).unwrap();
        hold.push(b"text").unwrap();
        assert!(matches!(hold.flush().await, Err(HoldFault::Io(_))));
        assert!(matches!(hold.fill().await, Err(HoldFault::Io(_))), "a lost message is never filled in part");
        hold.push(&text(300_000)).unwrap();
        assert!(matches!(hold.flush().await, Err(HoldFault::Io(_))));
    }

    #[tokio::test]
    async fn a_full_disk_is_no_room() {
        // Every write to /dev/full is ENOSPC.
        let spool = tempfile::tempdir().unwrap();
        let mut hold = holds(&spool, 0, 1 << 20).begin(NET, 0).unwrap();
        push_all(&mut hold, b"start", 5).await;
        hold.file = Some(File::options().write(true).open("/dev/full").unwrap());
        hold.push(&text(300_000)).unwrap();
        assert!(matches!(hold.flush().await, Err(HoldFault::NoRoom)));
        assert!(matches!(hold.fill().await, Err(HoldFault::Io(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// For any pieces, and any flush or fill that is dropped at any time.
        #[test]
        fn no_octet_is_lost_or_doubled(
            pushes in prop::collection::vec((0usize..200_000, any::<bool>()), 0..12),
            memory in prop_oneof![Just(0u64), 0u64..600_000],
            impatient in prop::collection::vec(any::<bool>(), 64),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let spool = tempfile::tempdir().unwrap();
                let holds = holds(&spool, memory, 1 << 30);
                let mut hold = holds.begin(NET, 0).unwrap();
                let text = text(pushes.iter().map(|(len, _)| len).sum());
                let mut rest = text.as_slice();
                for (len, patient) in pushes {
                    let (part, after) = rest.split_at(len);
                    rest = after;
                    hold.push(part).unwrap();
                    if patient { hold.flush().await.unwrap() } else { give_up_on(hold.flush()).await }
                }
                let mut all = Vec::new();
                for gives_up in impatient.into_iter().chain(std::iter::repeat(false)) {
                    if gives_up {
                        // Done at once or given up: only a piece that came out counts.
                        tokio::select! {
                            biased;
                            filled = hold.fill() => match filled.unwrap() {
                                Filled::Piece(piece) => all.extend(piece),
                                other => assert!(matches!(other, Filled::End), "{other:?}"),
                            },
                            () = std::future::ready(()) => {}
                        }
                    } else if let Filled::Piece(piece) = hold.fill().await.unwrap() {
                        all.extend_from_slice(&piece);
                    } else {
                        break;
                    }
                }
                assert!(all == text);
            });
        }
    }
}
