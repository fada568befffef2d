//! For the tests of plugins: a Corefile in memory, asked without sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use bowline_cluster::follow::{Follower as _, Told};
use bowline_cluster::intern::Strings;
use bowline_cluster::source::{Change, Origin, Update};
use bowline_cluster::state::{Options, State};
use bowline_sources::parse;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::address::Transport;
use crate::corefile::{self, CorefileError};
use crate::fast::{Fast, Plain, Step};
use crate::feed::Feed;
use crate::plugin::{Request, Services};
use crate::server::{Instance, Server};
use crate::wire::{Edns, Message, Name, Question, Type};

/// Services of a process of its own, without a cluster's state.
pub(crate) fn services() -> Arc<Services> {
    Arc::new(Services::new(Arc::new(Feed::default()), vec!["127.0.0.1".parse().unwrap()], "test"))
}

/// Sets a Corefile up, relative paths beginning at `folder`.
pub(crate) fn build(text: &str, folder: &Path, services: &Arc<Services>) -> Result<Instance, CorefileError> {
    let corefile = corefile::parse(text, "Corefile", folder, &|_| None)?;
    Instance::build(&corefile, folder, 53, services)
}

/// What is wrong with a Corefile.
pub(crate) fn refused(text: &str) -> String {
    match build(text, Path::new("/nonexistent"), &services()) {
        Ok(_) => String::from("accepted"),
        Err(problem) => problem.to_string(),
    }
}

/// A question.
pub(crate) fn question(name: &str, rtype: Type) -> Message {
    let mut message = Message { id: 7, ..Message::default() };
    message.flags.set_rd(true);
    message.questions.push(Question::new(Name::parse(name).unwrap(), rtype));
    message
}

/// The same with EDNS and DO.
pub(crate) fn dnssec_question(name: &str, rtype: Type) -> Message {
    Message { edns: Some(Edns::new(4096, true)), ..question(name, rtype) }
}

/// The cluster is these objects from now on.
pub(crate) fn publish(services: &Services, objects: &str) {
    let manifest = parse::manifest("objects.yaml", objects.as_bytes(), &Strings::default());
    assert_eq!(manifest.problems, []);
    let mut state = State::new(Options::default());
    let put = |object| Change::Put(object, Origin::from("objects.yaml"));
    state.apply(Update::All(manifest.objects.into_iter().map(put).collect()));
    services.feed.come(&Told::whole(&state.snapshot()));
}

/// The first server of an instance.
pub(crate) fn server(instance: &Instance) -> Arc<Server> {
    instance.servers().values().next().unwrap().clone()
}

/// Answers the long way.
pub(crate) fn ask(instance: &Instance, message: &Message) -> Message {
    ask_by(instance, message, Transport::Udp)
}

/// Answers the long way, as if the question came by `transport`.
pub(crate) fn ask_by(instance: &Instance, message: &Message, transport: Transport) -> Message {
    let mut raw = Vec::new();
    message.write(&mut raw);
    let (from, to) = ("127.0.0.1:4000".parse().unwrap(), "127.0.0.1:53".parse().unwrap());
    let request = Request::new(raw, from, to, transport);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let answer = LocalSet::new().block_on(&runtime, server(instance).answer(request));
    Message::read(&answer.expect("an answer")).unwrap()
}

/// Answers the fast way, if that can.
pub(crate) fn ask_fast(instance: &Instance, message: &Message) -> Option<Message> {
    let mut raw = Vec::new();
    message.write(&mut raw);
    let (mut plain, mut out, mut random) = (Plain::default(), [0; 4096], fastrand::Rng::with_seed(1));
    assert!(plain.read(&raw));
    let (from, to) = ("127.0.0.1:4000".parse().unwrap(), "127.0.0.1:53".parse().unwrap());
    let server = server(instance);
    let mut fast = Fast::new(&plain, &raw, from, to, &mut out, &mut random);
    match server.fast(&mut fast) {
        Step::Answered => Some(Message::read(fast.answer()).unwrap()),
        _ => None,
    }
}

/// The answer section as text, one record a line, without TTL and class.
pub(crate) fn shown(message: &Message) -> Vec<String> {
    let record =
        |record: &crate::wire::Record| format!("{} {} {}", record.name, record.rtype, record.data.shown(record.rtype));
    message.answers.iter().map(record).collect()
}
