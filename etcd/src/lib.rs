//! etcd, as the source and the store use it: where it is, how to reach it, and what stands at which key.
//!
//! [`Location`] is what `--state etcd:…` says. [`Location::connect`] gives a [`Connection`] to one endpoint
//! that has answered; there is no quiet change to another behind it, so that every error can name its
//! endpoint, and so that files of certificates and passwords are read anew each time. [`Keys`] is the layout:
//!
//! ```text
//! <prefix>/objects/<plural>/[<namespace>/]<name>     an object, JSON or YAML
//! <prefix>/claims/addresses/<ip>                     who holds it: {"kind","namespace","name"}
//! <prefix>/claims/nodeports/<TCP|UDP|SCTP>/<port>
//! <prefix>/claims/healthcheckports/<port>
//! <prefix>/claims/podcidrs/<cidr>
//! <prefix>/alive/<node>                              under the node's lease
//! <prefix>/cluster                                   what holds for the whole cluster
//! ```

mod connect;
mod error;
mod keys;
mod location;
mod pages;
mod reader;

pub use connect::{Connection, MAX_MESSAGE, REQUEST_TIMEOUT};
pub use error::{ErrorKind, EtcdError};
pub use keys::Keys;
pub use location::{Location, LocationError};
pub use pages::Pages;
pub use reader::{Access, Entry, Reader};
