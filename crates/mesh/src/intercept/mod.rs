//! Interception on a host: programs that know of no proxy go through one.
//!
//! [`rules`] says what the kernel is asked, as a script for nft and nothing
//! else; [`socket`] is what a socket is asked. Inbound connections come by
//! TPROXY, which leaves addresses as they are: the socket's own address is the
//! one that was meant, and the service sees nothing new. On a host that address
//! is local anyway, so neither marks nor routes are needed, and where nobody
//! listens any more the rule does not apply: it opens by itself. Outbound ones
//! come by REDIRECT: TPROXY would need marks, a rule and a route to turn packets
//! around, three more things to take away again; the connection's own record in
//! the kernel says where it was to go.
//!
//! Our own connections to endpoints carry a mark and are left alone. A user of
//! our own would do as well, but would exclude every other program of that user.

mod rules;
mod socket;

pub use rules::{RENEW, Rules};
pub(crate) use socket::{Destination, block, mark, original, transparent};
