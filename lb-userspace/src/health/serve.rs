//! The thread with the servers: opens and closes them as they are wanted, and tries again where a port can't
//! be had.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{
    Listener, Pulse, Subject, Wanted,
    answer::{self, Question},
    listen::listen,
};

/// How often a port that can't be had is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How long a client may take to ask, the next time too.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// How many clients a server has at most. Who comes later is turned away.
const CLIENTS: usize = 256;
/// How long nobody is taken when the system has no more files for it.
const REST: Duration = Duration::from_millis(100);

type Problems = BTreeMap<Listener, String>;

/// Starts the thread. It ends when nobody wants anything any more.
pub fn start(
    wanted: watch::Receiver<Wanted>,
    tell: watch::Sender<Problems>,
    pulse: Arc<Pulse>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = move || runtime.block_on(keep(wanted, &tell, &pulse));
    thread::Builder::new().name("health".to_owned()).spawn(work).map(drop)
}

async fn keep(
    mut wanted: watch::Receiver<Wanted>,
    tell: &watch::Sender<Problems>,
    pulse: &Arc<Pulse>,
) {
    // Dropping a set ends its task.
    let mut open: BTreeMap<Listener, JoinSet<()>> = BTreeMap::new();
    loop {
        let listeners = wanted.borrow_and_update().listeners.clone();
        open.retain(|listener, _| listeners.contains(listener));
        let mut problems = Problems::new();
        for listener in listeners {
            if open.contains_key(&listener) {
                continue;
            }
            match listen(listener.address) {
                Ok(socket) => {
                    let view = View {
                        subject: listener.subject.clone(),
                        wanted: wanted.clone(),
                        pulse: Arc::clone(pulse),
                    };
                    open.entry(listener).or_default().spawn(serve(socket, view));
                }
                Err(error) => drop(problems.insert(listener, error.to_string())),
            }
        }
        let trying = !problems.is_empty();
        report(&tell.borrow(), &problems);
        tell.send_if_modified(|told| {
            let differs = *told != problems;
            *told = problems;
            differs
        });
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(TRY_AGAIN), if trying => {}
        }
    }
}

/// Says what is new, once.
fn report(before: &Problems, now: &Problems) {
    for (Listener { subject, address }, problem) in now {
        let listener = Listener { subject: subject.clone(), address: *address };
        if before.get(&listener) == Some(problem) {
            continue;
        }
        match subject {
            Subject::Node => tracing::warn!(
                %address, problem,
                "can't serve /healthz and /livez; free the port, or choose another one with --healthz-bind-address; trying again"
            ),
            Subject::Service(service) => tracing::warn!(
                %service, port = address.port(), %address, problem,
                "can't serve the Service's health checks, so load balancers leave this node out; free the port (spec.healthCheckNodePort); trying again"
            ),
        }
    }
    for Listener { subject, address } in before.keys().filter(|one| !now.contains_key(one)) {
        tracing::info!(%subject, %address, "the port of these health checks is no longer in the way");
    }
}

/// What a server answers from.
#[derive(Clone)]
struct View {
    subject: Subject,
    wanted: watch::Receiver<Wanted>,
    pulse: Arc<Pulse>,
}

async fn serve(listener: TcpListener, view: View) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() < CLIENTS => {
                    clients.spawn(attend(stream, view.clone()));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "no client taken");
                    sleep(REST).await;
                }
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn attend(stream: TcpStream, view: View) {
    let answer = service_fn(move |request| {
        let response = view.answer(&request);
        async { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(ASK_WITHIN);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a client of health checks went away");
    }
}

impl View {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (condition, wanted) = (self.pulse.condition(), self.wanted.borrow());
        match &self.subject {
            Subject::Service(name) => {
                let endpoints = wanted.endpoints.get(name).copied().unwrap_or(0);
                answer::of_service(name, endpoints, condition)
            }
            Subject::Node => match Question::of(request.uri().path()) {
                Some(question) => {
                    answer::of_node(question, wanted.leaving, condition, SystemTime::now())
                }
                None => answer::nothing(),
            },
        }
    }
}
