//! Real parts for the tests: a redis-server, the daemon, a webhook, a proxy that misbehaves, a browser, a Prometheus, a collector.

pub(crate) mod alerter;
pub(crate) mod alertmanager;
pub(crate) mod browser;
pub(crate) mod cluster;
pub(crate) mod daemon;
pub(crate) mod driver;
pub(crate) mod exporter;
pub(crate) mod otlp;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod sentinel;
pub(crate) mod smtp;
pub(crate) mod stepper;
pub(crate) mod stuck;
pub(crate) mod wait;
pub(crate) mod webhook;

pub(crate) use alerter::Alerter;
pub(crate) use alertmanager::Alertmanager;
pub(crate) use browser::Browser;
pub(crate) use cluster::{Cluster, First};
pub(crate) use daemon::Daemon;
pub(crate) use otlp::Collector;
pub(crate) use prometheus::Prometheus;
pub(crate) use proxy::Proxy;
pub(crate) use redis::{DEAD, Redis, SOURCE, TARGET};
pub(crate) use sentinel::{MASTER, Sentinel, Watched};
pub(crate) use smtp::MailServer;
pub(crate) use stepper::{Held, Onward, Stepper, Stop};
pub(crate) use stuck::Stuck;
pub(crate) use wait::until;
pub(crate) use webhook::Webhook;
