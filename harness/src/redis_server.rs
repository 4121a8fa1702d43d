//! A real redis-server of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use crate::{Clock, Process, eventually, free_port};

/// How often a server is started on another port because somebody has the one that it was given.
const ATTEMPTS: usize = 5;
/// Where redis-server 7 keeps its append-only file, in parts.
const APPEND_ONLY: &str = "appendonlydir";

/// A running redis-server on loopback, with an append-only file in a temporary folder. Killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    // Before the folder: a server must not write into one that is gone.
    process: Process,
    port: u16,
    extra_args: Vec<String>,
    clock: Option<Clock>,
    folder: TempDir,
}

/// A server's files as they were once: a backup, or what a disk held when the power went.
#[derive(Debug)]
pub struct RedisFiles(TempDir);

impl RedisServer {
    /// Starts a server and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, such as `--requirepass hunter2`.
    #[must_use]
    pub fn start_with(extra_args: &[&str]) -> Self {
        Self::start_by(None, extra_args)
    }

    /// Starts a server that tells this clock's time.
    #[must_use]
    pub fn start_at(clock: &Clock) -> Self {
        Self::start_by(Some(clock), &[])
    }

    fn start_by(clock: Option<&Clock>, extra_args: &[&str]) -> Self {
        let extra_args: Vec<String> = extra_args.iter().map(ToString::to_string).collect();
        let mut servers = std::iter::repeat_with(|| Self::try_start(clock, &extra_args)).take(ATTEMPTS);
        servers.find_map(Result::ok).expect("one of five free ports is still free when redis-server binds it")
    }

    /// Fails when somebody has the port, and only then.
    fn try_start(clock: Option<&Clock>, extra_args: &[String]) -> Result<Self, PortTaken> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let process = spawn(port, &folder, extra_args, clock);
        let mut server =
            Self { process, port, extra_args: extra_args.to_vec(), clock: clock.cloned(), folder };
        match server.answers_or_ends() {
            Ok(()) => Ok(server),
            Err(_) if server.process.log().contains("Address already in use") => Err(PortTaken),
            Err(status) => panic!("redis-server ended with {status}: {}", server.process.log()),
        }
    }

    /// Starts a replica of `master` and waits until it follows, and has on disk what it began with.
    #[must_use]
    pub fn replica_of(master: &Self) -> Self {
        let replica = Self::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port)]);
        eventually("the replica follows its master", || {
            let state: String = redis::cmd("INFO").query(&mut replica.connection()).ok()?;
            let signs = ["master_link_status:up", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
            signs.iter().all(|sign| state.contains(sign)).then_some(())
        });
        replica
    }

    /// Answers at the address of a master that died, with what it had heard: still a replica until it is told
    /// otherwise.
    #[must_use]
    pub fn take_over(mut self, master: Self) -> Self {
        self.kill();
        self.port = master.port;
        drop(master);
        // Of a master that nobody can reach.
        self.extra_args = ["--replicaof", "127.0.0.1 1"].map(str::to_owned).to_vec();
        self.restart();
        self
    }

    /// `redis://127.0.0.1:PORT/0`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// A blocking connection, for looking at what a test did.
    #[must_use]
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().expect("the test's redis-server answers")
    }

    /// Kills the server (SIGKILL), as a crash would. Its files stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again on the same port with the same files.
    pub fn restart(&mut self) {
        self.process = spawn(self.port, &self.folder, &self.extra_args, self.clock.as_ref());
        if let Err(status) = self.answers_or_ends() {
            panic!("redis-server ended with {status}: {}", self.process.log());
        }
    }

    /// A copy of its files as they are now, between two commands.
    #[must_use]
    pub fn files(&self) -> RedisFiles {
        let copy = tempfile::tempdir().expect("a temporary folder");
        copy_folder(self.folder.path(), copy.path());
        RedisFiles(copy)
    }

    /// Kills the server and starts it with older files: whatever it confirmed since is gone.
    pub fn go_back_to(&mut self, files: &RedisFiles) {
        self.kill();
        let lost = self.append_only_folder();
        fs::remove_dir_all(&lost).expect("an append-only file can be removed");
        copy_folder(&files.0.path().join(APPEND_ONLY), &lost);
        self.restart();
    }

    /// Kills the server, cuts so many bytes off the end of its append-only file, as a power cut does that
    /// comes before the disk was told, and starts it again.
    pub fn lose_tail(&mut self, bytes: u64) {
        self.kill();
        let files = fs::read_dir(self.append_only_folder()).expect("an append-only file is kept").flatten();
        let newest =
            files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
        let newest = newest.max().expect("an append-only file has an end");
        let file = fs::OpenOptions::new().write(true).open(newest).expect("an append-only file can be cut");
        let length = file.metadata().expect("a file has a length").len();
        file.set_len(length.saturating_sub(bytes)).expect("a file can be cut");
        self.restart();
    }

    /// How long the end of its append-only file is: what [`Self::lose_tail`] cuts.
    #[must_use]
    pub fn tail_bytes(&self) -> u64 {
        let files = fs::read_dir(self.append_only_folder()).expect("an append-only file is kept").flatten();
        let ends = files.filter(|file| file.path().to_string_lossy().ends_with(".incr.aof"));
        ends.map(|file| file.metadata().map_or(0, |file| file.len())).sum()
    }

    fn append_only_folder(&self) -> PathBuf {
        self.folder.path().join(APPEND_ONLY)
    }

    /// Sends its process a signal, such as one that makes it stand still.
    pub fn signal(&self, signal: rustix::process::Signal) {
        self.process.signal(signal);
    }

    /// Waits until it answers; how it ended, when it does that instead.
    fn answers_or_ends(&mut self) -> Result<(), ExitStatus> {
        let client = redis::Client::open(self.url()).unwrap();
        eventually("redis-server answers", || {
            if let Some(status) = self.process.ended() {
                return Some(Err(status));
            }
            let mut connection = client.get_connection().ok()?;
            match redis::cmd("PING").query::<String>(&mut connection) {
                Ok(_) => Some(Ok(())),
                // A server that wants a password is up.
                Err(error) if error.code() == Some("NOAUTH") => Some(Ok(())),
                Err(_) => None,
            }
        })
    }
}

/// Files only, and one level of folders: more a server does not have.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

/// Another program has the port that a server was given.
#[derive(Debug)]
struct PortTaken;

/// Its file is written before it replies, which is all that counts when a test kills the process. A real
/// disk's `fsync` besides would make every test wait for whatever else the machine writes, for seconds at
/// times.
fn spawn(port: u16, folder: &TempDir, extra_args: &[String], clock: Option<&Clock>) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "no", "--dir"])
        .arg(folder.path())
        .args(extra_args)
        .envs(clock.into_iter().flat_map(Clock::environment));
    Process::start("redis-server", command, folder.path())
}
