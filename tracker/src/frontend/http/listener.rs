//! Binding: one listener per worker on a shared port, or one Unix socket that the workers share.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;

use super::origin::Origin;
use super::stream::Stream;
use contract::config::ListenAddr;

const BACKLOG: i32 = 4096;

/// A bound socket that no runtime has yet.
#[derive(Debug)]
pub(super) enum BoundSocket {
    Inet(StdTcpListener),
    Unix(StdUnixListener),
}

/// A listener within a worker's runtime.
#[derive(Debug)]
pub(super) enum Listener {
    /// Not one of tokio's: its connections are registered with epoll as soon as they are accepted, see
    /// [`Stream`].
    Inet(AsyncFd<mio::net::TcpListener>),
    Unix(UnixListener),
}

/// Binds `address` so many times. Returns where that is: port 0 is chosen by the kernel.
pub(super) fn bind(address: &ListenAddr, times: usize) -> io::Result<(ListenAddr, Vec<BoundSocket>)> {
    match address {
        ListenAddr::Off => Ok((ListenAddr::Off, Vec::new())),
        ListenAddr::Inet(address) => {
            let first = listen(*address)?;
            let bound = first.local_addr()?;
            let mut listeners = vec![BoundSocket::Inet(first)];
            for _ in 1..times {
                listeners.push(BoundSocket::Inet(listen(bound)?));
            }
            Ok((ListenAddr::Inet(bound), listeners))
        }
        ListenAddr::Unix(path) => {
            let first = listen_unix(path)?;
            let mut listeners = Vec::new();
            for _ in 1..times {
                listeners.push(BoundSocket::Unix(first.try_clone()?));
            }
            listeners.push(BoundSocket::Unix(first));
            Ok((address.clone(), listeners))
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // Every address, on a machine without IPv6: those of IPv4.
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && no_such_family(&error) => {
            return listen((Ipv4Addr::UNSPECIFIED, address.port()).into());
        }
        socket => socket?,
    };
    if address.is_ipv6() {
        // `[::]` serves both families; IPv4 clients arrive as mapped addresses and are unmapped first thing.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it: waiting to fill a packet would only delay a reply.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn no_such_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// A socket file that nobody listens on was left by a tracker that was killed: it goes. Who may connect is a
/// matter of the folder's permissions and the process's umask.
fn listen_unix(path: &Path) -> io::Result<StdUnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket {
        match StdUnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
        }
    }
    let listener = StdUnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Our socket's file. Dropping it removes the file, unless it is another's by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    pub(super) fn of(address: &ListenAddr) -> Option<Self> {
        let ListenAddr::Unix(path) = address else { return None };
        Some(Self { inode: path.symlink_metadata().ok()?.ino(), path: path.clone() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = self.path.symlink_metadata().is_ok_and(|metadata| metadata.ino() == self.inode);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket file stays behind");
        }
    }
}

impl BoundSocket {
    /// Hands it to the runtime that this is called in.
    pub(super) fn into_listener(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Inet(listener) => {
                let listener = mio::net::TcpListener::from_std(listener);
                // What is held against this way is that a type might change its descriptor behind the
                // runtime's back. Ours does not, and the way that replaces it is unsafe code.
                #[allow(deprecated)]
                Listener::Inet(AsyncFd::with_interest(listener, Interest::READABLE)?)
            }
            Self::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<(Stream, Origin)> {
        match self {
            Self::Inet(listener) => {
                let accept = |listener: &mio::net::TcpListener| listener.accept();
                let (stream, peer) = listener.async_io(Interest::READABLE, accept).await?;
                Ok((Stream::Unregistered(Some(stream)), Origin::Address(peer.ip())))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), Origin::LocalProxy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_file_is_replaced_a_live_one_is_not_and_ours_goes_with_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.sock");
        let address = ListenAddr::Unix(path.clone());
        drop(StdUnixListener::bind(&path).unwrap());
        let (bound, listeners) = bind(&address, 2).unwrap();
        assert_eq!((bound, listeners.len()), (address.clone(), 2));
        let file = SocketFile::of(&address).unwrap();
        assert_eq!(bind(&address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        bind(&ListenAddr::Unix(path.clone()), 1).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }

    #[tokio::test]
    async fn connections_wait_for_no_full_packet() {
        let (ListenAddr::Inet(address), mut bound) =
            bind(&ListenAddr::Inet((Ipv4Addr::LOCALHOST, 0).into()), 1).unwrap()
        else {
            panic!("a port")
        };
        let listener = bound.remove(0).into_listener().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (Stream::Unregistered(Some(stream)), origin) = listener.accept().await.unwrap() else {
            panic!("over TCP")
        };
        assert!(stream.nodelay().unwrap());
        assert_eq!(origin, Origin::Address(client.local_addr().unwrap().ip()));
    }
}
