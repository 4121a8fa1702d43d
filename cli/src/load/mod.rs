//! `trackerctl load`: puts announces and scrapes on a tracker and says what it measured. The crate `load`
//! does the work; here are its options, its progress and its tables.

mod options;
mod passkeys;
mod table;

use contract::Passkey;
use load::{LoadError, Progress, Results, Stop};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use options::Options;

use crate::connect::Context;
use crate::failure::Failure;
use crate::{Answer, human, progress};

/// Puts the load on, until it is done or Ctrl-C.
pub(crate) async fn run(options: Options, context: &Context) -> Result<Answer, Failure> {
    let passkeys = passkeys::gather(&options.users)?;
    if options.users.print_passkeys {
        return print(passkeys.iter().map(Passkey::reveal), context);
    }
    if options.swarms.print_torrents {
        let torrents = load::info_hashes(&options.swarms.swarms());
        return print(torrents.map(|torrent| torrent.to_string()), context);
    }
    let results = until_stopped(options.load(passkeys)).await?;
    context.output.show(&results)?;
    Ok(if results.has_granted() { Answer::Done } else { Answer::No })
}

fn print(lines: impl Iterator<Item = impl AsRef<str>>, context: &Context) -> Result<Answer, Failure> {
    let mut list = context.output.list();
    for line in lines {
        list.push(line.as_ref())?;
    }
    list.finish()?;
    Ok(Answer::Done)
}

/// What the load measured until it was done, or until Ctrl-C or SIGTERM.
async fn until_stopped(load: load::Load) -> Result<Results, Failure> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Failure::Output)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::Output)?;
    let stop = Stop::default();
    let mut running = tokio::task::spawn_blocking({
        let stop = stop.clone();
        move || with_progress(load, &stop)
    });
    loop {
        tokio::select! {
            done = &mut running => {
                let results = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                return results.map_err(failure);
            }
            _ = interrupted.recv() => stop.order(),
            _ = terminated.recv() => stop.order(),
        }
    }
}

fn with_progress(load: load::Load, stop: &Stop) -> Result<Results, LoadError> {
    let line = progress::line();
    let mut show = |progress: Progress| {
        line.set_message(table::so_far(progress));
        line.tick();
    };
    let results = load::run(load, stop, if line.is_hidden() { None } else { Some(&mut show) });
    line.finish_and_clear();
    results
}

fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Usage(text) => Failure::Usage(text),
        LoadError::TooLarge { needed, limit } => {
            let (needed, limit) = (human::bytes(needed), human::bytes(limit));
            Failure::usage(format!("this would take {needed} here; {limit} is the limit"))
        }
        LoadError::Unreachable { tracker, cause } => Failure::Service {
            tried: tracker,
            cause,
            hint: "is the tracker running, and is this its address?".into(),
        },
        LoadError::Broken(error) => Failure::Service {
            tried: "sending the load".into(),
            cause: error.to_string(),
            hint: "fewer --connections or --workers take less of the system".into(),
        },
    }
}
