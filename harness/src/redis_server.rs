//! A real redis-server of the test's own.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{eventually, free_port};

/// A running redis-server on loopback, with an append-only file in a temporary folder. Killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    extra_args: Vec<String>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, such as `--requirepass hunter2`.
    #[must_use]
    pub fn start_with(extra_args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let extra_args: Vec<String> = extra_args.iter().map(ToString::to_string).collect();
        let child = spawn(port, &folder, &extra_args);
        let server = Self { child, port, extra_args, folder };
        server.wait_until_it_answers();
        server
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
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server can be reaped");
    }

    /// Starts the server again on the same port with the same files.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.extra_args);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        eventually("redis-server answers", || {
            let mut connection = client.get_connection().ok()?;
            match redis::cmd("PING").query::<String>(&mut connection) {
                Ok(_) => Some(()),
                // A server that wants a password is up.
                Err(error) if error.code() == Some("NOAUTH") => Some(()),
                Err(_) => None,
            }
        });
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Errors mean that it is gone already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(port: u16, folder: &TempDir, extra_args: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .args(extra_args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed (apt-get install redis-server, or run scripts/test)")
}
