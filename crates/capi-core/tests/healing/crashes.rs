//! A manager that is cut off in the middle of a replacement.

use super::*;

/// Plays the replacement of one Machine; a manager that is cut off is replaced by a fresh one. Returns how many writes
/// there were.
async fn play(crash_at: Option<usize>) -> usize {
    let mut world = World::without_manager(30).await;
    let gate = crash_at.map_or_else(Gate::default, Gate::closing_at);
    world.run_manager(&Gate::default());
    world.apply_manifest(2).await;
    eventually("all Machines are available", || world.has_machines(2)).await;
    checked(&world, Value::Null).await;
    world.remove_manager().await;
    world.run_manager(&gate);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = names(&world).await;
    set_ready(&world, &before[0], "False").await;
    let mut replaced = false;
    for _ in 0..900 {
        if gate.is_closed() && !std::mem::replace(&mut replaced, true) {
            world.remove_manager().await;
            world.run_manager(&Gate::default());
        }
        if !names(&world).await.contains(&before[0]) && world.has_machines(2).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let now = names(&world).await;
    assert!(
        !now.contains(&before[0]) && now.len() == 2,
        "crash at {crash_at:?}: {now:?}"
    );
    assert!(
        now.contains(&before[1]),
        "crash at {crash_at:?}: a healthy Machine was replaced"
    );
    gate.writes()
}

/// Every eleventh write is the last of a manager once; with `SIM_CRASH=all` (`make sim`) every single one.
#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_replaces_the_machine_all_the_same() {
    let writes = play(None).await;
    assert!(writes > 10, "{writes}");
    for at in support::crash_points(writes, 11) {
        play(Some(at)).await;
    }
}
