//! A connection's bytes, for clients that connect anew for each announce, as most do. Their one request is
//! there when the connection is accepted, and two things spare them system calls and packets:
//!
//! - A connection over TCP is registered with the runtime only once it has to wait: read, answered and closed
//!   it never meets epoll, which would cost as much as reading the request does.
//! - A connection's last reply leaves in one packet with its end (`MSG_MORE`), so that the client is woken
//!   once and not twice.
//!
//! With both, an announce over a connection of its own costs 12.1 µs of processor time, 21 without; a bare
//! epoll loop takes 11.9 (docs/performance.md). Connections that are kept gain nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The beginning of the kernel's `struct tcp_info`.
#[derive(Clone, Copy)]
struct TcpInfo;

type Figures = [u32; LAST_DATA_RECEIVED + 1];

nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, Figures, GetStruct<Figures>);

/// Where it has `tcpi_last_data_recv`, in milliseconds: behind eight bytes and eleven numbers.
const LAST_DATA_RECEIVED: usize = 13;

/// The kernel counts these in ticks of up to so much, and may say one too many: a request must not look older
/// than the one that was answered before it.
const TICK: Duration = Duration::from_millis(10);

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    /// Over TCP, and has never had to wait. `None` for one that the runtime would not take.
    Unregistered(Option<mio::net::TcpStream>),
    /// Over TCP.
    Inet(TcpStream),
    /// From a proxy on this machine.
    Unix(UnixStream),
}

