//! `bowline dns query`: what this server would answer to a pod, and which plugin does.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use bowline_cluster::follow::{Follower, Told};
use bowline_cluster::object::ObjectName;
use bowline_cluster::snapshot::Snapshot;
use bowline_dns::address::Transport;
use bowline_dns::plugin::{Query, Request, Trace};
use bowline_dns::reply::Outcome;
use bowline_dns::server::{Instance, Server};
use bowline_dns::wire::{Edns, Message, Name, Question, Type};
use bowline_sources::kubernetes::Pods;
use clap::Args;

use super::look::LookArgs;
use crate::check::read;
use crate::store;

/// Said where the cluster that the Corefile means can't be read.
const NO_STATE: &str = "the cluster that the Corefile's `kubernetes` means (--state says another)";

/// What is asked, and by whom.
#[derive(Clone, Debug, Args)]
pub(super) struct AskArgs {
    /// The name; or an IP address, whose reverse name is asked for
    #[arg(value_name = "NAME")]
    name: String,
    /// The type: A, AAAA, SRV, PTR, TXT, TYPE65, ...; A by default, for an IP address PTR
    #[arg(value_name = "TYPE")]
    rtype: Option<String>,
    /// Who asks: an IP address, or a pod as NAMESPACE/NAME; 127.0.0.1 by default
    #[arg(long, value_name = "IP|POD")]
    from: Option<String>,
    /// What is asked, of several that listen: `dns://:53`, as `bowline dns check` shows them; the first by default
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,
    /// Asks as by TCP: the answer may be as long as it likes
    #[arg(long)]
    tcp: bool,
    /// Corefile and state.
    #[command(flatten)]
    look: LookArgs,
}

/// Arguments of `dns query`.
#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    ask: AskArgs,
}

/// Prints the answer.
pub(super) fn run(args: &QueryArgs) -> anyhow::Result<()> {
    let asked = args.ask.ask(false)?;
    let text = match asked.outcome {
        Ok(Some(mut reply)) => {
            let by = reply.by;
            format!("{};; answered by {by}\n", dig(reply.message()?)?)
        }
        Ok(None) => ";; no answer: the question is dropped\n".to_owned(),
        Err(failure) => {
            let by = if failure.by.is_empty() { "the server" } else { failure.by };
            let colon = if failure.reason.is_empty() { "" } else { ": " };
            format!(";; {}\n;; refused by {by}{colon}{}\n", failure.rcode, failure.reason)
        }
    };
    store::write(&text).map(|_| ())
}

/// A question, and what came of it.
pub(super) struct Asked {
    pub(super) server: Arc<Server>,
    pub(super) query: Query,
    pub(super) outcome: Outcome,
}

impl AskArgs {
    /// Sets the server up in this process, and asks it. `is_dry`: nothing outside is asked.
    pub(super) fn ask(&self, is_dry: bool) -> anyhow::Result<Asked> {
        let look = self.look.open()?;
        let mut instance = look.build()?;
        let (name, rtype) = self.asked()?;
        self.server(&instance)?;
        let conf = &self.look.conf;
        let mut snapshot = Snapshot::default();
        if let Some(state) = conf.state(&look.corefile)? {
            let mut wanted = super::wanted(&look.corefile);
            if self.from.as_ref().is_some_and(|from| from.contains('/')) {
                wanted.pods = Pods::All;
            }
            let (read, _) = read(&state, wanted, &conf.states.service_cluster_ip_range).with_context(|| {
                if conf.states.is_given() { format!("--state {}", state.name) } else { NO_STATE.to_owned() }
            })?;
            snapshot = read;
            look.feed.come(&Told::whole(&snapshot));
        }
        // A Service whose address stands in the Corefile is known only now.
        if let Some(known) = look.build_known()? {
            instance = known;
        }
        let from = self.from(&snapshot)?;
        let server = self.server(&instance)?;
        let request = self.request(from, &server, name, rtype);
        let mut query = server.question(request).context("the Corefile has no server block")?;
        query.trace = Some(Trace { is_dry, ..Trace::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = tokio::task::LocalSet::new().block_on(&runtime, server.choose_and_serve(&mut query));
        Ok(Asked { server, query, outcome })
    }

    fn server(&self, instance: &Instance) -> anyhow::Result<Arc<Server>> {
        let mut servers = instance.servers().iter();
        let found = match &self.server {
            None => servers.next(),
            Some(wanted) => servers.find(|(address, _)| address.to_string() == *wanted),
        };
        let names = || instance.servers().keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (_, server) = found.with_context(|| format!("--server: nothing listens there; there are {}", names()))?;
        Ok(server.clone())
    }

    fn from(&self, snapshot: &Snapshot) -> anyhow::Result<IpAddr> {
        let Some(from) = &self.from else { return Ok(IpAddr::from([127, 0, 0, 1])) };
        if let Ok(address) = from.parse() {
            return Ok(address);
        }
        let (namespace, name) =
            from.split_once('/').with_context(|| format!("--from {from}: write an IP address, or NAMESPACE/NAME"))?;
        let name = ObjectName { namespace: namespace.into(), name: name.into() };
        let pod = snapshot.pods.get(&name).with_context(|| format!("--from {from}: the state has no such Pod"))?;
        pod.ips.first().copied().with_context(|| format!("--from {from}: the Pod has no address yet"))
    }

    fn asked(&self) -> anyhow::Result<(Name, Type)> {
        let (name, usual) = match self.name.parse() {
            Ok(address) => (Name::reverse_of(address), Type::PTR),
            Err(_) => {
                let name = Name::parse(&self.name).with_context(|| format!("{:?} is no domain name", self.name))?;
                (name, Type::A)
            }
        };
        let Some(rtype) = &self.rtype else { return Ok((name, usual)) };
        let rtype = rtype.parse().ok().with_context(|| format!("{rtype:?} is no type; write A, SRV or TYPE65"))?;
        Ok((name, rtype))
    }

    fn request(&self, from: IpAddr, server: &Server, name: Name, rtype: Type) -> Request {
        let mut message = Message { id: fastrand_id(), edns: Some(Edns::new(1232, false)), ..Message::default() };
        message.flags.set_rd(true);
        message.questions.push(Question::new(name, rtype));
        let mut raw = Vec::new();
        message.write(&mut raw);
        let to = server.address.socket();
        let transport = if self.tcp { Transport::Tcp } else { Transport::Udp };
        let mut request = Request::new(raw, SocketAddr::new(from, 40_000), to, transport);
        request.message = message;
        request
    }
}

/// Any id will do: nobody but this process sees it.
fn fastrand_id() -> u16 {
    std::process::id() as u16
}

/// An answer as dig prints it.
pub(super) fn dig(message: &Message) -> Result<String, std::fmt::Error> {
    let flags = message.flags;
    let names = [("qr", flags.qr()), ("aa", flags.aa()), ("tc", flags.tc()), ("rd", flags.rd()), ("ra", flags.ra())];
    let set: Vec<_> = names.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    let mut text = format!(";; {}, flags: {}\n", message.rcode(), set.join(" "));
    for question in &message.questions {
        writeln!(text, ";{}\t{}\t{}", question.name, question.class, question.rtype)?;
    }
    let sections =
        [("ANSWER", &message.answers), ("AUTHORITY", &message.authorities), ("ADDITIONAL", &message.additionals)];
    for (title, records) in sections.into_iter().filter(|(_, records)| !records.is_empty()) {
        writeln!(text, "\n;; {title}")?;
        for record in records {
            writeln!(text, "{record}")?;
        }
    }
    text.push('\n');
    Ok(text)
}
