//! The way back to a client: from the address that it wrote to. On a machine with several addresses the
//! kernel would choose one by its routes, and clients and firewalls drop a reply that comes from elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MultiHeaders, SockaddrStorage, setsockopt, sockopt,
};
use socket2::Socket;

/// Both ends of a reply's way, as the socket sees them: an IPv4 address is a mapped one on a socket that
/// serves both families.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReturnPath {
    pub(super) to: SocketAddr,
    /// `None`: there is only one, or the kernel did not say which.
    pub(super) from: Option<IpAddr>,
}

/// Has the kernel tell with each datagram which of our addresses it was sent to. A socket on one address
/// needs no telling.
pub(super) fn ask_for(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        // Tells of IPv4 datagrams too, as mapped addresses.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        _ => {}
    }
    Ok(())
}

/// Headers with room for one address each, for sending.
pub(super) fn headers(count: usize) -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(count, Some(cmsg_space!(libc::in6_pktinfo)))
}

/// Which of our addresses a datagram was sent to, if that is what the kernel says here.
pub(super) fn arrived_at(control: &ControlMessageOwned) -> Option<IpAddr> {
    match control {
        // The local address proper, which for a broadcast is not the one written to.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    }
}

/// An address to send from, in the kernel's form.
pub(super) enum Source {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl Source {
    /// The interface is left to the routes: a link-local client's is part of its own address.
    pub(super) fn new(from: IpAddr) -> Self {
        match from {
            IpAddr::V4(ip) => Self::V4(libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            }),
            IpAddr::V6(ip) => Self::V6(libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: 0,
            }),
        }
    }

    pub(super) fn message(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}
