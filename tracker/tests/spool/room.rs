//! The spool's folder: full, on a full disk, shared, unusable.

use std::path::Path;
use std::process::Command;

use harness::RedisServer;
use tempfile::TempDir;
use tracker::app::App;
use wire::bencode::Value;

use crate::scene::{MIB, Scene, accepted, approve, becomes, config, failure, get, totals, until_refused};
use tracker::config::Plan;

/// A small file system of its own, unmounted on drop.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(folder.path())
            .status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a tmpfs, which needs root");
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_says_when_to_come_back_and_loses_nothing() {
    let mut redis = RedisServer::start();
    approve(&redis);
    let folder = TempDir::new().unwrap();
    let app = App::start(Plan::of(config(&redis.url(), folder.path(), 64 * 1024, 1)).unwrap()).await.unwrap();
    becomes(&app, "direct").await;
    accepted(&app, 0, 0).await;
    redis.kill();
    let (reply, refused) = until_refused(&app, 1).await;
    assert!(failure(&reply).unwrap().contains("spool is full"), "{reply:?}");
    assert_eq!(reply.get("retry in").and_then(Value::as_integer), Some(1));
    assert!(refused > 100, "{refused} fit into 64 KiB");
    let unready = String::from_utf8(get(app.admin_address, "/readyz").await).unwrap();
    assert!(unready.contains("spool"), "{unready}");
    redis.restart();
    becomes(&app, "direct").await;
    assert_eq!(totals(&redis), [refused - 1]);
    accepted(&app, 0, refused + 10).await;
    assert_eq!(totals(&redis), [refused + 10]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_loses_nothing_and_is_used_again_once_there_is_space() {
    let disk = SmallDisk::mount();
    let mut redis = RedisServer::start();
    approve(&redis);
    let app = App::start(Plan::of(config(&redis.url(), &disk.0.path().join("spool"), 16 * MIB, 1)).unwrap())
        .await
        .unwrap();
    becomes(&app, "direct").await;
    accepted(&app, 0, 0).await;
    redis.kill();
    let filler = disk.0.path().join("filler");
    std::fs::write(&filler, vec![0; 200 * 1024]).unwrap();
    let (reply, refused) = until_refused(&app, 1).await;
    assert!(failure(&reply).unwrap().contains("disk does not take it"), "{reply:?}");
    assert_eq!(reply.get("retry in").and_then(Value::as_integer), Some(1));
    std::fs::remove_file(&filler).unwrap();
    for uploaded in refused..refused + 20 {
        accepted(&app, 0, uploaded).await;
    }
    redis.restart();
    becomes(&app, "direct").await;
    assert_eq!(totals(&redis), [refused + 19]);
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_stops_the_start_and_is_named() {
    let scene = Scene::open().await;
    let problem = async |directory: &Path| match Plan::of(config(&scene.redis.url(), directory, MIB, 1)) {
        Ok(plan) => format!("{:#}", App::start(plan).await.unwrap_err()),
        Err(problems) => problems.to_string(),
    };
    let spool = scene.folder.path().join("spool");
    let shared = problem(&spool).await;
    assert!(
        shared.contains("another tracker uses it") && shared.contains(&*spool.to_string_lossy()),
        "{shared}"
    );
    let file = scene.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let unusable = problem(&file).await;
    assert!(unusable.contains("spool.directory") && unusable.contains("cannot be used"), "{unusable}");
    scene.app.stop().await.unwrap();
}
