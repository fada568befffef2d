//! A Corefile that people look at without serving it: as `bowline dns` would serve it, or `bowline node --dns`.

use std::net::IpAddr;
use std::sync::Arc;

use bowline_dns::corefile::Corefile;
use bowline_dns::feed::Feed;
use bowline_dns::plugin::Services;
use bowline_dns::server::{Instance, Prepare, Settings};
use clap::Args;

use super::{ConfArgs, with_hint};
use bowline_agent::node_local::Template;

/// What is looked at.
#[derive(Clone, Debug, Args)]
pub(super) struct LookArgs {
    /// Corefile and state.
    #[command(flatten)]
    pub(super) conf: ConfArgs,
    /// Looks as `bowline node --dns` with this --localip does: server blocks without `bind` listen there only, and
    /// placeholders of NodeLocal DNSCache (__PILLAR__...) are filled in
    #[arg(long, value_name = "IP,IP", value_delimiter = ',', value_parser = bowline_agent::address::ip)]
    localip: Vec<IpAddr>,
    /// With --localip: the Service in kube-system whose address stands for __PILLAR__CLUSTER__DNS__
    #[arg(long, value_name = "NAME", default_value = "kube-dns", requires = "localip")]
    upstreamsvc: String,
}

/// A Corefile, and what a server of it would stand on. Nothing listens, and nothing is read of the state.
pub(super) struct Look {
    pub(super) corefile: Corefile,
    pub(super) feed: Arc<Feed>,
    template: Option<Arc<Template>>,
    settings: Settings,
    services: Arc<Services>,
}

impl LookArgs {
    /// Reads the Corefile.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(&self) -> anyhow::Result<Look> {
        let feed = Arc::new(Feed::default());
        let mut settings = self.conf.settings(1);
        let is_on_node = !self.localip.is_empty();
        let template = is_on_node.then(|| {
            let ports = (&self.localip[..], self.conf.port);
            Arc::new(Template::with_defaults(ports, &self.upstreamsvc, feed.clone()))
        });
        if let Some(template) = template.clone() {
            settings.prepare = Some(Arc::new(move |text, file| template.fill_for_a_look(text, file)));
        }
        let services = Services::new(feed.clone(), self.localip.clone(), env!("CARGO_PKG_VERSION"));
        let services = Arc::new(services);
        Ok(Look { corefile: self.conf.read(&settings)?, feed, template, settings, services })
    }
}

impl Look {
    /// Sets up what would serve, by what the feed has now.
    ///
    /// # Errors
    /// What is wrong with the Corefile.
    pub(super) fn build(&self) -> anyhow::Result<Instance> {
        with_hint(self.settings.build(&self.services))
    }

    /// The same with what the state says, for a node's agent: the address of a Service that stands in its Corefile. None
    /// where the Corefile is no node's.
    ///
    /// # Errors
    /// That address is not known.
    pub(super) fn build_known(&self) -> anyhow::Result<Option<Instance>> {
        let Some(template) = self.template.clone() else { return Ok(None) };
        let prepare: Prepare = Arc::new(move |text, file| template.fill(text, file));
        let settings = Settings { prepare: Some(prepare), ..self.settings.clone() };
        Ok(Some(settings.build(&self.services)?))
    }
}
