//! The connection of a guard and its owner: a pair of sockets that keep messages apart.
//!
//! The guard's end is its standard input; the command's own standard input comes over it first. They
//! are of the kind SEQPACKET: like datagrams, but whoever reads is told when the other end is gone.
//! Invariant: sending never waits, so that neither can hold the other up.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixDatagram as StdUnixDatagram,
    },
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};
use tokio::{io::Interest, net::UnixDatagram};

/// The longest message. What is longer is cut off.
const MESSAGE_BYTES_MAX: usize = 1024;

/// One end.
#[derive(Debug)]
pub(super) struct Channel(UnixDatagram);

impl Channel {
    /// One end to keep, one to hand to a process. Call within a runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self::new(ours)?, theirs))
    }

    /// An end that was handed over.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        UnixDatagram::from_std(StdUnixDatagram::from(end)).map(Self)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the other end is gone, or has not read for very long.
    pub(super) fn send(&self, text: &str) -> io::Result<()> {
        let bytes = text.as_bytes();
        let bytes = &bytes[..bytes.len().min(MESSAGE_BYTES_MAX)];
        // Past the runtime, which would first wait to hear that there is room.
        send(&self.0, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// The next message; None when the other end is gone. May be given up and called again.
    pub(super) async fn receive(&self) -> Option<String> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let received = match self.0.recv(&mut bytes).await {
            // The other end was closed with something unread. That is told once, and before the
            // messages that it had sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.0.recv(&mut bytes).await
            }
            received => received,
        };
        match received {
            // A connection with an error is as good as none.
            Ok(0) | Err(_) => None,
            Ok(length) => Some(String::from_utf8_lossy(&bytes[..length]).into_owned()),
        }
    }

    /// Sends an open file.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn send_file(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file];
        // The space was made for it.
        control.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&self.0, &[IoSlice::new(b"file")], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Takes the open file that was sent; None when none was.
    ///
    /// # Errors
    /// When there is no other end.
    pub(super) async fn receive_file(&self) -> io::Result<Option<OwnedFd>> {
        let receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [0; MESSAGE_BYTES_MAX];
            let mut slices = [IoSliceMut::new(&mut bytes)];
            recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            let file = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut files) => files.next(),
                _ => None,
            });
            Ok(file)
        };
        self.0.async_io(Interest::READABLE, receive).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Seek as _, Write as _},
        os::fd::AsFd as _,
    };

    use super::*;

    #[tokio::test]
    async fn messages_stay_apart_and_files_arrive() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        ours.send_file(file.as_fd()).unwrap();
        ours.send("one").unwrap();
        ours.send("two").unwrap();
        let mut same = std::fs::File::from(theirs.receive_file().await.unwrap().unwrap());
        same.rewind().unwrap();
        let mut text = String::new();
        same.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert_eq!(theirs.receive().await.as_deref(), Some("one"));
        assert_eq!(theirs.receive().await.as_deref(), Some("two"));
        drop(ours);
        assert_eq!(theirs.receive().await, None);
        assert!(theirs.send("to nobody").is_err());
    }

    #[tokio::test]
    async fn the_last_words_are_heard_though_the_other_end_has_left_something_unread() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs).unwrap();
        ours.send("unread").unwrap();
        theirs.send("one").unwrap();
        theirs.send("two").unwrap();
        drop(theirs);
        assert_eq!(ours.receive().await.as_deref(), Some("one"));
        assert_eq!(ours.receive().await.as_deref(), Some("two"));
        assert_eq!(ours.receive().await, None);
    }

    #[tokio::test]
    async fn who_does_not_read_holds_nobody_up() {
        let (ours, _theirs) = Channel::pair().unwrap();
        let refused = (0..100_000).find(|_| ours.send("until 1").is_err());
        assert!(refused.is_some());
    }
}