impl Stream {
    /// What an unregistered connection can do without waiting; `None` for one that is registered, or has just
    /// had to be.
    fn at_once<T>(
        &mut self,
        act: impl FnOnce(&mut mio::net::TcpStream) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let Self::Unregistered(unregistered) = self else { return Ok(None) };
        let stream = unregistered.as_mut().ok_or(ErrorKind::NotConnected)?;
        match act(stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let taken = unregistered.take().ok_or(ErrorKind::NotConnected)?;
                *self = Self::Inet(TcpStream::from_std(taken.into())?);
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }
}

/// Bytes that may lie in the kernel for a while before they are read.
pub(super) trait Waiting {
    /// How long ago the kernel got the last of them, as far as it tells.
    fn waited(&self) -> Duration;
}

impl Waiting for Stream {
    fn waited(&self) -> Duration {
        let told = match self {
            Self::Unregistered(Some(stream)) => getsockopt(stream, TcpInfo),
            Self::Inet(stream) => getsockopt(stream, TcpInfo),
            // A proxy's bytes come without a stamp.
            Self::Unregistered(None) | Self::Unix(_) => return Duration::ZERO,
        };
        let waited = |figures: Figures| Duration::from_millis(figures[LAST_DATA_RECEIVED].into());
        told.map_or(Duration::ZERO, waited).saturating_sub(TICK)
    }
}

/// Bytes that nothing follows but the end of the connection.
pub(super) trait WriteLast: AsyncWrite {
    /// As `poll_write`; they may leave together with the end.
    fn poll_write_last(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
}

impl WriteLast for Stream {
    /// A reply and the end of its connection are one packet instead of two, for which the client must be
    /// woken, too.
    fn poll_write_last(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The kernel keeps them for the packet that closes the connection. It would send them after 200 ms
        // anyway.
        const FLAGS: i32 = libc::MSG_MORE | libc::MSG_NOSIGNAL;
        let this = self.get_mut();
        if let Some(length) = this.at_once(|stream| SockRef::from(&*stream).send_with_flags(bytes, FLAGS))? {
            return Poll::Ready(Ok(length));
        }
        let Self::Inet(stream) = this else { return Pin::new(this).poll_write(cx, bytes) };
        loop {
            ready!(stream.poll_write_ready(cx))?;
            let send = || SockRef::from(&*stream).send_with_flags(bytes, FLAGS);
            match stream.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(length) = this.at_once(|stream| stream.read(buffer.initialize_unfilled()))? {
            buffer.advance(length);
            return Poll::Ready(Ok(()));
        }
        match this {
            Self::Inet(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unregistered(_) => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(length) = this.at_once(|stream| stream.write(bytes))? {
            return Poll::Ready(Ok(length));
        }
        match this {
            Self::Inet(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unregistered(_) => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is read after a shutdown: the connection is dropped, and closing it says the same with one
        // system call less.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (std::net::TcpStream, Stream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_nonblocking(true).unwrap();
        (client, Stream::Unregistered(Some(mio::net::TcpStream::from_std(server))))
    }

    #[tokio::test]
    async fn what_is_there_is_read_and_answered_without_registering_the_connection() {
        let (mut client, mut stream) = pair();
        client.write_all(b"question").unwrap();
        let mut read = [0; 8];
        stream.read_exact(&mut read).await.unwrap();
        stream.write_all(b"answer").await.unwrap();
        assert!(matches!(stream, Stream::Unregistered(Some(_))));
        stream.shutdown().await.unwrap();
        drop(stream);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((&read, answer.as_str()), (b"question", "answer"));
    }

    #[tokio::test]
    async fn bytes_that_lay_there_are_as_old_as_they_are_also_when_their_client_is_gone() {
        let ((client, mut stream), (_still_there, mut other)) = (pair(), pair());
        let begun = Instant::now();
        let lay = |stream: &Stream| (stream.waited(), begun.elapsed());
        (&client).write_all(b"question").unwrap();
        (&_still_there).write_all(b"question").unwrap();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        while begun.elapsed() < Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(20));
        }
        for stream in [&mut stream, &mut other] {
            stream.read_exact(&mut [0; 8]).await.unwrap();
            let (waited, elapsed) = lay(stream);
            let late = elapsed.checked_sub(waited).unwrap_or_default();
            assert!(late < Duration::from_millis(100), "{waited:?} of {elapsed:?}");
        }
    }

    #[tokio::test]
    async fn what_is_written_last_arrives_with_the_end() {
        for has_waited in [false, true] {
            let (mut client, mut stream) = pair();
            if has_waited {
                let nothing_yet = poll_fn(|cx| {
                    let mut byte = [0];
                    Poll::Ready(Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut byte)))
                });
                assert!(nothing_yet.await.is_pending());
            }
            let written = poll_fn(|cx| Pin::new(&mut stream).poll_write_last(cx, b"farewell")).await.unwrap();
            assert_eq!((written, matches!(stream, Stream::Inet(_))), (8, has_waited));
            drop(stream);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "farewell");
        }
    }

    #[tokio::test]
    async fn a_connection_that_must_wait_is_woken() {
        let (mut client, mut stream) = pair();
        let reading = tokio::spawn(async move {
            let mut read = [0; 4];
            stream.read_exact(&mut read).await.unwrap();
            (stream, read)
        });
        // Until here it has been polled and waits, for this runtime has one thread.
        tokio::task::yield_now().await;
        client.write_all(b"late").unwrap();
        let (mut stream, read) = reading.await.unwrap();
        assert_eq!(&read, b"late");
        assert!(matches!(stream, Stream::Inet(_)));
        stream.write_all(b"yes").await.unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"yes");
    }

    #[tokio::test]
    async fn a_client_that_reads_late_gets_all_of_a_large_reply() {
        let (mut client, mut stream) = pair();
        let reply = vec![7; 16 << 20];
        let length = reply.len();
        let writing = tokio::spawn(async move { stream.write_all(&reply).await.map(|()| stream) });
        let read = tokio::task::spawn_blocking(move || {
            let mut all = vec![0; length];
            client.read_exact(&mut all).map(|()| all)
        });
        let stream = writing.await.unwrap().unwrap();
        assert!(read.await.unwrap().unwrap().iter().all(|byte| *byte == 7));
        assert!(matches!(stream, Stream::Inet(_)));
    }
}
