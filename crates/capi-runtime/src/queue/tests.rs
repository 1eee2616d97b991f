use super::*;

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

/// A queue that does not wait for further events.
fn prompt() -> WorkQueue {
    WorkQueue::new(Pace {
        settle: Duration::ZERO,
        spacing: Duration::ZERO,
        ..Pace::default()
    })
}

async fn drain(queue: &WorkQueue, names: usize) -> Vec<String> {
    let mut order = Vec::new();
    for _ in 0..names {
        let next = queue.next().await.unwrap();
        queue.succeeded(&next);
        order.push(next.name);
    }
    order
}

async fn nothing_for(queue: &WorkQueue, time: Duration) -> bool {
    tokio::time::timeout(time, queue.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn objects_come_once_and_in_order_and_changes_go_first() {
    let queue = prompt();
    for name in ["b", "a", "c"] {
        queue.add(key(name), Priority::Low);
    }
    queue.add(key("a"), Priority::Low);
    queue.add(key("z"), Priority::High);
    queue.add(key("c"), Priority::High);
    assert_eq!(drain(&queue, 4).await, ["z", "c", "b", "a"]);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_in_flight_comes_back_afterwards_if_it_was_added_meanwhile() {
    let queue = prompt();
    queue.add(key("a"), Priority::High);
    let first = queue.next().await.unwrap();
    queue.add(key("a"), Priority::High);
    assert!(nothing_for(&queue, Duration::from_secs(5)).await);
    queue.succeeded(&first);
    assert_eq!(queue.next().await, Some(first.clone()));
    queue.succeeded(&first);
    assert!(nothing_for(&queue, Duration::from_secs(60)).await);
}

#[tokio::test(start_paused = true)]
async fn failures_double_the_delay_up_to_the_limit_and_success_forgets_them() {
    let queue = prompt();
    let a = key("a");
    queue.add(a.clone(), Priority::High);
    let mut delays = Vec::new();
    let mut last = Instant::now();
    for _ in 0..20 {
        assert_eq!(queue.next().await.as_ref(), Some(&a));
        delays.push(last.elapsed().as_millis());
        last = Instant::now();
        queue.failed(&a);
    }
    assert_eq!(delays[1..5], [5, 10, 20, 40]);
    assert_eq!(*delays.last().unwrap(), 1_000_000);
    queue.next().await;
    queue.succeeded(&a);
    assert_eq!(queue.failures(&a), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_cancels_a_longer_back_off() {
    let queue = prompt();
    let a = key("a");
    for _ in 0..9 {
        queue.add(a.clone(), Priority::High);
        queue.next().await;
        queue.failed(&a);
    }
    let before = Instant::now();
    queue.add(a.clone(), Priority::High);
    queue.next().await;
    assert!(before.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_two_delays_wins() {
    let queue = prompt();
    let start = Instant::now();
    queue.add_after(key("a"), Priority::High, Duration::from_secs(30));
    queue.add_after(key("a"), Priority::High, Duration::from_secs(10));
    queue.add_after(key("a"), Priority::High, Duration::from_secs(20));
    queue.next().await;
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_busy_object_gets_a_burst_and_then_one_turn_a_second() {
    let queue = prompt();
    let start = Instant::now();
    for _ in 0..13 {
        queue.add(key("busy"), Priority::High);
        let next = queue.next().await.unwrap();
        queue.succeeded(&next);
    }
    assert_eq!(
        start.elapsed().as_millis() / 100,
        30,
        "10 at once, then three more"
    );
    queue.add(key("busy"), Priority::High);
    queue.add(key("quiet"), Priority::High);
    assert_eq!(queue.next().await.unwrap().name, "quiet");
}

#[tokio::test(start_paused = true)]
async fn closing_ends_waiting_readers() {
    let queue = std::sync::Arc::new(prompt());
    let reader = tokio::spawn({
        let queue = queue.clone();
        async move { queue.next().await }
    });
    tokio::task::yield_now().await;
    queue.close();
    assert_eq!(reader.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn events_that_follow_each_other_closely_are_answered_together() {
    let queue = WorkQueue::new(Pace {
        settle: Duration::from_millis(5),
        ..Pace::default()
    });
    let start = Instant::now();
    for _ in 0..3 {
        queue.add(key("a"), Priority::High);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = queue.next().await.unwrap();
    assert_eq!(start.elapsed().as_millis(), 5, "counted from the first event");
    queue.succeeded(&first);
    assert!(nothing_for(&queue, Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_changes_all_the_time_is_looked_at_at_intervals() {
    let queue = WorkQueue::new(Pace {
        settle: Duration::from_millis(5),
        spacing: Duration::from_millis(100),
        ..Pace::default()
    });
    let start = Instant::now();
    let mut starts = Vec::new();
    for _ in 0..3 {
        queue.add(key("a"), Priority::High);
        let next = queue.next().await.unwrap();
        starts.push(start.elapsed().as_millis());
        queue.add(key("a"), Priority::High);
        queue.succeeded(&next);
    }
    assert_eq!(starts, [5, 105, 205]);
    let other = Instant::now();
    queue.add(key("b"), Priority::High);
    assert_eq!(queue.next().await.unwrap().name, "b");
    assert_eq!(other.elapsed().as_millis(), 5, "each object has its own time");
    let next = queue.next().await.unwrap();
    queue.succeeded(&next);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = Instant::now();
    queue.add(key("a"), Priority::High);
    queue.next().await.unwrap();
    assert_eq!(later.elapsed().as_millis(), 5, "a pause is long enough");
}

/// Whoever looks less closely when its timer rings must not miss what happened meanwhile.
#[tokio::test(start_paused = true)]
async fn a_timer_is_told_from_an_event() {
    let queue = WorkQueue::default();
    let taken = async || {
        let taken = queue.take_next().await.unwrap();
        queue.succeeded(&taken.key);
        taken.by_timer
    };
    queue.add(key("a"), Priority::High);
    assert!(!taken().await, "an event");
    let timer = || queue.add_after(key("a"), Priority::Low, Duration::from_secs(30));
    timer();
    assert!(taken().await, "its timer");
    timer();
    queue.add(key("a"), Priority::Low);
    assert!(!taken().await, "an event before its timer");
    timer();
    let working = queue.take_next().await.unwrap();
    assert!(working.by_timer);
    queue.add(key("a"), Priority::High);
    queue.succeeded(&working.key);
    timer();
    assert!(!taken().await, "an event while it was worked on");
    timer();
    let working = queue.take_next().await.unwrap();
    queue.failed(&working.key);
    assert!(!taken().await, "a failure");
}
