//! Keeps systemd's watchdog quiet (`WatchdogSec=`) as long as clients are served: each listener is accepted from, and
//! each worker gets through its tasks. It must not report a life that it has not seen: a process that hangs is restarted.

use tokio::task::JoinHandle;

use crate::daemon::supervisor;
use crate::front::workers::Workers;

/// Reports life four times in the watchdog's period, until a listener's task ends, which a stop does too: systemd has
/// no watchdog for a service that stops. Returns at once where there is no watchdog.
pub(super) async fn feed(workers: Workers, listeners: Vec<JoinHandle<()>>) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    while is_serving(&workers, &listeners).await {
        supervisor::alive();
        tokio::time::sleep(period / REPORTS).await;
    }
}

/// Does not resolve while a worker hangs.
async fn is_serving(workers: &Workers, listeners: &[JoinHandle<()>]) -> bool {
    workers.answer().await && !listeners.iter().any(JoinHandle::is_finished)
}

/// sd_watchdog_enabled(3) recommends two in a period; a busy host may be late with one.
const REPORTS: u32 = 4;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_listener_that_has_ended_and_a_worker_that_hangs_are_no_life() {
        let (workers, threads) = Workers::start(2, "watched").unwrap();
        let accepting = || workers.accepting().spawn(std::future::pending());
        assert!(is_serving(&workers, &[accepting(), accepting()]).await);

        let ended = accepting();
        ended.abort();
        while !ended.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!is_serving(&workers, &[accepting(), ended]).await);

        let (go_on, wait) = std::sync::mpsc::sync_channel::<()>(1);
        workers.accepting().spawn(async move { wait.recv() });
        assert!(timeout(Duration::from_millis(50), is_serving(&workers, &[])).await.is_err());
        go_on.send(()).unwrap();
        assert!(is_serving(&workers, &[]).await);
        threads.stop(Duration::from_secs(10));
        assert!(!is_serving(&workers, &[]).await);
    }
}
